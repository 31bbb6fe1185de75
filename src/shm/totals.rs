//! The reading side: the sum of all rows, taken while their owners go on writing. It waits for
//! nobody and locks nothing.
//!
//! Not here: what the sums are called (`admin::metrics`).

use std::collections::BTreeMap;
use std::sync::atomic::{Ordering::Acquire, Ordering::Relaxed, fence};

use super::layout::{BOUNDS, BUCKETS, Shape};
use super::recorder::chunks;
use super::series::{Family, Key};
use super::{RowId, Segment};

/// All series with their sums over all rows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Totals {
    pub scalars: BTreeMap<Key, u64>,
    pub histograms: BTreeMap<Key, Distribution>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Distribution {
    pub sum_nanos: u64,
    /// Not cumulative.
    pub buckets: [u64; BUCKETS],
}

impl Totals {
    pub fn read(segment: &Segment) -> Totals {
        Self::read_rows(segment, |_| true)
    }

    /// The sum over those rows only.
    pub fn read_rows(segment: &Segment, wanted: impl Fn(RowId) -> bool) -> Totals {
        let mut entries = Entries::default();
        for (chunk, row, shape) in chunks(segment) {
            if !wanted(RowId(row)) {
                continue;
            }
            for at in shape.entries(chunk) {
                entries.add(segment, shape, at);
            }
        }
        entries.sum()
    }

    /// Client connections that are open.
    pub fn connections(&self) -> u64 {
        let open = self.scalars.iter();
        let open = open.filter(|(key, _)| key.family() == Family::Connections);
        open.fold(0, |sum, (_, count)| sum.wrapping_add(*count))
    }
}

/// What stands in the rows, each for itself. Sorted once they are summed up faster than one by one
/// into a tree, of which a scrape of thousands would notice.
#[derive(Default)]
struct Entries {
    scalars: Vec<(Key, u64)>,
    histograms: Vec<(Key, Distribution)>,
}

impl Entries {
    fn add(&mut self, segment: &Segment, shape: Shape, at: usize) {
        let word = segment.cell(at).load(Acquire);
        let Some(key) = Key::from_word(word).filter(|key| key.family().shape() == shape) else {
            return;
        };
        let mut read = Distribution::default();
        match shape {
            Shape::Scalar => read.sum_nanos = segment.cell(at + 1).load(Relaxed),
            Shape::Histogram => read.load(segment, at),
        }
        fence(Acquire);
        // The owner may have given the entry to another series meanwhile.
        if segment.cell(at).load(Relaxed) != word {
            return;
        }
        match shape {
            Shape::Scalar => self.scalars.push((key, read.sum_nanos)),
            Shape::Histogram => self.histograms.push((key, read)),
        }
    }

    fn sum(mut self) -> Totals {
        self.scalars.sort_by_key(|(key, _)| *key);
        self.scalars.dedup_by(|(key, more), (kept, sum)| {
            let same = key == kept;
            if same {
                *sum = sum.wrapping_add(*more);
            }
            same
        });
        self.histograms.sort_by_key(|(key, _)| *key);
        self.histograms.dedup_by(|(key, more), (kept, sum)| {
            let same = key == kept;
            if same {
                sum.merge(more);
            }
            same
        });
        Totals {
            scalars: self.scalars.into_iter().collect(),
            histograms: self.histograms.into_iter().collect(),
        }
    }
}

impl Distribution {
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// In seconds, interpolated within the bucket that holds it, as Prometheus does; `None` when
    /// nothing was recorded. Above the last bound it is the last bound.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = share * self.count() as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (bound, count) in BOUNDS.iter().zip(self.buckets) {
            let (count, bound) = (count as f64, *bound as f64 / 1e9);
            if count > 0.0 && below + count >= rank {
                return Some(lower + (bound - lower) * (rank - below) / count);
            }
            (below, lower) = (below + count, bound);
        }
        (self.count() > 0).then_some(lower)
    }

    fn load(&mut self, segment: &Segment, at: usize) {
        self.sum_nanos = segment.cell(at + 1).load(Relaxed);
        for (index, bucket) in self.buckets.iter_mut().enumerate() {
            *bucket = segment.cell(at + 2 + index).load(Relaxed);
        }
    }

    pub fn merge(&mut self, other: &Distribution) {
        self.sum_nanos = self.sum_nanos.wrapping_add(other.sum_nanos);
        for (mine, more) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.wrapping_add(more);
        }
    }
}
