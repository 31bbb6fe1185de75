use proptest::prelude::*;

use super::super::config::{PathPattern, Rule, WeightedUpstream};
use super::super::fixtures;
use super::*;

fn turns(weights: &[u32], count: usize) -> Vec<usize> {
    let rotation = Rotation::new(weights.len());
    (0..count)
        .map(|_| rotation.pick(weights.iter().copied()).unwrap())
        .collect()
}

fn rule(name: &str, weights: &[u32]) -> Rule {
    let upstreams = (0..).zip(weights);
    let upstreams = upstreams.map(|(upstream, &weight)| WeightedUpstream { upstream, weight });
    Rule {
        upstreams: upstreams.collect(),
        ..fixtures::rule(name, PathPattern::Prefix("/".into()))
    }
}

/// Routes and upstreams, as a snapshot holds them.
fn compiled(ids: &[&str], rule: Rule) -> (RouteTable, Vec<Upstream>) {
    let upstreams = ids
        .iter()
        .map(|id| Upstream::build(&fixtures::upstream(id, &[1])).unwrap());
    (RouteTable::build(&[rule]).unwrap(), upstreams.collect())
}

fn picked(balance: &Balance, routes: &RouteTable, count: usize) -> Vec<u32> {
    let route = &routes.routes()[0];
    (0..count)
        .map(|_| balance.pick_upstream(route).unwrap())
        .collect()
}

#[test]
fn turns_are_spread_and_not_bunched() {
    assert_eq!(turns(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(turns(&[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
    assert_eq!(turns(&[0, 2, 1], 3), [1, 2, 1]);
    assert_eq!(turns(&[u32::MAX, u32::MAX], 4), [0, 1, 0, 1]);
}

#[test]
fn nobody_is_picked_when_all_weights_are_nothing() {
    assert_eq!(Rotation::new(2).pick([0, 0].into_iter()), None);
    assert_eq!(Rotation::new(0).pick([].into_iter()), None);
}

#[test]
fn who_sits_out_is_passed_over_and_comes_back() {
    let rotation = Rotation::new(3);
    let down: Vec<_> = (0..4)
        .filter_map(|_| rotation.pick([1, 0, 1].into_iter()))
        .collect();
    assert_eq!(down, [0, 2, 0, 2]);
    let back: Vec<_> = (0..3)
        .filter_map(|_| rotation.pick([1, 1, 1].into_iter()))
        .collect();
    assert_eq!(back, [0, 1, 2]);
}

#[test]
fn single_upstream_needs_no_state() {
    let (routes, upstreams) = compiled(&["a", "b"], rule("one", &[1]));
    let balance = Balance::build(&routes, &upstreams, None);
    assert!(balance.known.is_empty());
    assert_eq!(picked(&balance, &routes, 2), [0, 0]);
}

#[test]
fn turns_go_on_over_a_reload_while_the_choices_are_the_same() {
    let (routes, upstreams) = compiled(&["a", "b"], rule("r", &[1, 1]));
    let balance = Balance::build(&routes, &upstreams, None);
    assert_eq!(picked(&balance, &routes, 3), [0, 1, 0]);

    // The upstreams have other indices; what the rule chooses among is the same.
    let mut moved = rule("r", &[1, 1]);
    moved.upstreams = [1, 2]
        .map(|upstream| WeightedUpstream {
            upstream,
            weight: 1,
        })
        .into();
    let (routes, upstreams) = compiled(&["new", "a", "b"], moved);
    let carried = Balance::build(&routes, &upstreams, Some(&balance));
    assert_eq!(picked(&carried, &routes, 2), [2, 1]);

    let (routes, upstreams) = compiled(&["a", "b"], rule("r", &[2, 1]));
    let fresh = Balance::build(&routes, &upstreams, Some(&carried));
    assert_eq!(picked(&fresh, &routes, 3), [0, 1, 0]);
}

proptest! {
    /// Over one round each gets its weight, and at no point is anybody a whole turn ahead or behind.
    #[test]
    fn everybody_gets_their_share(weights in prop::collection::vec(0u32..9, 1..6)) {
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        let mut counts = vec![0u32; weights.len()];
        for (turn, place) in (1u32..).zip(turns(&weights, total as usize)) {
            counts[place] += 1;
            for (count, weight) in counts.iter().zip(&weights) {
                let due = f64::from(turn * weight) / f64::from(total);
                let off = (f64::from(*count) - due).abs();
                prop_assert!(off < weights.len() as f64, "{off} turns off in {weights:?}");
            }
        }
        prop_assert_eq!(counts, weights);
    }
}
