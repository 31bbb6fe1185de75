//! The endpoints that an upstream stands for right now, and the choice of one of them.
//!
//! Not here: what becomes of the one that was chosen (`hold`), and what travels there.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;

use super::account::Account;
use super::endpoint::{Endpoint, Endpoints, Key, Owner, Place};
use super::hold::Hold;
use super::secure::Registry;
use crate::model::balance::latency::Times;
use crate::model::balance::{self, Among, Candidate, Moment, hash};
use crate::model::config::balance::{Balancing, Policy};
use crate::model::config::traffic::Bounds;
use crate::model::random::Random;
use crate::model::resolved::{Address, ResolvedEndpoint};
use crate::model::secret::Secret;
use crate::model::snapshot::{Server, Upstream};
use crate::proxy::observe::Observer;
use crate::shm::health::{self, Millis};
use crate::shm::recorder::Counter;
use crate::shm::series::{ConnectionState, Family, Key as Series};

mod eligible;
mod source;
mod sticky;

use source::{At, Source, only};
pub(in crate::proxy) use sticky::Stickiness;

/// Where endpoints are found and counted.
pub(in crate::proxy) struct Premises<'a> {
    pub(in crate::proxy) endpoints: &'a Endpoints,
    pub(in crate::proxy) observer: &'a Rc<Observer>,
    pub(in crate::proxy) tls: &'a Registry,
}

/// What is made into members: one upstream of a generation.
pub(in crate::proxy) struct Plan<'a> {
    pub(in crate::proxy) upstream: &'a Upstream,
    pub(in crate::proxy) servers: &'a [Server],
    /// Places on the health board, by server.
    pub(in crate::proxy) ids: &'a [Option<u32>],
    /// What the upstream is counted under.
    pub(in crate::proxy) label: u32,
    /// The key of sticky cookies, where the upstream has none of its own.
    pub(in crate::proxy) secret: Option<&'a Secret>,
}

/// One upstream of one generation.
pub(in crate::proxy) struct Members {
    upstream: Rc<str>,
    balancing: Arc<Balancing>,
    sources: Box<[Source]>,
    now: RefCell<Box<[Member]>>,
    /// Who may be chosen, while one is; kept for its memory.
    eligible: RefCell<Vec<u32>>,
    random: Random,
    sticky: Option<Stickiness>,
    observer: Rc<Observer>,
    label: u32,
    account: Rc<Account>,
    /// Connections in use.
    active: OnceCell<Counter>,
}

pub(super) struct Member {
    pub(super) endpoint: Rc<Endpoint>,
    pub(super) server: u32,
    weight: u32,
    tier: u32,
    credit: Cell<i64>,
    /// What stands for it in a sticky cookie.
    pub(super) token: Option<Rc<str>>,
}

/// What a choice depends on.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct Ask<'a> {
    pub(in crate::proxy) now: Millis,
    pub(in crate::proxy) tried: &'a Tried,
    /// The hash of what the request is placed by, where the policy wants one.
    pub(in crate::proxy) key: Option<u64>,
    /// The sticky cookie that came with the request.
    pub(in crate::proxy) token: Option<&'a [u8]>,
}

/// Endpoints that this request has been to: others come first.
#[derive(Clone, Default)]
pub(in crate::proxy) struct Tried(Vec<Rc<Endpoint>>);

impl Members {
    /// `before` is the same upstream in the generation that this one replaces: turns go on.
    pub(in crate::proxy) fn build(
        plan: &Plan<'_>,
        before: Option<&Self>,
        premises: &Premises<'_>,
    ) -> Rc<Self> {
        let ids = plan.ids.iter().copied().chain(std::iter::repeat(None));
        let sources = (0..).zip(plan.servers).zip(ids);
        let name = || (&*plan.upstream.id).into();
        let members = Self {
            upstream: before.map_or_else(name, |one| Rc::clone(&one.upstream)),
            balancing: Arc::clone(&plan.upstream.balancing),
            sources: sources
                .map(|((at, server), id)| Source::of(at, server, id, premises.tls))
                .collect(),
            now: RefCell::new(before.map(Self::copies).unwrap_or_default()),
            eligible: RefCell::default(),
            random: Random::new(RandomState::new().hash_one(plan.label)),
            sticky: Stickiness::of(plan),
            observer: Rc::clone(premises.observer),
            label: plan.label,
            account: before
                .map(|one| Rc::clone(&one.account))
                .unwrap_or_default(),
            active: OnceCell::new(),
        };
        members.rebuild(|_| None, premises);
        Rc::new(members)
    }

    pub(in crate::proxy) fn upstream(&self) -> &str {
        &self.upstream
    }

    pub(in crate::proxy) fn balancing(&self) -> &Balancing {
        &self.balancing
    }

    /// Whether it changes with what names stand for.
    pub(in crate::proxy) fn are_looked_up(&self) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|source| matches!(source.at, At::Looked(_)))
    }

    /// Its members anew, from what servers stand for now. Those that stay keep their turns.
    pub(super) fn rebuild(
        &self,
        looked_up: impl Fn(&str) -> Option<Vec<ResolvedEndpoint>>,
        premises: &Premises<'_>,
    ) {
        let mut members = Vec::new();
        for source in &self.sources {
            let endpoints = match &source.at {
                At::Address(address, id) => vec![only(address.clone(), *id)],
                At::Looked(server) => looked_up(server).unwrap_or_default(),
            };
            let member = |endpoint| self.member(source, &endpoint, premises);
            members.extend(endpoints.into_iter().map(member));
        }
        self.now.replace(members.into());
    }

    fn member(
        &self,
        source: &Source,
        endpoint: &ResolvedEndpoint,
        premises: &Premises<'_>,
    ) -> Member {
        let key = Key {
            upstream: Rc::clone(&self.upstream),
            address: endpoint.address.clone(),
            id: endpoint.id,
            tls: source.tls.clone(),
        };
        let place = |id| Place::find(premises.observer.recorder(), id);
        let found = premises.endpoints.at(key, place);
        let now = self.now.borrow();
        let mut before = now.iter();
        let before = before.find(|one| Rc::ptr_eq(&one.endpoint, &found));
        let sticky = self.sticky.as_ref();
        Member {
            credit: Cell::new(before.map_or(0, |one| one.credit.get())),
            token: sticky.map(|sticky| sticky.token(&self.upstream, &endpoint.address)),
            endpoint: found,
            server: source.server,
            weight: source.weight.saturating_mul(endpoint.weight),
            tier: source.tier + u32::from(endpoint.priority),
        }
    }

    fn copies(&self) -> Box<[Member]> {
        let now = self.now.borrow();
        let copy = |member: &Member| Member {
            endpoint: Rc::clone(&member.endpoint),
            credit: member.credit.clone(),
            token: member.token.clone(),
            ..*member
        };
        now.iter().map(copy).collect()
    }

    pub(in crate::proxy) fn account(&self) -> &Account {
        &self.account
    }

    /// Whether there is one that was not tried.
    pub(in crate::proxy) fn has_other_than(&self, tried: &Tried) -> bool {
        let now = self.now.borrow();
        now.iter().any(|member| !tried.has(&member.endpoint))
    }

    /// Whether all endpoints together have more than these bounds allow, `taken` having been chosen, and
    /// without those that are about to be let `go`.
    pub(in crate::proxy) fn is_over(
        &self,
        bounds: &Bounds,
        taken: &Endpoint,
        owner: &Owner,
        go: u64,
    ) -> bool {
        let now = self.now.borrow();
        let sum = |of: fn(&Endpoint) -> u64| now.iter().map(|one| of(&one.endpoint)).sum::<u64>();
        let over = |bound: Option<u32>, count: &dyn Fn() -> u64| {
            bound.is_some_and(|most| count() > u64::from(most))
        };
        let (more, fewer) = taken.shared_change(go);
        over(bounds.requests, &|| {
            sum(Endpoint::in_flight).saturating_sub(go)
        }) || over(bounds.connections, &|| {
            let all = sum(Endpoint::connections) + more;
            all.saturating_sub(taken.spare(owner) + fewer)
        })
    }

    /// Connections that wait for requests.
    pub(in crate::proxy) fn idle_connections(&self) -> usize {
        let now = self.now.borrow();
        now.iter().map(|member| member.endpoint.idle_count()).sum()
    }

    /// Whether there is anything to choose, and so anything to learn from how requests go.
    pub(super) fn are_several(&self) -> bool {
        self.now.borrow().len() > 1
    }

    pub(super) fn measure_latency(&self) -> bool {
        self.balancing.policy == Policy::PeakEwma
    }

    /// How many there are, and how many of them are left out for what was seen of them.
    pub(super) fn count_out(&self, now: Millis) -> (usize, usize) {
        let members = self.now.borrow();
        let out = members.iter().filter(|one| one.endpoint.is_out(now));
        (members.len(), out.count())
    }

    pub(super) fn active(&self) -> &Counter {
        let state = ConnectionState::Active as u32;
        let key = || Series::new(Family::UpstreamConnections, self.label, state, 0);
        self.active
            .get_or_init(|| self.observer.recorder().counter(key()))
    }

    pub(super) fn count_ejection(&self) {
        let key = Series::new(Family::Ejections, self.label, 0, 0);
        self.observer.recorder().counter(key).add(1);
    }

    /// An endpoint for a request. One that was tried already only where there is no other, one that
    /// is not well only where too few others are; `None` where there is no endpoint at all.
    pub(in crate::proxy) fn pick(self: &Rc<Self>, ask: &Ask<'_>) -> Option<Hold> {
        let members = self.now.borrow();
        let member = match &**members {
            [only] => only,
            many => self.choose(many, ask)?,
        };
        Some(Hold::new(member, Rc::clone(self)))
    }

    fn choose<'a>(&self, members: &'a [Member], ask: &Ask<'_>) -> Option<&'a Member> {
        let mut endpoints = members.iter().map(|one| &one.endpoint);
        let all_are_well = endpoints.all(|one| one.takes_traffic(ask.now));
        let now = match all_are_well {
            true => ask.now,
            // What the coarse clock still sees may be over.
            false => health::now(),
        };
        let ask = &Ask { now, ..*ask };
        if let Some(kept) = sticky::kept(members, ask) {
            return Some(kept);
        }
        let mut eligible = self.eligible.borrow_mut();
        let Balancing {
            policy,
            slow_start,
            panic_threshold,
            ..
        } = &*self.balancing;
        match all_are_well && ask.tried.is_empty() {
            true => eligible::list_all(&mut eligible, members),
            false => eligible::list(&mut eligible, members, *panic_threshold, ask),
        }
        let placed = matches!(policy, Policy::IpHash | Policy::ConsistentHash(_));
        let among = Among {
            all: members,
            places: &eligible,
            moment: Moment {
                now: ask.now,
                // Keys would move with the weights.
                slow_start: slow_start.filter(|_| !placed),
            },
        };
        balance::pick(policy, &among, ask.key, &self.random)
    }
}

impl Candidate for Member {
    fn weight(&self, moment: Moment) -> u64 {
        moment.weighed(self.weight, || self.endpoint.up_since())
    }

    fn credit(&self) -> &Cell<i64> {
        &self.credit
    }

    fn in_flight(&self) -> u64 {
        self.endpoint.in_flight()
    }

    fn faults(&self, moment: Moment) -> f64 {
        let faults = self.endpoint.faults.get();
        faults.count(|| self.endpoint.up_since(), moment.now)
    }

    fn latency(&self, moment: Moment) -> Times {
        let latency = self.endpoint.latency.get();
        latency.seen(|| self.endpoint.up_since(), moment.now)
    }

    fn identity(&self) -> u64 {
        self.endpoint.identity
    }
}

/// What an endpoint is called where requests are placed by a key.
pub(super) fn identity(address: &Address) -> u64 {
    hash::of(address.to_string().as_bytes())
}

impl Tried {
    pub(in crate::proxy) fn add(&mut self, hold: &Hold) {
        self.0.push(Rc::clone(hold.endpoint()));
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::proxy) fn has(&self, endpoint: &Rc<Endpoint>) -> bool {
        self.0.iter().any(|tried| Rc::ptr_eq(tried, endpoint))
    }
}

#[cfg(test)]
mod ejections;
#[cfg(test)]
pub(super) mod stage;
#[cfg(test)]
mod tests;
