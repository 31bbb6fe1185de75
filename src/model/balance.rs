//! Whose turn it is: smooth weighted round robin on two levels, a route's upstreams and an upstream's
//! servers.
//!
//! The state lives apart from the snapshot, which never changes, and is carried over to the next one
//! where the choices are still the same. Not here: whether a server is up; whoever picks says which
//! may be picked.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use super::route::{Route, RouteTable, WeightedUpstream};
use super::snapshot::{Server, Target, Upstream};

#[cfg(test)]
mod tests;

/// The turns of one worker under one snapshot.
#[derive(Debug)]
pub struct Balance {
    /// By route index and by upstream index; `None` where there is nothing to choose.
    routes: Box<[Option<Rc<Rotation>>]>,
    upstreams: Box<[Option<Rc<Rotation>>]>,
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
    level: Level,
    /// Of the route or the upstream.
    name: Box<str>,
    weighted: Box<[(Box<str>, u32)]>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Level {
    Route,
    Upstream,
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
        let upstreams = upstreams.iter();
        let upstreams = upstreams
            .map(|one| rotation(Choices::of_upstream(one)))
            .collect();
        Self {
            routes,
            upstreams,
            known,
        }
    }

    /// The upstream whose turn it is, as an index into `Snapshot::upstreams`.
    pub fn pick_upstream(&self, route: &Route) -> Option<u32> {
        let weights = route.upstreams.iter().map(|choice| choice.weight);
        pick(&self.routes, route.index, weights)
            .and_then(|place| route.upstreams.get(place))
            .map(|choice: &WeightedUpstream| choice.upstream)
    }

    /// The server whose turn it is among those that `may_take` a request, as an index into
    /// `servers`, which are those of the snapshot's upstream with that index.
    pub fn pick_server(
        &self,
        upstream: u32,
        servers: &[Server],
        may_take: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let weights = servers.iter().enumerate();
        let weights = weights.map(|(place, one)| if may_take(place) { one.weight } else { 0 });
        pick(&self.upstreams, upstream, weights)
    }
}

fn pick(
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

    /// The next in turn. A weight of 0 sits this one out and keeps the credit it has; when all are
    /// 0 there is none.
    pub fn pick(&self, weights: impl Iterator<Item = u32>) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, &Cell<i64>)> = None;
        for (place, (credit, weight)) in self.credits.iter().zip(weights).enumerate() {
            if weight == 0 {
                continue;
            }
            total += i64::from(weight);
            credit.set(credit.get() + i64::from(weight));
            if best.is_none_or(|(_, best)| credit.get() > best.get()) {
                best = Some((place, credit));
            }
        }
        let (place, credit) = best?;
        credit.set(credit.get() - total);
        Some(place)
    }
}

impl Choices {
    fn of_route(route: &Route, upstreams: &[Upstream]) -> Option<Self> {
        let id = |choice: &WeightedUpstream| {
            let index = usize::try_from(choice.upstream).ok()?;
            let upstream = upstreams.get(index)?;
            Some((upstream.id.clone(), choice.weight))
        };
        (route.upstreams.len() > 1).then(|| Self {
            level: Level::Route,
            name: route.name.clone(),
            weighted: route.upstreams.iter().filter_map(id).collect(),
        })
    }

    fn of_upstream(upstream: &Upstream) -> Option<Self> {
        let Target::Servers(servers) = &upstream.target else {
            return None;
        };
        let address = |server: &Server| {
            let host = match &server.host {
                super::config::ServerHost::Ip(ip) => ip.to_string(),
                super::config::ServerHost::Name(name) => name.clone(),
            };
            (
                format!("{host} {} {}", server.port, server.base_path).into(),
                server.weight,
            )
        };
        (servers.len() > 1).then(|| Self {
            level: Level::Upstream,
            name: upstream.id.clone(),
            weighted: servers.iter().map(address).collect(),
        })
    }
}
