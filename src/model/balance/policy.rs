//! Which of several endpoints a request goes to, by the policy of its upstream.
//!
//! Pure: loads, latencies and random bits come from outside. Not here: who may be chosen at all; the
//! caller says who is well and has not been tried.

use std::cell::Cell;
use std::time::Duration;

use super::latency::Times;
use super::{hash, in_turn};
use crate::model::config::balance::Policy;
use crate::model::health::Millis;
use crate::model::random::Random;

/// What a policy looks at.
pub trait Candidate {
    /// At least 1; less than usual while it comes back.
    fn weight(&self, moment: Moment) -> u64;
    /// Of its turns; see `in_turn`.
    fn credit(&self) -> &Cell<i64>;
    /// Requests that all workers have under way there.
    fn in_flight(&self) -> u64;
    /// Errors of late, as requests that are still under way; see `latency`.
    fn faults(&self, moment: Moment) -> f64;
    /// How long its answers took of late, where the policy looks at that.
    fn latency(&self, moment: Moment) -> Times;
    /// What it is called, as a hash; the same everywhere.
    fn identity(&self) -> u64;
}

/// When a choice is made, and under which conditions.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now: Millis,
    pub slow_start: Option<Duration>,
}

/// Those that may be chosen: places in the list of all.
pub struct Among<'a, 'p, C> {
    pub all: &'a [C],
    pub places: &'p [u32],
    pub moment: Moment,
}

/// One whose whole weight is worth so much, so that a tenth of a weight of 1 is still something.
const SCALE: u64 = 1_024;
/// What one gets at once, in percent.
const FIRST: u64 = 10;

impl Moment {
    /// What a weight is worth when its endpoint has been up since then.
    pub fn weighed(self, weight: u32, up_since: impl FnOnce() -> Millis) -> u64 {
        let Some(window) = self.slow_start else {
            return u64::from(weight);
        };
        let whole = u64::from(weight) * SCALE;
        let (up, window) = (self.now.since(up_since()), window.as_millis().max(1));
        let percent = u64::try_from(up.as_millis() * 100 / window).unwrap_or(u64::MAX);
        (whole * percent.clamp(FIRST, 100) / 100).max(1)
    }
}

impl<'a, 'p, C> Among<'a, 'p, C> {
    pub fn iter(&self) -> impl Iterator<Item = &'a C> + use<'a, 'p, C> {
        let all = self.all;
        self.places
            .iter()
            .filter_map(move |at| all.get(*at as usize))
    }

    pub fn weight(&self, candidate: &C) -> u64
    where
        C: Candidate,
    {
        candidate.weight(self.moment)
    }
}

/// `key` is the hash of what the request is placed by; without one, requests go in turn.
pub fn pick<'a, C: Candidate>(
    policy: &Policy,
    among: &Among<'a, '_, C>,
    key: Option<u64>,
    random: &Random,
) -> Option<&'a C> {
    match (policy, key) {
        (Policy::Random, _) => by_weight(among, |_| true, random),
        (Policy::LeastConnections, _) => least_loaded(among),
        (Policy::PeakEwma, _) => cheaper_of_two(among, random),
        (Policy::IpHash, Some(key)) => hash::place(among, key, None),
        (Policy::ConsistentHash(hash), Some(key)) => hash::place(among, key, hash.load_bound),
        (Policy::RoundRobin | Policy::IpHash | Policy::ConsistentHash(_), _) => {
            turn(among, |_| true)
        }
    }
}

fn turn<'a, C: Candidate>(among: &Among<'a, '_, C>, may: impl Fn(&C) -> bool) -> Option<&'a C> {
    let candidates = among.iter().filter(|one| may(one));
    in_turn(candidates.map(|one| (one, among.weight(one), one.credit())))
}

fn by_weight<'a, C: Candidate>(
    among: &Among<'a, '_, C>,
    may: impl Fn(&C) -> bool,
    random: &Random,
) -> Option<&'a C> {
    let candidates = || among.iter().filter(|one| may(one));
    let total = candidates().map(|one| among.weight(one)).sum();
    let mut left = random.below(total);
    let found = candidates().find(|one| {
        let weight = among.weight(one);
        let found = left < weight;
        left = left.saturating_sub(weight);
        found
    });
    // One that comes back at this moment weighs less than it did when the sum was made.
    found.or_else(|| candidates().next())
}

/// The fewest in flight for its weight, errors of late among them. Those that have no more than another
/// would have with the request take turns: of weights 3 and 1, the heavier one may have two while the
/// other has none, or the weights would mean nothing as long as few requests are in flight.
fn least_loaded<'a, C: Candidate>(among: &Among<'a, '_, C>) -> Option<&'a C> {
    // Equal shares are equal numbers: a division is rounded the same way for both.
    let with = |one: &C, more: f64| {
        let load = one.in_flight() as f64 + one.faults(among.moment) + more;
        load / among.weight(one) as f64
    };
    let lightest = among.iter().map(|one| with(one, 1.0)).reduce(f64::min)?;
    // Other workers change what is in flight between two looks at it.
    turn(among, |one| with(one, 0.0) < lightest).or_else(|| turn(among, |_| true))
}

/// Two by chance, by their weights, and of these the first, unless the second will answer sooner even
/// with the request in front: small differences are chance, and weights count.
fn cheaper_of_two<'a, C: Candidate>(among: &Among<'a, '_, C>, random: &Random) -> Option<&'a C> {
    let one = by_weight(among, |_| true, random)?;
    let other = by_weight(among, |other| !std::ptr::eq(other, one), random);
    match other {
        Some(other) if is_cheaper(among, other, one) => Some(other),
        _ => Some(one),
    }
}

fn is_cheaper<C: Candidate>(among: &Among<'_, '_, C>, other: &C, one: &C) -> bool {
    let moment = among.moment;
    let weights = [one, other].map(|which| among.weight(which) as f64);
    let [one_seen, other_seen] = [one, other].map(|which| which.latency(moment));
    let usual = one_seen.usual(other_seen);
    let mean_weight = weights.iter().sum::<f64>() / 2.0;
    // What is in flight is work for so many of a common weight.
    let [one_share, other_share] = weights.map(|weight| mean_weight / weight);
    let waiting = 1.0 + one.in_flight() as f64 * one_share;
    let in_front = other_share.max(1.0);
    let other_waiting = 1.0 + other.in_flight() as f64 * other_share + in_front;
    other_seen.expected(usual, other.faults(moment)) * other_waiting
        < one_seen.expected(usual, one.faults(moment)) * waiting
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
