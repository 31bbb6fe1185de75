//! What a generation is kept as: its bytes in pieces, of which it shares those that the generation before
//! it has too; of a piece that an edit has touched it keeps what is new. Twenty that differ in a line each take
//! hardly more room than one.
//!
//! Not here: what the bytes mean.

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A piece is longer, but for the last one.
const MIN: usize = 512;
/// However seldom the bytes say that there is a cut.
const MAX: usize = 8 * 1024;
/// So many bits of the hash are zero at a cut: one byte in 2048.
const BITS: u32 = 11;
/// An edit of a piece is kept as such up to this part of it.
const WORTH_IT: usize = 4;

#[derive(Clone)]
pub struct Pieces(Vec<Piece>);

#[derive(Clone)]
enum Piece {
    Whole(Arc<[u8]>),
    Edited(Arc<Edited>),
}

/// What a piece has become: of so many bytes at its begin and its end nothing has changed.
pub(super) struct Edited {
    of: Arc<[u8]>,
    begin: usize,
    end: usize,
    between: Box<[u8]>,
}

impl Edited {
    /// Where it is worth it: the piece that it was stays for as long as this one.
    fn find(of: &Arc<[u8]>, piece: &[u8]) -> Option<Edited> {
        let most = of.len().min(piece.len());
        let is_same = |(a, b): &(&u8, &u8)| a == b;
        let begin = of.iter().zip(piece).take_while(is_same).count();
        let from_behind = of.iter().rev().zip(piece.iter().rev());
        let end = from_behind.take(most - begin).take_while(is_same).count();
        let between = piece.get(begin..piece.len() - end)?;
        (between.len() <= piece.len() / WORTH_IT).then(|| Edited {
            of: Arc::clone(of),
            begin,
            end,
            between: between.into(),
        })
    }

    fn anew(&self) -> Edited {
        Edited {
            of: Arc::clone(&self.of),
            between: self.between.clone(),
            ..*self
        }
    }

    fn parts(&self) -> [&[u8]; 3] {
        let begin = self.of.get(..self.begin).unwrap_or_default();
        let end = self.of.get(self.of.len().saturating_sub(self.end)..);
        [begin, &self.between, end.unwrap_or_default()]
    }
}

impl Piece {
    fn parts(&self) -> [&[u8]; 3] {
        match self {
            Piece::Whole(bytes) => [bytes, &[], &[]],
            Piece::Edited(edited) => edited.parts(),
        }
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Piece::Whole(bytes) => Cow::Borrowed(bytes),
            Piece::Edited(edited) => Cow::Owned(edited.parts().concat()),
        }
    }

    /// What others can be an edit of.
    fn base(&self) -> &Arc<[u8]> {
        match self {
            Piece::Whole(bytes) => bytes,
            Piece::Edited(edited) => &edited.of,
        }
    }
}

impl Pieces {
    /// Takes from `like` what is equal there, or nearly so.
    pub fn cut(mut bytes: &[u8], like: Option<&Pieces>) -> Pieces {
        let like = like.map_or(&[][..], |like| &like.0);
        let known: FxHashMap<Cow<'_, [u8]>, usize> = like
            .iter()
            .enumerate()
            .map(|(place, piece)| (piece.bytes(), place))
            .collect();
        let (mut pieces, mut next) = (Vec::new(), 0);
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(first_cut(bytes));
            let same = known.get(piece).copied();
            let place = same.unwrap_or(next);
            let before = like.get(place);
            pieces.push(match (same, before) {
                (Some(_), Some(same)) => same.clone(),
                (_, Some(before)) => match Edited::find(before.base(), piece) {
                    Some(edited) => Piece::Edited(Arc::new(edited)),
                    None => Piece::Whole(piece.into()),
                },
                (_, None) => Piece::Whole(piece.into()),
            });
            next = place + 1;
            bytes = rest;
        }
        Pieces(pieces)
    }

    pub fn join(&self) -> Vec<u8> {
        let parts: Vec<_> = self.0.iter().flat_map(Piece::parts).collect();
        parts.concat()
    }

    /// The same, in memory of its own but for whole pieces; an edit that several have they have still.
    pub(super) fn anew(&self, edits: &mut FxHashMap<*const Edited, Arc<Edited>>) -> Pieces {
        let anew = |piece: &Piece| match piece {
            Piece::Whole(_) => piece.clone(),
            Piece::Edited(edited) => {
                let known = edits.entry(Arc::as_ptr(edited));
                Piece::Edited(Arc::clone(known.or_insert_with(|| Arc::new(edited.anew()))))
            }
        };
        Pieces(self.0.iter().map(anew).collect())
    }

    /// The bytes that are not among the `counted` ones yet, which they are from now on.
    pub(super) fn count(&self, counted: &mut FxHashSet<*const u8>) -> usize {
        let mut new = |bytes: &[u8]| match counted.insert(bytes.as_ptr()) {
            true => bytes.len(),
            false => 0,
        };
        let count = |piece: &Piece| {
            let between = match piece {
                Piece::Whole(_) => 0,
                Piece::Edited(edited) => new(&edited.between),
            };
            new(piece.base()) + between
        };
        self.0.iter().map(count).sum()
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
            assert!(more < 64, "{more} bytes more");
        }
    }

    #[test]
    fn a_word_that_changes_again_and_again_costs_itself() {
        let text = |mark: u64| format!("# {mark}\n{}", rules(100));
        let mut kept = vec![Pieces::cut(text(0).as_bytes(), None)];
        let mut counted = FxHashSet::default();
        kept[0].count(&mut counted);
        for mark in 1..200 {
            let next = Pieces::cut(text(mark * 7919).as_bytes(), kept.last());
            assert_eq!(next.join(), text(mark * 7919).as_bytes());
            assert!(next.count(&mut counted) < 16, "{mark}");
            kept.push(next);
        }
    }

    #[test]
    fn whatever_comes_after_whatever_is_kept_as_it_is() {
        proptest::proptest!(|(texts: Vec<Vec<u8>>, long in 0_usize..3000)| {
            let mut before = None;
            for text in texts {
                let text = [text.as_slice(), &rules(1).repeat(long / 40).into_bytes()].concat();
                let pieces = Pieces::cut(&text, before.as_ref());
                proptest::prop_assert_eq!(pieces.join(), text);
                before = Some(pieces);
            }
        });
    }

    #[test]
    fn pieces_are_neither_tiny_nor_huge_whatever_the_bytes() {
        for bytes in [vec![0; 100_000], rules(2000).into_bytes(), vec![7; MIN]] {
            let Pieces(pieces) = Pieces::cut(&bytes, None);
            let pieces: Vec<_> = pieces.iter().map(Piece::bytes).collect();
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
