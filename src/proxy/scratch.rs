//! Small things made per request: header values, request ids, and the memory of headers.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};

use crate::model::fields::Fields;
use crate::model::headers::Values;
use crate::model::random::Random;

pub(super) struct Scratch {
    pub(super) values: Values,
    /// Of a splitmix64 sequence each: no two requests of a worker have the same id, and no two
    /// workers the same sequence.
    ids: [Random; 2],
    /// Memory of headers, for the next head that is read.
    fields: RefCell<Vec<Fields>>,
}

/// Heads whose memory is kept for the next taker; more are freed.
const KEPT: usize = 64;
/// What an ordinary head takes, several times over.
const MOST_LINES: usize = 64;
/// The same, of what is made on the way.
const MOST_BYTES: usize = 2 * 1024;

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

    /// Of none, with the memory of some that were kept where there is any.
    pub(super) fn fields(&self) -> Fields {
        self.fields.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps the memory of headers that are not needed any more, unless it is uncommonly large.
    pub(super) fn keep(&self, mut fields: Fields) {
        let mut kept = self.fields.borrow_mut();
        let (lines, made) = fields.capacity();
        if kept.len() < KEPT && (1..=MOST_LINES).contains(&lines) && made <= MOST_BYTES {
            fields.clear();
            kept.push(fields);
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
            fields: RefCell::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderValue, VIA};

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
    fn memory_comes_round_empty_and_large_ones_do_not() {
        let scratch = Scratch::default();
        let mut fields = scratch.fields();
        fields.insert(&VIA, &HeaderValue::from_static("1.1 sluice"));
        let memory = fields.capacity();
        scratch.keep(fields);
        let mut large = Fields::default();
        large.reserve(1000);
        scratch.keep(large);
        scratch.keep(Fields::default());
        let again = scratch.fields();
        assert!(again.is_empty());
        assert_eq!(again.capacity(), memory);
        assert_eq!(scratch.fields().capacity(), (0, 0), "only one was kept");
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
