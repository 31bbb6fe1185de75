use std::cell::Cell;

use super::*;
use crate::model::balance::latency::{Faults, Latency};
use crate::model::config::balance::{Hash, HashOn};

pub(super) const PICKS: u64 = 100_000;

/// Tests only know the weight that was given; the clock stands where the moment says.
pub(super) struct One {
    pub(super) weight: u32,
    pub(super) up_since: Millis,
    pub(super) credit: Cell<i64>,
    pub(super) in_flight: Cell<u64>,
    pub(super) latency: Cell<Latency>,
    pub(super) faults: Cell<Faults>,
    pub(super) identity: u64,
}

impl Candidate for One {
    fn weight(&self, moment: Moment) -> u64 {
        moment.weighed(self.weight, || self.up_since)
    }

    fn credit(&self) -> &Cell<i64> {
        &self.credit
    }

    fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    fn faults(&self, moment: Moment) -> f64 {
        self.faults.get().count(|| self.up_since, moment.now)
    }

    fn latency(&self, moment: Moment) -> Times {
        self.latency.get().seen(|| self.up_since, moment.now)
    }

    fn identity(&self) -> u64 {
        self.identity
    }
}

impl One {
    pub(super) fn ended(&self, took: f64, now: Millis) {
        self.in_flight.set(self.in_flight() - 1);
        self.latency.set(self.latency.get().with(took, now));
    }
}

pub(super) fn all(weights: &[u32]) -> Vec<One> {
    let one = |(number, weight): (usize, &u32)| One {
        weight: *weight,
        up_since: Millis(0),
        credit: Cell::new(0),
        in_flight: Cell::new(0),
        latency: Cell::default(),
        faults: Cell::default(),
        identity: hash::of(format!("10.0.0.{number}:80").as_bytes()),
    };
    weights.iter().enumerate().map(one).collect()
}

pub(super) struct Table {
    pub(super) all: Vec<One>,
    pub(super) places: Vec<u32>,
    pub(super) random: Random,
    pub(super) moment: Moment,
}

impl Table {
    pub(super) fn of(weights: &[u32]) -> Self {
        Self {
            all: all(weights),
            places: (0..).take(weights.len()).collect(),
            random: Random::new(42),
            moment: Moment {
                now: Millis(1_000_000),
                slow_start: None,
            },
        }
    }

    pub(super) fn pick(&self, policy: &Policy, key: Option<u64>) -> usize {
        let among = Among {
            all: &self.all,
            places: &self.places,
            moment: self.moment,
        };
        let picked = pick(policy, &among, key, &self.random).unwrap();
        let is_it = |one: &One| std::ptr::eq(one, picked);
        self.all.iter().position(is_it).unwrap()
    }

    pub(super) fn shares(&self, policy: &Policy) -> Vec<f64> {
        let mut counts = vec![0_u64; self.all.len()];
        for number in 0..PICKS {
            counts[self.pick(policy, Some(key(number)))] += 1;
        }
        counts
            .iter()
            .map(|count| *count as f64 / PICKS as f64)
            .collect()
    }

    /// Where each key goes.
    pub(super) fn placed(&self, policy: &Policy) -> Vec<usize> {
        let keys = 0..PICKS;
        keys.map(|number| self.pick(policy, Some(key(number))))
            .collect()
    }
}

fn key(number: u64) -> u64 {
    hash::of(&number.to_be_bytes())
}

fn consistent(load_bound: Option<u32>) -> Policy {
    Policy::ConsistentHash(Hash {
        on: HashOn::ClientAddress,
        load_bound,
    })
}

pub(super) fn assert_near(shares: &[f64], wanted: &[f64], off: f64) {
    for (share, wanted) in shares.iter().zip(wanted) {
        assert!((share - wanted).abs() <= off, "{shares:?}, not {wanted:?}");
    }
}

#[test]
fn every_policy_keeps_to_the_weights() {
    let wanted = [0.5, 0.3, 0.2];
    for (policy, off) in [
        (Policy::RoundRobin, 0.0),
        (Policy::Random, 0.005),
        (Policy::LeastConnections, 0.0),
        (Policy::IpHash, 0.005),
        (consistent(None), 0.005),
    ] {
        let shares = Table::of(&[5, 3, 2]).shares(&policy);
        assert_near(&shares, &wanted, off + 1e-9);
    }
    let table = Table::of(&[5, 3, 2]);
    for one in &table.all {
        one.latency
            .set(Latency::default().with(10.0, table.moment.now));
    }
    assert_near(&table.shares(&Policy::PeakEwma), &wanted, 0.005);
}

/// What other workers do to it between two looks: it has more in flight each time, and less weight.
#[derive(Default)]
struct Restless {
    looks: Cell<u64>,
    credit: Cell<i64>,
}

impl Restless {
    fn look(&self) -> u64 {
        self.looks.set(self.looks.get() + 1);
        self.looks.get()
    }
}

impl Candidate for Restless {
    fn weight(&self, _: Moment) -> u64 {
        1_000_u64.saturating_sub(self.look() * 100).max(1)
    }

    fn credit(&self) -> &Cell<i64> {
        &self.credit
    }

    fn in_flight(&self) -> u64 {
        self.look() * 10
    }

    fn faults(&self, _: Moment) -> f64 {
        self.look() as f64
    }

    fn latency(&self, moment: Moment) -> Times {
        Latency::default()
            .with(self.look() as f64, moment.now)
            .seen(|| Millis(0), moment.now)
    }

    fn identity(&self) -> u64 {
        0
    }
}

fn every_policy() -> [Policy; 6] {
    [
        Policy::RoundRobin,
        Policy::Random,
        Policy::LeastConnections,
        Policy::PeakEwma,
        Policy::IpHash,
        consistent(Some(125)),
    ]
}

#[test]
fn somebody_is_picked_whatever_changes_meanwhile() {
    for policy in every_policy() {
        for seed in 0..100 {
            let all = [Restless::default(), Restless::default()];
            let moment = Table::of(&[1]).moment;
            let among = Among {
                all: &all,
                places: &[0, 1],
                moment,
            };
            let picked = pick(&policy, &among, Some(key(seed)), &Random::new(seed));
            assert!(picked.is_some(), "{policy:?}");
        }
    }
}

#[test]
fn only_those_that_may_are_picked() {
    let mut table = Table::of(&[1, 1, 1, 1]);
    table.places = vec![1, 3];
    for policy in every_policy() {
        let shares = table.shares(&policy);
        assert_eq!((shares[0], shares[2]), (0.0, 0.0), "{policy:?}");
        assert!(shares[1] > 0.4 && shares[3] > 0.4, "{policy:?} {shares:?}");
    }
    table.places = vec![2];
    assert_eq!(table.pick(&Policy::PeakEwma, None), 2);
}

#[test]
fn a_key_stays_where_it_is_and_without_one_requests_take_turns() {
    let table = Table::of(&[1, 1, 1]);
    for policy in [Policy::IpHash, consistent(None)] {
        assert_eq!(table.placed(&policy), table.placed(&policy));
        let turns: Vec<_> = (0..4).map(|_| table.pick(&policy, None)).collect();
        let different: std::collections::HashSet<_> = turns[..3].iter().collect();
        assert_eq!((different.len(), turns[0] == turns[3]), (3, true));
    }
}

#[test]
fn only_the_share_of_one_that_goes_or_comes_is_moved() {
    let mut table = Table::of(&[1; 10]);
    let before = table.placed(&consistent(None));
    table.places.remove(4);
    let without = table.placed(&consistent(None));
    let pairs = before.iter().zip(&without);
    let moved = pairs.clone().filter(|(before, after)| before != after);
    assert!(
        moved.clone().all(|(before, _)| *before == 4),
        "only its own"
    );
    let share = moved.count() as f64 / PICKS as f64;
    assert!((0.09..0.11).contains(&share), "{share} of the keys moved");
    // What it had is spread over all others.
    let heirs = pairs
        .filter(|(before, _)| **before == 4)
        .map(|(_, after)| *after);
    let heirs: std::collections::HashSet<_> = heirs.collect();
    assert_eq!(heirs.len(), 9);

    // A change of one weight moves keys to or from that one only.
    let mut heavier = Table::of(&[1; 10]);
    heavier.all[7].weight = 2;
    let after = heavier.placed(&consistent(None));
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after);
    assert!(moved.clone().all(|(_, after)| *after == 7));
    let share = moved.count() as f64 / PICKS as f64;
    assert!(
        (0.07..0.10).contains(&share),
        "2/11 instead of 1/10: {share}"
    );
}

#[test]
fn a_bound_on_the_load_is_kept_and_the_others_help_out() {
    let table = Table::of(&[1, 1, 1, 1]);
    let one_key = Some(key(1));
    let mut counts = [0_u64; 4];
    for picked in 1..=1_000_u64 {
        let at = table.pick(&consistent(Some(125)), one_key);
        table.all[at].in_flight.set(table.all[at].in_flight() + 1);
        counts[at] += 1;
        let most = (picked * 125).div_ceil(400);
        assert!(counts[at] <= most, "{counts:?} after {picked}");
    }
    assert_eq!(counts.iter().sum::<u64>(), 1_000);
    let mut sorted = counts;
    sorted.sort_unstable();
    assert_eq!(
        sorted[3], 313,
        "its own endpoint has as much as it may: {counts:?}"
    );
}

#[test]
fn the_least_loaded_for_its_weight_is_picked() {
    let table = Table::of(&[1, 2, 1]);
    table.all[0].in_flight.set(4);
    table.all[1].in_flight.set(6);
    table.all[2].in_flight.set(2);
    assert_eq!(table.pick(&Policy::LeastConnections, None), 2);
    table.all[2].in_flight.set(4);
    assert_eq!(table.pick(&Policy::LeastConnections, None), 1);
}

#[test]
fn one_of_more_weight_may_have_more_before_others_are_thought_idler() {
    let table = Table::of(&[3, 1]);
    let mut may = Vec::new();
    for (heavy, light) in [(1, 0), (2, 0), (3, 0), (0, 1), (2, 1), (3, 1), (6, 1)] {
        table.all[0].in_flight.set(heavy);
        table.all[1].in_flight.set(light);
        let picks = (0..8).map(|_| table.pick(&Policy::LeastConnections, None));
        let picked: std::collections::BTreeSet<_> = picks.collect();
        may.push((heavy, light, picked.into_iter().collect::<Vec<_>>()));
    }
    let wanted = [
        (1, 0, vec![0, 1]),
        (2, 0, vec![0, 1]),
        (3, 0, vec![1]),
        (0, 1, vec![0]),
        (2, 1, vec![0]),
        (3, 1, vec![0, 1]),
        (6, 1, vec![1]),
    ];
    assert_eq!(may, wanted);
}

#[test]
fn one_that_fails_is_not_taken_for_an_idle_one() {
    let table = Table::of(&[1, 1]);
    let faults = Faults::default().with_one(|| Millis(0), table.moment.now);
    table.all[0].faults.set(faults);
    for _ in 0..3 {
        assert_eq!(table.pick(&Policy::LeastConnections, None), 1);
    }
    table.all[1].in_flight.set(2);
    assert_eq!(table.pick(&Policy::LeastConnections, None), 0);
}
