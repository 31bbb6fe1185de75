//! Small values made per request, one after the other out of one piece of memory: header values from
//! templates and addresses, and request ids.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use bytes::BytesMut;
use http::HeaderValue;

/// Memory is taken in pieces of this size.
const PIECE: usize = 4 * 1024;

pub(super) struct Scratch {
    memory: RefCell<BytesMut>,
    /// Of a splitmix64 sequence each: no two requests of a worker have the same id, and no two
    /// workers the same sequence.
    ids: [Cell<u64>; 2],
}

impl Scratch {
    /// What `write` appends, as a header value; empty should it not be one.
    pub(super) fn value(&self, write: impl FnOnce(&mut BytesMut)) -> HeaderValue {
        let memory = &mut *self.memory.borrow_mut();
        if memory.capacity() < PIECE / 8 {
            memory.reserve(PIECE);
        }
        write(memory);
        let value = HeaderValue::from_maybe_shared(memory.split().freeze());
        value.unwrap_or(HeaderValue::from_static(""))
    }

    /// An address as text.
    pub(super) fn address(&self, ip: IpAddr) -> AddressText {
        AddressText(self.value(|out| {
            // Writing to memory does not fail.
            let _ = write!(out, "{ip}");
        }))
    }

    /// 128 random bits in hexadecimal.
    pub(super) fn request_id(&self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        let halves = self.ids.each_ref().map(next);
        let bits = (u128::from(halves[0]) << 64) | u128::from(halves[1]);
        for (place, digit) in text.iter_mut().rev().enumerate() {
            let nibble = (bits >> (4 * place)) & 15;
            *digit = DIGITS.get(nibble as usize).copied().unwrap_or(b'0');
        }
        self.value(|out| out.extend_from_slice(&text))
    }
}

impl Default for Scratch {
    fn default() -> Self {
        // The keys of a `RandomState` come from the system's source of randomness.
        let seed = |salt: u64| Cell::new(RandomState::new().hash_one(salt));
        Self {
            memory: RefCell::default(),
            ids: [seed(1), seed(2)],
        }
    }
}

pub(super) struct AddressText(HeaderValue);

impl AddressText {
    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

fn next(state: &Cell<u64>) -> u64 {
    state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
    let mut z = state.get();
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_within_and_between_workers() {
        let (one, other) = (Scratch::default(), Scratch::default());
        let ids: std::collections::HashSet<_> = (0..1000)
            .flat_map(|_| [one.request_id(), other.request_id()])
            .collect();
        assert_eq!(ids.len(), 2000);
        assert!(ids.iter().all(|id| id.len() == 32));
    }

    #[test]
    fn what_is_no_header_value_comes_out_empty() {
        let scratch = Scratch::default();
        assert_eq!(scratch.value(|out| out.extend_from_slice(b"a\r\nb: c")), "");
        assert_eq!(scratch.value(|out| out.extend_from_slice(b"next")), "next");
    }
}
