//! Is a generation worse than the one before? Judged from counters alone, by shares of requests.
//!
//! Not here: where the counters come from, and what follows from the answer.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::WorkerId;
use crate::model::config::Comparison;

/// Counters as they stand; they only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    pub requests: u64,
    pub server_errors: u64,
    pub connect_errors: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// Those of workers that are gone among them.
    pub total: Measure,
    pub workers: BTreeMap<WorkerId, Measure>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    NotWorse,
    /// In words.
    Worse(String),
}

impl Measure {
    fn since(self, earlier: Measure) -> Measure {
        Measure {
            requests: self.requests.saturating_sub(earlier.requests),
            server_errors: self.server_errors.saturating_sub(earlier.server_errors),
            connect_errors: self.connect_errors.saturating_sub(earlier.connect_errors),
        }
    }

    fn plus(self, other: Measure) -> Measure {
        Measure {
            requests: self.requests.saturating_add(other.requests),
            server_errors: self.server_errors.saturating_add(other.server_errors),
            connect_errors: self.connect_errors.saturating_add(other.connect_errors),
        }
    }
}

/// Percent with a decimal place, for comparing and for words.
#[derive(Clone, Copy)]
struct Share(f64);

impl Share {
    fn of(part: u64, requests: u64) -> Share {
        Share(if requests == 0 {
            0.0
        } else {
            part as f64 * 100.0 / requests as f64
        })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}%", self.0)
    }
}

/// `new` against `old`, both over a stretch of time.
fn compare(old: Measure, new: Measure, rule: Comparison) -> Finding {
    if new.requests < u64::from(rule.min_requests.max(1)) {
        return Finding::NotWorse;
    }
    let kinds = [
        ("responses with 5xx", old.server_errors, new.server_errors),
        (
            "failed connects to upstreams",
            old.connect_errors,
            new.connect_errors,
        ),
    ];
    for (what, before, after) in kinds {
        let before = Share::of(before, old.requests);
        let after = Share::of(after, new.requests);
        if after.0 - before.0 > f64::from(rule.bound) {
            return Finding::Worse(format!("{what}: {before} before, {after} since"));
        }
    }
    Finding::NotWorse
}

/// Measures of the last while, to know what was usual before a commit.
#[derive(Debug, Default)]
pub(super) struct Samples(VecDeque<(Instant, Measure)>);

/// At one a second, longer than any window that makes sense.
const MAX_SAMPLES: usize = 600;

impl Samples {
    pub(super) fn add(&mut self, measure: Measure, now: Instant) {
        if self.0.len() >= MAX_SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((now, measure));
    }

    /// With their ages, for another process to go on with.
    pub(super) fn aged(&self, now: Instant) -> Vec<(Duration, Measure)> {
        let age = |at: &Instant| now.saturating_duration_since(*at);
        self.0.iter().map(|(at, it)| (age(at), *it)).collect()
    }

    pub(super) fn restored(aged: Vec<(Duration, Measure)>, now: Instant) -> Samples {
        let at = |(age, measure)| Some((now.checked_sub(age)?, measure));
        Samples(aged.into_iter().filter_map(at).collect())
    }

    fn latest(&self) -> Measure {
        self.0
            .back()
            .map(|(_, measure)| *measure)
            .unwrap_or_default()
    }

    /// What came in the window that ends now, as far back as is known.
    fn last(&self, window: Duration, now: Instant) -> Measure {
        let in_window = |at: &Instant| now.saturating_duration_since(*at) <= window;
        let first = self.0.iter().find(|(at, _)| in_window(at));
        first.map_or(Measure::default(), |(_, first)| self.latest().since(*first))
    }
}

/// A guard at work.
#[derive(Debug)]
pub(super) struct GuardRun {
    guard: Comparison,
    pub(super) until: Instant,
    seen: Seen,
}

/// What a guard judges by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) usual: Measure,
    pub(super) at_commit: Measure,
    pub(super) latest: Measure,
}

impl GuardRun {
    pub(super) fn new(guard: Comparison, samples: &Samples, now: Instant) -> GuardRun {
        GuardRun {
            guard,
            until: now + guard.window,
            seen: Seen {
                usual: samples.last(guard.window, now),
                at_commit: samples.latest(),
                latest: samples.latest(),
            },
        }
    }

    /// Goes on with what another process has seen.
    pub(super) fn resumed(guard: Comparison, left: Duration, seen: Seen, now: Instant) -> GuardRun {
        let until = now + left;
        GuardRun { guard, until, seen }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen
    }

    pub(super) fn measure(&mut self, total: Measure) {
        self.seen.latest = total;
    }

    pub(super) fn finding(&self) -> Finding {
        let since = self.seen.latest.since(self.seen.at_commit);
        compare(self.seen.usual, since, self.guard)
    }
}

/// A canary at work.
#[derive(Debug)]
pub(super) struct CanaryRun {
    pub(super) worker: WorkerId,
    pub(super) until: Instant,
    canary: Comparison,
    first: Option<Measured>,
    latest: Measured,
}

impl CanaryRun {
    pub(super) fn new(worker: WorkerId, canary: Comparison, now: Instant) -> CanaryRun {
        CanaryRun {
            worker,
            until: now + canary.window,
            canary,
            first: None,
            latest: Measured::default(),
        }
    }

    pub(super) fn measure(&mut self, measured: &Measured) {
        self.first.get_or_insert_with(|| measured.clone());
        self.latest = measured.clone();
    }

    pub(super) fn finding(&self) -> Finding {
        let Some(first) = &self.first else {
            return Finding::NotWorse;
        };
        let since = |id: &WorkerId, now: &Measure| {
            now.since(first.workers.get(id).copied().unwrap_or_default())
        };
        let (mut own, mut others) = (Measure::default(), Measure::default());
        for (id, now) in &self.latest.workers {
            if *id == self.worker {
                own = since(id, now);
            } else {
                others = others.plus(since(id, now));
            }
        }
        compare(others, own, self.canary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Comparison = Comparison {
        window: Duration::from_secs(10),
        bound: 5,
        min_requests: 10,
    };

    fn measure(requests: u64, server_errors: u64, connect_errors: u64) -> Measure {
        Measure {
            requests,
            server_errors,
            connect_errors,
        }
    }

    #[test]
    fn a_share_may_grow_by_the_bound_and_no_more() {
        let before = measure(1000, 10, 0);
        for (after, worse) in [
            (measure(100, 6, 0), false),
            (measure(100, 7, 0), true),
            (measure(100, 1, 5), false),
            (measure(100, 1, 6), true),
            (measure(9, 9, 9), false),
            (measure(0, 0, 0), false),
        ] {
            let finding = compare(before, after, RULE);
            assert_eq!(
                finding != Finding::NotWorse,
                worse,
                "{after:?}: {finding:?}"
            );
        }
        let finding = compare(before, measure(100, 50, 0), RULE);
        let words = "responses with 5xx: 1.0% before, 50.0% since";
        assert_eq!(finding, Finding::Worse(words.to_owned()));
    }

    #[test]
    fn the_guard_compares_two_windows() {
        let (mut samples, start) = (Samples::default(), Instant::now());
        let second = |n: u64| start + Duration::from_secs(n);
        samples.add(measure(1_000, 900, 0), second(0));
        samples.add(measure(1_000, 900, 0), second(50));
        samples.add(measure(2_000, 910, 0), second(60));
        let mut run = GuardRun::new(RULE, &samples, second(60));
        assert_eq!(run.until, second(70));
        run.measure(measure(2_100, 911, 0));
        assert_eq!(run.finding(), Finding::NotWorse);
        run.measure(measure(2_200, 940, 0));
        assert!(matches!(run.finding(), Finding::Worse(_)));
    }

    #[test]
    fn the_canary_is_compared_with_the_others() {
        let measured = |own, other| Measured {
            total: Measure::default(),
            workers: BTreeMap::from([(WorkerId(1), own), (WorkerId(2), other)]),
        };
        let mut run = CanaryRun::new(WorkerId(1), RULE, Instant::now());
        assert_eq!(run.finding(), Finding::NotWorse);
        run.measure(&measured(measure(500, 500, 0), measure(100, 0, 0)));
        run.measure(&measured(measure(600, 510, 0), measure(200, 10, 0)));
        assert_eq!(run.finding(), Finding::NotWorse, "10% each");
        run.measure(&measured(measure(600, 530, 0), measure(200, 10, 0)));
        assert!(matches!(run.finding(), Finding::Worse(_)));
    }
}
