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
        let mut totals = Totals::default();
        for (chunk, row, shape) in chunks(segment) {
            if !wanted(RowId(row)) {
                continue;
            }
            for at in shape.entries(chunk) {
                totals.add_entry(segment, shape, at);
            }
        }
        totals
    }

    /// Client connections that are open.
    pub fn connections(&self) -> u64 {
        let open = self.scalars.iter();
        let open = open.filter(|(key, _)| key.family() == Family::Connections);
        open.fold(0, |sum, (_, count)| sum.wrapping_add(*count))
    }

    fn add_entry(&mut self, segment: &Segment, shape: Shape, at: usize) {
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
            Shape::Scalar => {
                let sum = self.scalars.entry(key).or_default();
                *sum = sum.wrapping_add(read.sum_nanos);
            }
            Shape::Histogram => self.histograms.entry(key).or_default().merge(&read),
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
