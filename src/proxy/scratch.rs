//! Small things made per request: header values, request ids, and the memory of header maps.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};

use http::HeaderMap;

use crate::model::headers::Values;
use crate::model::random::Random;

pub(super) struct Scratch {
    pub(super) values: Values,
    /// Of a splitmix64 sequence each: no two requests of a worker have the same id, and no two
    /// workers the same sequence.
    ids: [Random; 2],
    /// Memory of header maps, for the next head that is read.
    maps: RefCell<Vec<HeaderMap>>,
}

/// Header maps kept for the next taker; more are freed.
const KEPT: usize = 64;
/// In fields: what an ordinary head takes, several times over.
const LARGEST_KEPT: usize = 64;

impl Scratch {
    /// 64 random bits.
    pub(super) fn random(&self) -> u64 {
        let [first, _] = &self.ids;
        first.bits()
    }

    /// 128 random bits in hexadecimal.
    pub(super) fn request_id(&self) -> [u8; 32] {
        let mut digits = [0; 32];
        let (halves, _) = digits.as_chunks_mut();
        for (half, id) in halves.iter_mut().zip(&self.ids) {
            *half = hexadecimal(id.bits());
        }
        digits
    }

    /// An empty map, with the memory of one that was kept where there is one.
    pub(super) fn map(&self) -> HeaderMap {
        self.maps.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps the memory of a map that is not needed any more, unless it is uncommonly large.
    pub(super) fn keep(&self, mut map: HeaderMap) {
        let mut maps = self.maps.borrow_mut();
        if maps.len() < KEPT && (1..=LARGEST_KEPT).contains(&map.capacity()) {
            map.clear();
            maps.push(map);
        }
    }
}

/// Sixteen digits, eight at a time: one nibble in each byte, and then all of them made letters.
fn hexadecimal(number: u64) -> [u8; 16] {
    let mut text = [0; 16];
    let (high, low) = text.split_at_mut(8);
    high.copy_from_slice(&eight_digits(number >> 32));
    low.copy_from_slice(&eight_digits(number & 0xffff_ffff));
    text
}

fn eight_digits(number: u64) -> [u8; 8] {
    let spread = (number | (number << 16)) & 0x0000_ffff_0000_ffff;
    let spread = (spread | (spread << 8)) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (spread | (spread << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    // One where the nibble is ten or more: a letter.
    let letters = ((nibbles + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (nibbles + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

impl Default for Scratch {
    fn default() -> Self {
        // The keys of a `RandomState` come from the system's source of randomness.
        let seed = |salt: u64| Random::new(RandomState::new().hash_one(salt));
        Self {
            values: Values::default(),
            ids: [seed(1), seed(2)],
            maps: RefCell::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_what_formatting_makes_of_it() {
        for number in [
            0,
            9,
            10,
            0x0123_4567_89ab_cdef,
            0xfedc_ba98_7654_3210,
            u64::MAX,
        ] {
            let text = hexadecimal(number);
            assert_eq!(str::from_utf8(&text).unwrap(), format!("{number:016x}"));
        }
    }

    #[test]
    fn a_map_comes_round_empty_and_large_ones_do_not() {
        let scratch = Scratch::default();
        let mut map = scratch.map();
        map.insert("x-a", http::HeaderValue::from_static("1"));
        scratch.keep(map);
        scratch.keep(HeaderMap::with_capacity(1000));
        scratch.keep(HeaderMap::new());
        let again = scratch.map();
        assert!(again.is_empty() && again.capacity() > 0);
        assert_eq!(scratch.map().capacity(), 0, "only one was kept");
    }

    #[test]
    fn ids_differ_within_and_between_workers() {
        let (one, other) = (Scratch::default(), Scratch::default());
        let ids: std::collections::HashSet<_> = (0..1000)
            .flat_map(|_| [one.request_id(), other.request_id()])
            .collect();
        assert_eq!(ids.len(), 2000);
    }
}
