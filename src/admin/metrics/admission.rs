//! The bound on series that a scrape shows (`metrics.maxSeries`). Series are let in in the order they
//! are first seen; what comes later is added to the family's `_other`, and stays there, so that
//! neither a series nor `_other` ever goes backwards.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::shm::series::{Family, Key, Nature};
use crate::shm::totals::Distribution;

#[derive(Debug, Default)]
pub(in crate::admin) struct Admission {
    admitted: HashSet<Key>,
    /// Those that came too late, with what they had when last seen.
    folded: HashMap<Key, Distribution>,
    /// What folded series had when they were forgotten.
    settled: HashMap<Family, Distribution>,
    /// Series that came too late, ever.
    pub dropped: u64,
    /// The CPU seconds last shown: a worker that is reaped between two reads must not lower them.
    pub cpu_seconds: f64,
}

impl Admission {
    /// The series to show, in order, for all that the rows count and that has a name.
    pub(super) fn admit(
        &mut self,
        read: BTreeMap<Key, Distribution>,
        limit: usize,
    ) -> BTreeMap<Key, Distribution> {
        self.admitted.retain(|key| read.contains_key(key));
        self.settle(&read);
        let mut shown = BTreeMap::new();
        for (key, value) in read {
            if self.has_place(key, limit) {
                shown.insert(key, value);
            } else if self.folded.insert(key, value).is_none() {
                self.dropped += 1;
            }
        }
        for (key, value) in &self.folded {
            shown
                .entry(Key::overflow(key.family()))
                .or_default()
                .merge(value);
        }
        for (family, value) in &self.settled {
            shown
                .entry(Key::overflow(*family))
                .or_default()
                .merge(value);
        }
        shown
    }

    fn has_place(&mut self, key: Key, limit: usize) -> bool {
        if key == Key::overflow(key.family()) || self.admitted.contains(&key) {
            return true;
        }
        if self.folded.contains_key(&key) || self.admitted.len() >= limit {
            return false;
        }
        self.admitted.insert(key)
    }

    fn settle(&mut self, read: &BTreeMap<Key, Distribution>) {
        let settled = &mut self.settled;
        self.folded.retain(|key, last| {
            let stays = read.contains_key(key);
            if !stays && key.family().nature() != Nature::Gauge {
                settled.entry(key.family()).or_default().merge(last);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(route: u32) -> Key {
        Key::new(Family::Requests, route, 2, 1)
    }

    fn read(values: &[(u32, u64)]) -> BTreeMap<Key, Distribution> {
        let value = |sum_nanos| Distribution {
            sum_nanos,
            ..Distribution::default()
        };
        values
            .iter()
            .map(|(route, sum)| (key(*route), value(*sum)))
            .collect()
    }

    fn shown(admission: &mut Admission, values: &[(u32, u64)]) -> Vec<(u32, u64)> {
        let shown = admission.admit(read(values), 2);
        shown
            .into_iter()
            .map(|(key, value)| (key.first(), value.sum_nanos))
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
}
