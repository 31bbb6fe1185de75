//! Header values made per request, one after the other out of one piece of memory.

use std::cell::RefCell;
use std::fmt::Write;
use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use http::HeaderValue;

/// Memory is taken in pieces of this size.
const PIECE: usize = 4 * 1024;

#[derive(Debug, Default)]
pub struct Values {
    memory: RefCell<BytesMut>,
}

impl Values {
    /// What `write` appends, as a header value; empty should it not be one.
    pub fn value(&self, write: impl FnOnce(&mut BytesMut)) -> HeaderValue {
        let memory = &mut *self.memory.borrow_mut();
        if memory.capacity() < PIECE / 8 {
            memory.reserve(PIECE);
        }
        write(memory);
        let value = HeaderValue::from_maybe_shared(memory.split().freeze());
        value.unwrap_or(HeaderValue::from_static(""))
    }

    /// An address as text.
    pub fn address(&self, ip: IpAddr) -> HeaderValue {
        self.value(|out| write_address(ip, out))
    }
}

/// An IPv4 address without the machinery of formatting, as every request has one.
pub(super) fn write_address(ip: IpAddr, out: &mut BytesMut) {
    match ip {
        IpAddr::V4(ip) => {
            let [first, rest @ ..] = ip.octets();
            write_octet(first, out);
            for octet in rest {
                out.put_u8(b'.');
                write_octet(octet, out);
            }
        }
        IpAddr::V6(ip) => {
            // Writing to memory does not fail.
            let _ = write!(out, "{ip}");
        }
    }
}

fn write_octet(octet: u8, out: &mut BytesMut) {
    if octet >= 100 {
        out.put_u8(b'0' + octet / 100);
    }
    if octet >= 10 {
        out.put_u8(b'0' + octet / 10 % 10);
    }
    out.put_u8(b'0' + octet % 10);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_header_value_comes_out_empty() {
        let values = Values::default();
        assert_eq!(values.value(|out| out.extend_from_slice(b"a\r\nb: c")), "");
        assert_eq!(values.value(|out| out.extend_from_slice(b"next")), "next");
    }

    #[test]
    fn addresses_are_written_as_people_write_them() {
        let values = Values::default();
        assert_eq!(
            values.address("2001:db8::1".parse().unwrap()),
            "2001:db8::1"
        );
        for octet in 0..=255 {
            let ip = IpAddr::from([octet, 0, 10, 200]);
            assert_eq!(values.address(ip), format!("{octet}.0.10.200"));
        }
    }
}
