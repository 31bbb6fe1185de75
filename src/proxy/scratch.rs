//! Small things made per request: header values, and request ids.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use http::HeaderValue;

use crate::model::headers::Values;

pub(super) struct Scratch {
    pub(super) values: Values,
    /// Of a splitmix64 sequence each: no two requests of a worker have the same id, and no two
    /// workers the same sequence.
    ids: [Cell<u64>; 2],
}

impl Scratch {
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
        self.values.value(|out| out.extend_from_slice(&text))
    }
}

impl Default for Scratch {
    fn default() -> Self {
        // The keys of a `RandomState` come from the system's source of randomness.
        let seed = |salt: u64| Cell::new(RandomState::new().hash_one(salt));
        Self {
            values: Values::default(),
            ids: [seed(1), seed(2)],
        }
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
}
