//! How long an endpoint takes, of late: a mean that forgets, and that jumps up at once but comes down
//! slowly (peak EWMA). One that has not been asked for a while is thought better of again, so that it
//! gets its chance.

use crate::model::health::Millis;

/// After so long without news, a response time has lost two thirds of its weight.
const MEMORY: f64 = 10_000.0;
/// The same of an error. It keeps requests away for a moment, so that five in a row, which end in an
/// ejection, are not paid for at once; for longer it would keep them from one that is well again.
const FAULT_MEMORY: f64 = 1_000.0;
/// What an error counts as: an endpoint that fails quickly is not a quick one.
pub const FAILURE: f64 = 5_000.0;
/// As long as a first answer is awaited, more requests go elsewhere.
const UNKNOWN: f64 = 1_000_000.0;

/// Less than this makes no difference, in milliseconds.
const FLOOR: f64 = 1.0;
/// Fewer faults than this are forgotten.
const LEAST_FAULTS: f64 = 0.5;

/// Errors of late, each worth less as time passes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Faults {
    count: f64,
    at: Millis,
}

impl Faults {
    #[must_use]
    pub fn with_one(self, since: impl FnOnce() -> Millis, now: Millis) -> Faults {
        let count = self.count(since, now) + 1.0;
        Faults { count, at: now }
    }

    /// As many requests as the endpoint seems to be busy with beside those that it has: one that fails
    /// at once has few, and is to get no more for that.
    ///
    /// What was before it came back says nothing of it any more.
    pub fn count(self, since: impl FnOnce() -> Millis, now: Millis) -> f64 {
        if self.count == 0.0 || self.at < since() {
            return 0.0;
        }
        match self.count * left(self.at, now, FAULT_MEMORY) {
            few if few < LEAST_FAULTS => 0.0,
            count => count,
        }
    }
}

/// In milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency {
    mean: f64,
    at: Millis,
}

impl Latency {
    #[must_use]
    pub fn with(self, took: f64, now: Millis) -> Latency {
        let left = left(self.at, now, MEMORY);
        let decayed = self.mean * left;
        let mean = match took > decayed {
            true => took,
            false => decayed + took * (1.0 - left),
        };
        Latency { mean, at: now }
    }

    /// What one more request there would cost, beside so many that are under way; where it has come back
    /// since, nothing is known of it.
    pub fn cost(self, in_flight: u64, since: impl FnOnce() -> Millis, now: Millis) -> f64 {
        let mean = match self.mean > 0.0 && self.at >= since() {
            true => self.mean * left(self.at, now, MEMORY),
            false => 0.0,
        };
        let waiting = in_flight as f64;
        match mean > 0.0 {
            true => (mean + FLOOR) * (waiting + 1.0),
            false => UNKNOWN * waiting,
        }
    }
}

/// How much of a figure of that time is left by now.
fn left(at: Millis, now: Millis, memory: f64) -> f64 {
    let passed = now.0.saturating_sub(at.0) as f64;
    (-passed / memory).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: fn() -> Millis = || Millis(0);

    #[test]
    fn it_jumps_up_and_comes_down_slowly() {
        let at = |seconds: u64| Millis(seconds * 1_000);
        let latency = Latency::default().with(10.0, at(1)).with(200.0, at(1));
        assert_eq!(latency.cost(0, NEVER, at(1)), 201.0);
        let after = latency.with(10.0, at(2));
        assert!(
            (180.0..195.0).contains(&after.cost(0, NEVER, at(2))),
            "{after:?}"
        );
        let later = (2..60).fold(after, |latency, second| latency.with(10.0, at(second)));
        assert!(
            (9.0..20.0).contains(&later.cost(0, NEVER, at(60))),
            "{later:?}"
        );
        assert!(latency.cost(0, NEVER, at(300)) < 1.1, "forgotten");
    }

    #[test]
    fn faults_count_as_requests_until_they_are_forgotten() {
        let now = Millis(50_000);
        let faults = Faults::default().with_one(NEVER, now).with_one(NEVER, now);
        assert_eq!(
            (
                Faults::default().count(NEVER, now),
                faults.count(NEVER, now)
            ),
            (0.0, 2.0)
        );
        assert!(faults.count(NEVER, Millis(51_000)) < 1.0);
        assert_eq!(faults.count(NEVER, Millis(52_000)), 0.0);
    }

    #[test]
    fn one_that_nobody_has_asked_gets_one_request_and_then_has_to_answer() {
        let (new, now) = (Latency::default(), Millis(5));
        let known = new.with(20.0, now);
        assert!(new.cost(0, NEVER, now) < known.cost(0, NEVER, now));
        assert!(new.cost(1, NEVER, now) > known.cost(50, NEVER, now));
    }

    #[test]
    fn who_has_come_back_begins_anew() {
        let now = Millis(50_000);
        let faults = Faults::default().with_one(NEVER, now);
        assert_eq!(faults.count(|| Millis(50_000), now), 1.0);
        assert_eq!(faults.count(|| Millis(50_001), now), 0.0);
        let again = faults.with_one(|| Millis(50_001), Millis(50_002));
        assert_eq!(again.count(NEVER, Millis(50_002)), 1.0, "not two");
        let slow = Latency::default().with(FAILURE, now);
        assert!(slow.cost(0, || now, now) > 4_000.0);
        assert_eq!(slow.cost(0, || Millis(50_001), Millis(50_002)), 0.0);
    }
}
