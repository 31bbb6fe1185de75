//! Where a request goes: to which of a route's upstreams, in turn by their weights, and by which policy
//! to which of an upstream's endpoints.
//!
//! The state lives apart from the snapshot, which never changes, and is carried over to the next one
//! where the choices are still the same. Not here: whether an endpoint is up; whoever picks says which
//! may be picked.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use super::route::{Route, RouteTable, WeightedUpstream};
use super::snapshot::Upstream;

pub mod hash;
pub mod latency;
mod policy;
pub mod sticky;
#[cfg(test)]
mod tests;

pub use policy::{Among, Candidate, Moment, pick};

/// The turns of one worker under one snapshot.
#[derive(Debug)]
pub struct Balance {
    /// By route index; `None` where there is nothing to choose.
    routes: Box<[Option<Rc<Rotation>>]>,
    /// The same rotations by what they choose among, for the next snapshot.
    known: HashMap<Choices, Rc<Rotation>>,
}

/// Smooth weighted round robin: of weights 5, 1, 1 it makes `a a b a c a a`, not `a a a a a b c`.
#[derive(Debug)]
pub struct Rotation {
    credits: Box<[Cell<i64>]>,
}

/// What a rotation chooses among. While this stays the same, its state stays valid.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Choices {
    route: Box<str>,
    weighted: Box<[(Box<str>, u32)]>,
}

impl Balance {
    /// `before` is the state under the snapshot that this one replaces.
    pub fn build(routes: &RouteTable, upstreams: &[Upstream], before: Option<&Self>) -> Self {
        let mut known = HashMap::new();
        let mut rotation = |choices: Option<Choices>| {
            let choices = choices?;
            let rotation = before
                .and_then(|before| before.known.get(&choices))
                .map_or_else(|| Rc::new(Rotation::new(choices.weighted.len())), Rc::clone);
            known.insert(choices, Rc::clone(&rotation));
            Some(rotation)
        };
        let routes = routes.routes().iter();
        let routes = routes
            .map(|route| rotation(Choices::of_route(route, upstreams)))
            .collect();
        Self { routes, known }
    }

    /// The upstream whose turn it is, as an index into `Snapshot::upstreams`.
    pub fn pick_upstream(&self, route: &Route) -> Option<u32> {
        let weights = route.upstreams.iter().map(|choice| choice.weight);
        pick_place(&self.routes, route.index, weights)
            .and_then(|place| route.upstreams.get(place))
            .map(|choice: &WeightedUpstream| choice.upstream)
    }
}

fn pick_place(
    rotations: &[Option<Rc<Rotation>>],
    index: u32,
    mut weights: impl Iterator<Item = u32>,
) -> Option<usize> {
    match usize::try_from(index)
        .ok()
        .and_then(|index| rotations.get(index))?
    {
        Some(rotation) => rotation.pick(weights),
        None => weights.next().filter(|weight| *weight > 0).map(|_| 0),
    }
}

impl Rotation {
    pub fn new(choices: usize) -> Self {
        Self {
            credits: vec![Cell::new(0); choices].into(),
        }
    }

    /// The place of the next in turn.
    pub fn pick(&self, weights: impl Iterator<Item = u32>) -> Option<usize> {
        let choices = self.credits.iter().zip(weights).enumerate();
        in_turn(choices.map(|(place, (credit, weight))| (place, u64::from(weight), credit)))
    }
}

/// The next in turn among choices with their weights and the credits that they have gathered. A
/// weight of 0 sits this one out and keeps its credit; when all are 0 there is none.
pub fn in_turn<'a, T>(choices: impl Iterator<Item = (T, u64, &'a Cell<i64>)>) -> Option<T> {
    let mut total = 0;
    let mut best: Option<(T, &Cell<i64>)> = None;
    for (choice, weight, credit) in choices.filter(|(_, weight, _)| *weight > 0) {
        // Weights have 32 bits and a factor for slow starts: the sum of many stays far below.
        let weight = i64::try_from(weight).unwrap_or(i64::MAX >> 16);
        total += weight;
        credit.set(credit.get() + weight);
        if best
            .as_ref()
            .is_none_or(|(_, best)| credit.get() > best.get())
        {
            best = Some((choice, credit));
        }
    }
    let (choice, credit) = best?;
    credit.set(credit.get() - total);
    Some(choice)
}

impl Choices {
    fn of_route(route: &Route, upstreams: &[Upstream]) -> Option<Self> {
        let id = |choice: &WeightedUpstream| {
            let index = usize::try_from(choice.upstream).ok()?;
            let upstream = upstreams.get(index)?;
            Some((upstream.id.clone(), choice.weight))
        };
        (route.upstreams.len() > 1).then(|| Self {
            route: route.name.clone(),
            weighted: route.upstreams.iter().filter_map(id).collect(),
        })
    }
}
