//! How long an endpoint takes, of late: a mean that forgets, in which what is slower than usual counts
//! more (peak EWMA). What rests on few answers says little, so that chance does not upset the weights, and
//! one that has not been asked for a while is thought as well of as the others, so that it gets its chance.

use crate::model::health::Millis;

/// After so long, a response time counts for a third of what it did.
const MEMORY: f64 = 5_000.0;
/// The same of an error. It keeps requests away for a moment, so that five in a row, which end in an
/// ejection, are not paid for at once; for longer it would keep them from one that is well again.
const FAULT_MEMORY: f64 = 1_000.0;
/// What an error counts as: an endpoint that fails quickly is not a quick one.
const FAILURE: f64 = 5_000.0;

/// Less than this makes no difference, in milliseconds.
const FLOOR: f64 = 1.0;
/// Fewer faults than this are forgotten.
const LEAST_FAULTS: f64 = 0.5;
/// As many answers count as one that was slower than those before.
const PEAK: f64 = 2.0;
/// One that was slower than so many times the mean counts as that: a single answer that took very long is
/// chance, and a server that has become slow shows it again.
const SLOWEST: f64 = 3.0;
/// More answers than this are not remembered, so that a change shows soon, and is forgotten soon.
const MOST: f64 = 100.0;
/// So many answers that took the usual time are imagined beside those that were seen.
const IMAGINED: f64 = 8.0;

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

    /// A good answer outweighs half of them: after an outage of a thousand errors a server is not made to
    /// wait for as long as those take to be forgotten.
    #[must_use]
    pub fn after_answer(self) -> Faults {
        Faults {
            count: self.count / 2.0,
            ..self
        }
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

/// Response times, in milliseconds, and how many they are: each worth less as time passes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency {
    times: Times,
    at: Millis,
}

/// The same as of some moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Times {
    sum: f64,
    count: f64,
}

impl Latency {
    #[must_use]
    pub fn with(self, took: f64, now: Millis) -> Latency {
        let before = self.times.scaled(left(self.at, now, MEMORY));
        let took = match before.count >= 1.0 {
            true => took.min((before.sum / before.count + FLOOR) * SLOWEST),
            false => took,
        };
        let is_slower = took * before.count > before.sum;
        let weight = if is_slower { PEAK } else { 1.0 };
        let times = Times {
            sum: before.sum + took * weight,
            count: before.count + weight,
        };
        let times = times.scaled((MOST / times.count).min(1.0));
        Latency { times, at: now }
    }

    /// After a request that was given up: its answer would have taken longer than so long.
    #[must_use]
    pub fn with_at_least(self, took: f64, now: Millis) -> Latency {
        match took > FLOOR && took * self.times.count >= self.times.sum {
            true => self.with(took, now),
            false => self,
        }
    }

    /// What was before it came back says nothing of it any more.
    pub fn seen(self, since: impl FnOnce() -> Millis, now: Millis) -> Times {
        match self.times.count > 0.0 && self.at >= since() {
            true => self.times.scaled(left(self.at, now, MEMORY)),
            false => Times::default(),
        }
    }
}

impl Times {
    fn scaled(self, factor: f64) -> Times {
        Times {
            sum: self.sum * factor,
            count: self.count * factor,
        }
    }

    /// What an answer usually takes, as far as either of two tells: the quicker one is as they all can be.
    pub(super) fn usual(self, other: Times) -> f64 {
        let known = [self, other].into_iter().filter(|one| one.count > 0.0);
        let means = known.map(|one| one.sum / one.count);
        means.reduce(f64::min).unwrap_or_default()
    }

    /// What the next answer will take, as far as is known, errors of late included.
    pub(super) fn expected(self, usual: f64, faults: f64) -> f64 {
        let mean = (self.sum + usual * IMAGINED) / (self.count + IMAGINED);
        mean + faults * FAILURE + FLOOR
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

    fn mean(latency: Latency, now: Millis) -> f64 {
        let seen = latency.seen(NEVER, now);
        seen.expected(10.0, 0.0) - FLOOR
    }

    #[test]
    fn a_change_shows_soon_and_is_forgotten_in_time() {
        let at = |seconds: u64| Millis(seconds * 1_000);
        let usual = (0..1_000).fold(Latency::default(), |latency, _| latency.with(10.0, at(1)));
        assert!((9.9..10.1).contains(&mean(usual, at(1))), "{usual:?}");
        let once = usual.with(2_000.0, at(1));
        assert!(mean(once, at(1)) < 11.0, "{once:?}");
        let slow = (0..30).fold(usual, |latency, _| latency.with(200.0, at(1)));
        assert!(mean(slow, at(1)) > 25.0, "{slow:?}");
        let again = (0..300).fold(slow, |latency, _| latency.with(10.0, at(1)));
        assert!(mean(again, at(1)) < 15.0, "{again:?}");
        assert!(mean(slow, at(61)) < 10.1, "forgotten");
    }

    #[test]
    fn what_was_given_up_counts_where_it_took_longer_than_usual() {
        let now = Millis(5);
        let usual = (0..50).fold(Latency::default(), |latency, _| latency.with(10.0, now));
        assert_eq!(usual.with_at_least(5.0, now), usual);
        assert!(mean(usual.with_at_least(50.0, now), now) > mean(usual, now));
        let unknown = Latency::default();
        assert_eq!(unknown.with_at_least(0.1, now), unknown, "it never began");
        assert!(mean(unknown.with_at_least(500.0, now), now) > 50.0);
    }

    #[test]
    fn few_answers_say_little_and_many_much() {
        let now = Millis(5);
        let after = |answers: u32| {
            let latency = (0..answers).fold(Latency::default(), |one, _| one.with(100.0, now));
            mean(latency, now)
        };
        assert_eq!(after(0), 10.0);
        assert!((15.0..30.0).contains(&after(1)), "{}", after(1));
        assert!(after(100) > 90.0, "{}", after(100));
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
        let outage = (0..1_000).fold(faults, |faults, _| faults.with_one(NEVER, now));
        let answered = (0..12).fold(outage, |faults, _| faults.after_answer());
        assert_eq!(
            (outage.count(NEVER, now), answered.count(NEVER, now)),
            (1_002.0, 0.0)
        );
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
        assert_eq!(slow.seen(|| now, now).sum, FAILURE);
        let nothing = slow.seen(|| Millis(50_001), Millis(50_002));
        assert_eq!(nothing, Times::default());
    }
}
