//! Header values made per request, one after the other out of one piece of memory.

use std::cell::RefCell;
use std::fmt::Write;
use std::net::IpAddr;

use bytes::BytesMut;
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
        self.value(|out| {
            // Writing to memory does not fail.
            let _ = write!(out, "{ip}");
        })
    }
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
        assert_eq!(values.address("10.0.0.1".parse().unwrap()), "10.0.0.1");
    }
}
