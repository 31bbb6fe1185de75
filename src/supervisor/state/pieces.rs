//! What a generation is kept as: its bytes in pieces, of which it shares those that the generation before
//! it has too. Twenty that differ in a line each take little more room than one.
//!
//! Not here: what the bytes mean.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A piece is longer, but for the last one.
const MIN: usize = 512;
/// However seldom the bytes say that there is a cut.
const MAX: usize = 8 * 1024;
/// So many bits of the hash are zero at a cut: one byte in 2048.
const BITS: u32 = 11;

#[derive(Clone, PartialEq, Eq)]
pub struct Pieces(Vec<Arc<[u8]>>);

impl Pieces {
    /// Takes from `like` what is equal there.
    pub fn cut(mut bytes: &[u8], like: Option<&Pieces>) -> Pieces {
        let known: FxHashSet<Arc<[u8]>> = like.iter().flat_map(|like| like.0.clone()).collect();
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(first_cut(bytes));
            pieces.push(known.get(piece).cloned().unwrap_or_else(|| piece.into()));
            bytes = rest;
        }
        Pieces(pieces)
    }

    pub fn join(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// The bytes that are not among the `counted` ones yet, which they are from now on.
    pub(super) fn count(&self, counted: &mut FxHashSet<*const u8>) -> usize {
        let new = self.0.iter().filter(|piece| counted.insert(piece.as_ptr()));
        new.map(|piece| piece.len()).sum()
    }
}

/// Where the last 64 bytes say so: a change of a few moves the cuts beside it and no others.
fn first_cut(bytes: &[u8]) -> usize {
    let mut hash = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(MAX) {
        hash = (hash << 1).wrapping_add(spread(*byte));
        if place >= MIN && hash.leading_zeros() >= BITS {
            return place + 1;
        }
    }
    bytes.len().min(MAX)
}

/// A number that has nothing to do with those of the bytes beside it (SplitMix64): rules are alike, and
/// differ in a digit or two.
fn spread(byte: u8) -> u64 {
    let z = (u64::from(byte) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// For another process it is a text, whole.
impl Serialize for Pieces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = String::from_utf8(self.join()).map_err(serde::ser::Error::custom)?;
        text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pieces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pieces, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Pieces::cut(text.as_bytes(), None))
    }
}

/// A configuration may hold secrets, so its bytes are not shown.
impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pieces({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(count: usize) -> String {
        let rule =
            |n| format!("    - {{host: h{n}.example.com, path: /p{n}, upstreams: [echo]}}\n");
        (0..count).map(rule).collect()
    }

    #[test]
    fn an_edit_costs_the_pieces_that_it_touches() {
        let before = rules(1000);
        let kept = Pieces::cut(before.as_bytes(), None);
        for edited in [
            before.replacen("h500.", "another.", 1),
            format!("# a word more\n{before}"),
            before.replacen("/p900,", "", 1),
        ] {
            let pieces = Pieces::cut(edited.as_bytes(), Some(&kept));
            assert_eq!(pieces.join(), edited.as_bytes());
            let mut counted = FxHashSet::default();
            assert_eq!(kept.count(&mut counted), before.len());
            let more = pieces.count(&mut counted);
            assert!(0 < more && more < before.len() / 5, "{more} bytes more");
        }
    }

    #[test]
    fn pieces_are_neither_tiny_nor_huge_whatever_the_bytes() {
        for bytes in [vec![0; 100_000], rules(2000).into_bytes(), vec![7; MIN]] {
            let Pieces(pieces) = Pieces::cut(&bytes, None);
            let last = pieces.len() - 1;
            assert!(pieces.iter().all(|piece| piece.len() <= MAX));
            assert!(pieces[..last].iter().all(|piece| piece.len() > MIN));
            assert_eq!(pieces.concat(), bytes);
        }
        assert_eq!(Pieces::cut(b"", None).join(), b"");
    }

    #[test]
    fn what_is_kept_is_not_shown() {
        let shown = format!("{:?}", Pieces::cut(b"hunter2", None));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
