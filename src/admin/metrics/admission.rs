//! The bound on series that a scrape shows (`metrics.maxSeries`). Series are let in in the order they
//! are first seen; what comes later is added to the family's `_other`, and stays there, so that
//! neither a series nor `_other` ever goes backwards.

use std::collections::HashMap;

use rustc_hash::FxHashMap;

use crate::shm::series::{Family, Key, Nature};
use crate::shm::totals::{Distribution, Totals};

#[derive(Debug, Default)]
pub(in crate::admin) struct Admission {
    /// With the scrape that saw them last.
    admitted: FxHashMap<Key, u64>,
    scrape: u64,
    /// Those that came too late, with what they had when last seen.
    folded: HashMap<Key, Distribution>,
    /// What folded series had when they were forgotten.
    settled: HashMap<Family, Distribution>,
    /// Series that came too late, ever.
    pub dropped: u64,
    /// The CPU seconds last shown: a worker that is reaped between two reads must not lower them.
    pub cpu_seconds: f64,
    /// How long the last page was.
    pub page: usize,
}

/// The series to show, in the order of their keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) scalars: Vec<(Key, u64)>,
    pub(super) histograms: Vec<(Key, Distribution)>,
}

#[derive(Clone, Copy)]
enum Value<'t> {
    Scalar(u64),
    Histogram(&'t Distribution),
}

impl Admission {
    /// Of all that the rows count and that has a name.
    pub(super) fn admit(
        &mut self,
        totals: &Totals,
        is_named: impl Fn(Key) -> bool,
        limit: usize,
    ) -> Shown {
        self.let_go(totals, &is_named);
        let mut shown = Shown {
            scalars: Vec::with_capacity(totals.scalars.len()),
            histograms: Vec::with_capacity(totals.histograms.len()),
        };
        for (key, value) in in_order(totals).filter(|(key, _)| is_named(*key)) {
            if self.has_place(key, limit) {
                shown.push(key, value);
            } else if self.folded.insert(key, value.into()).is_none() {
                self.dropped += 1;
            }
        }
        for (key, value) in &self.folded {
            shown.add(Key::overflow(key.family()), value);
        }
        for (family, value) in &self.settled {
            shown.add(Key::overflow(*family), value);
        }
        shown
    }

    fn has_place(&mut self, key: Key, limit: usize) -> bool {
        if key == Key::overflow(key.family()) || self.admitted.contains_key(&key) {
            return true;
        }
        if self.folded.contains_key(&key) || self.admitted.len() >= limit {
            return false;
        }
        self.admitted.insert(key, self.scrape);
        true
    }

    /// Places of series that are gone are free again; what was folded of them stays counted.
    fn let_go(&mut self, totals: &Totals, is_named: impl Fn(Key) -> bool) {
        self.scrape += 1;
        let mut here = 0;
        for (key, _) in in_order(totals).filter(|(key, _)| is_named(*key)) {
            if let Some(seen) = self.admitted.get_mut(&key) {
                *seen = self.scrape;
                here += 1;
            }
        }
        if here < self.admitted.len() {
            self.admitted.retain(|_, seen| *seen == self.scrape);
        }
        let settled = &mut self.settled;
        self.folded.retain(|key, last| {
            let counted = totals.scalars.contains_key(key) || totals.histograms.contains_key(key);
            let stays = counted && is_named(*key);
            if !stays && key.family().nature() != Nature::Gauge {
                settled.entry(key.family()).or_default().merge(last);
            }
            stays
        });
    }
}

impl Shown {
    fn push(&mut self, key: Key, value: Value<'_>) {
        match value {
            Value::Scalar(value) => self.scalars.push((key, value)),
            Value::Histogram(value) => self.histograms.push((key, *value)),
        }
    }

    /// To what is shown under the key, if anything.
    fn add(&mut self, key: Key, more: &Distribution) {
        if key.family().nature() != Nature::Histogram {
            return self.add_scalar(key, more.sum_nanos);
        }
        match self.histograms.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => {
                if let Some((_, value)) = self.histograms.get_mut(at) {
                    value.merge(more);
                }
            }
            Err(at) => self.histograms.insert(at, (key, *more)),
        }
    }

    pub(super) fn add_scalar(&mut self, key: Key, more: u64) {
        match self.scalars.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => {
                if let Some((_, value)) = self.scalars.get_mut(at) {
                    *value = value.wrapping_add(more);
                }
            }
            Err(at) => self.scalars.insert(at, (key, more)),
        }
    }
}

impl From<Value<'_>> for Distribution {
    fn from(value: Value<'_>) -> Distribution {
        match value {
            Value::Scalar(sum_nanos) => Distribution {
                sum_nanos,
                ..Distribution::default()
            },
            Value::Histogram(value) => *value,
        }
    }
}

/// Both kinds, by key: whoever comes first has the better chance of a place.
fn in_order(totals: &Totals) -> impl Iterator<Item = (Key, Value<'_>)> {
    let scalars = totals.scalars.iter();
    let mut scalars = scalars
        .map(|(key, value)| (*key, Value::Scalar(*value)))
        .peekable();
    let histograms = totals.histograms.iter();
    let mut histograms = histograms
        .map(|(key, value)| (*key, Value::Histogram(value)))
        .peekable();
    std::iter::from_fn(move || {
        let histogram = histograms.peek().map(|(key, _)| *key);
        let first = |(key, _): &(Key, Value<'_>)| histogram.is_none_or(|other| *key < other);
        scalars.next_if(first).or_else(|| histograms.next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(route: u32) -> Key {
        Key::new(Family::Requests, route, 2, 1)
    }

    fn shown(admission: &mut Admission, values: &[(u32, u64)]) -> Vec<(u32, u64)> {
        let read = values.iter().map(|(route, sum)| (key(*route), *sum));
        let totals = Totals {
            scalars: read.collect(),
            ..Totals::default()
        };
        let shown = admission.admit(&totals, |_| true, 2);
        shown
            .scalars
            .into_iter()
            .map(|(key, value)| (key.first(), value))
            .collect()
    }

    #[test]
    fn late_series_are_counted_together_and_never_go_back() {
        const OTHER: u32 = crate::shm::series::OTHER;
        let mut admission = Admission::default();
        assert_eq!(shown(&mut admission, &[(5, 1), (6, 1)]), [(5, 1), (6, 1)]);
        assert_eq!(
            shown(&mut admission, &[(4, 7), (5, 2), (6, 1)]),
            [(OTHER, 7), (5, 2), (6, 1)]
        );
        // A place becomes free: it is for a new series, not for one that was folded.
        let after = shown(&mut admission, &[(4, 8), (5, 2), (7, 3)]);
        assert_eq!(after, [(OTHER, 8), (5, 2), (7, 3)]);
        // What was folded is forgotten: its count stays.
        assert_eq!(shown(&mut admission, &[(5, 2)]), [(OTHER, 8), (5, 2)]);
        assert_eq!(admission.dropped, 1);
    }

    #[test]
    fn histograms_stand_among_the_others_and_are_folded_like_them() {
        let histogram = |route| Key::new(Family::RequestDuration, route, 2, 0);
        let read = Distribution {
            sum_nanos: 3,
            ..Distribution::default()
        };
        let totals = Totals {
            scalars: [(key(5), 1), (Key::new(Family::Accepted, 4, 0, 0), 9)].into(),
            histograms: [(histogram(5), read), (histogram(6), read)].into(),
        };
        let order: Vec<Family> = in_order(&totals).map(|(key, _)| key.family()).collect();
        let duration = Family::RequestDuration;
        assert_eq!(
            order,
            [Family::Requests, duration, duration, Family::Accepted]
        );
        let shown = Admission::default().admit(&totals, |key| key.first() != 6, 1);
        let overflow = Key::overflow(duration);
        assert_eq!(
            shown.histograms,
            [(overflow, read)],
            "the nameless one is not shown"
        );
        assert_eq!(shown.scalars.len(), 2, "{shown:?}");
    }
}
