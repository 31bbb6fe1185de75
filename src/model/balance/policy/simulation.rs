//! Tests: servers that take their time, and what each of them gets of a load.

use super::tests::*;
use super::*;

/// Where what is under way has to be followed too.
const LOADED_PICKS: u64 = 30_000;

/// Servers that answer as if each request were alone, after times by chance around what each `takes`.
/// So many requests are under way at a time, on average.
struct Load<'a> {
    weights: &'a [u32],
    takes: &'a [f64],
    in_flight: f64,
}

impl Load<'_> {
    fn shares(&self, policy: &Policy, slow_start: Option<Duration>) -> Vec<f64> {
        let mut table = Table::of(self.weights);
        table.moment.slow_start = slow_start;
        let chance = Random::new(11);
        let exponential = || -(1.0 - (chance.bits() >> 11) as f64 / (1_u64 << 53) as f64).ln();
        let total: f64 = self.weights.iter().map(|weight| f64::from(*weight)).sum();
        let weighted = self.weights.iter().zip(self.takes);
        let mean: f64 = weighted
            .map(|(weight, takes)| f64::from(*weight) * takes)
            .sum();
        let gap = mean / total / self.in_flight;
        let mut counts = vec![0_u64; self.weights.len()];
        let mut ends: Vec<(f64, usize, f64)> = Vec::new();
        let mut now = table.moment.now.0 as f64;
        for _ in 0..LOADED_PICKS {
            now += exponential() * gap;
            table.moment.now = Millis(now as u64);
            ends.retain(|(end, at, began)| {
                if *end <= now {
                    table.all[*at].ended(end - began, Millis(*end as u64));
                }
                *end > now
            });
            let at = table.pick(policy, None);
            table.all[at].in_flight.set(table.all[at].in_flight() + 1);
            // A machine that is busy with something else lets a few wait much longer.
            let hiccup = if chance.below(50) == 0 { 20.0 } else { 1.0 };
            ends.push((now + exponential() * self.takes[at] * hiccup, at, now));
            counts[at] += 1;
            if slow_start.is_some() {
                table.all[0].up_since = table.moment.now;
            }
        }
        counts
            .iter()
            .map(|count| *count as f64 / LOADED_PICKS as f64)
            .collect()
    }
}

#[test]
fn weights_hold_at_any_load_where_servers_are_alike() {
    for policy in [Policy::LeastConnections, Policy::PeakEwma] {
        for takes in [0.3, 30.0] {
            for in_flight in [0.01, 0.5, 1.0, 2.0, 20.0] {
                let (weights, takes) = (&[3, 1], &[takes, takes]);
                let load = Load {
                    weights,
                    takes,
                    in_flight,
                };
                let shares = load.shares(&policy, None);
                let near = (0.70..0.80).contains(&shares[0]);
                assert!(
                    near,
                    "{policy:?}: {shares:?} with {in_flight} of {takes:?} ms"
                );
            }
        }
    }
}

#[test]
fn weights_are_no_reason_to_wait_for_one_that_is_slow() {
    for (weights, takes, slow) in [
        ([1, 1, 1], [2.0, 2.0, 40.0], 2),
        ([1, 1, 3], [2.0, 2.0, 40.0], 2),
        ([3, 1, 1], [40.0, 2.0, 2.0], 0),
    ] {
        for in_flight in [0.5, 2.0, 10.0] {
            let load = Load {
                weights: &weights,
                takes: &takes,
                in_flight,
            };
            let shares = load.shares(&Policy::PeakEwma, None);
            let near = (0.000_1..0.05).contains(&shares[slow]);
            assert!(
                near,
                "{shares:?} with {in_flight} of {takes:?} ms by {weights:?}"
            );
        }
    }
}

#[test]
fn one_that_starts_slowly_gets_no_more_because_it_has_little() {
    for policy in [Policy::LeastConnections, Policy::PeakEwma] {
        for in_flight in [0.1, 2.0, 10.0] {
            let load = Load {
                weights: &[1, 1, 1],
                takes: &[10.0, 10.0, 10.0],
                in_flight,
            };
            // It has always just come back.
            let shares = load.shares(&policy, Some(Duration::from_secs(30)));
            let near = (0.02..0.08).contains(&shares[0]);
            assert!(near, "{policy:?}: {shares:?} with {in_flight}");
        }
    }
}

/// Requests come one after the other, and each endpoint takes its own time for its answers: as long as
/// a request is under way there, it waits for the one before.
fn simulate(policy: &Policy, takes: &[f64], gap: f64) -> Vec<u64> {
    let mut table = Table::of(&vec![1; takes.len()]);
    let mut counts = vec![0_u64; takes.len()];
    let mut ends: Vec<(f64, usize, f64)> = Vec::new();
    let mut free_at = vec![0.0_f64; takes.len()];
    let mut now = 0.0;
    for _ in 0..PICKS {
        now += gap;
        table.moment.now = Millis(now as u64);
        ends.retain(|(end, at, began)| {
            if *end <= now {
                let one = &table.all[*at];
                one.ended(end - began, Millis(*end as u64));
            }
            *end > now
        });
        let at = table.pick(policy, None);
        let end = free_at[at].max(now) + takes[at];
        free_at[at] = end;
        ends.push((end, at, now));
        table.all[at].in_flight.set(table.all[at].in_flight() + 1);
        counts[at] += 1;
    }
    counts
}

#[test]
fn the_slow_one_gets_less_and_nobody_starves() {
    // A slow one is asked again once its latency has been forgotten, or while the others are busy.
    for (policy, at_least) in [(Policy::PeakEwma, 10), (Policy::LeastConnections, 1_000)] {
        // All together could take one every 0.9 ms; the slow one alone one every 40 ms.
        let counts = simulate(&policy, &[2.0, 2.0, 40.0], 1.5);
        assert!(counts[2] * 5 < counts[0], "{policy:?} {counts:?}");
        assert!(counts[2] >= at_least, "{policy:?} {counts:?}");
        let (more, less) = (counts[0].max(counts[1]), counts[0].min(counts[1]));
        assert!(more < less * 2, "{policy:?} {counts:?}");
    }
    // With hardly anything to do nobody starves either.
    let counts = simulate(&Policy::PeakEwma, &[2.0, 2.5, 3.0], 50.0);
    assert!(counts.iter().all(|count| *count > 1_000), "{counts:?}");
}

#[test]
fn one_that_comes_back_begins_with_a_tenth() {
    let mut table = Table::of(&[1, 1]);
    table.moment.slow_start = Some(Duration::from_secs(30));
    let share_after = |table: &mut Table, seconds: u64| {
        table.all[1].up_since = Millis(table.moment.now.0 - seconds * 1_000);
        table.shares(&Policy::RoundRobin)[1]
    };
    assert_near(&[share_after(&mut table, 0)], &[0.1 / 1.1], 0.001);
    assert_near(&[share_after(&mut table, 15)], &[0.5 / 1.5], 0.001);
    assert_near(&[share_after(&mut table, 30)], &[0.5], 0.001);
    let (heavy, light) = (u32::MAX, 1);
    assert!(table.moment.weighed(heavy, || Millis(0)) > 0);
    assert_eq!(table.moment.weighed(light, || table.moment.now), 102);
}
