//! The endpoints that an upstream stands for right now, and the choice of one of them. Whoever has
//! chosen holds the endpoint until the work there is done, and says how it went.
//!
//! Not here: what travels there, and over which protocol.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use super::account::Account;
use super::endpoint::{Endpoint, Endpoints, Key, Owner, Place};
use super::queue::Turn;
use crate::model::balance;
use crate::model::config::ServerHost;
use crate::model::config::traffic::Bounds;
use crate::model::resolved::ResolvedEndpoint;
use crate::model::snapshot::Server;
use crate::proxy::error::{Reason, Side};
use crate::shm::health::{Experience, Millis};
use crate::shm::names::endpoint_name;
use crate::shm::recorder::{Counter, Recorder};

/// Where endpoints are found and counted.
pub(in crate::proxy) struct Premises<'a> {
    pub(in crate::proxy) endpoints: &'a Endpoints,
    pub(in crate::proxy) recorder: &'a Recorder,
}

/// One upstream of one generation.
pub(in crate::proxy) struct Members {
    upstream: Rc<str>,
    sources: Box<[Source]>,
    now: RefCell<Box<[Member]>>,
    /// Who may be chosen, while one is; kept for its memory.
    eligible: RefCell<Vec<u32>>,
    account: Rc<Account>,
}

/// What members are made of: a server, as configured.
struct Source {
    server: u32,
    weight: u32,
    /// Lower ones first.
    tier: u32,
    at: At,
}

enum At {
    Address(SocketAddr, u32),
    /// Its name and port, as they are looked up.
    Looked(Box<str>),
}

struct Member {
    endpoint: Rc<Endpoint>,
    server: u32,
    weight: u32,
    tier: u32,
    /// Of its turns; see `balance::in_turn`.
    credit: Cell<i64>,
}

/// What a choice depends on.
pub(in crate::proxy) struct Ask<'a> {
    pub(in crate::proxy) now: Millis,
    pub(in crate::proxy) tried: &'a Tried,
}

/// Endpoints that this request has been to: others come first.
#[derive(Clone, Default)]
pub(in crate::proxy) struct Tried(Vec<Rc<Endpoint>>);

/// An endpoint that was chosen, counted as in flight until this is dropped.
pub(in crate::proxy) struct Hold {
    endpoint: Rc<Endpoint>,
    server: u32,
    /// Connections of the upstream in use.
    active: Option<Counter>,
    /// Where others may wait for its end.
    turn: Option<Turn>,
}

impl Members {
    /// `before` is the same upstream in the generation that this one replaces: turns go on.
    pub(in crate::proxy) fn build(
        upstream: &str,
        servers: &[Server],
        ids: &[Option<u32>],
        before: Option<&Self>,
        premises: &Premises<'_>,
    ) -> Rc<Self> {
        let ids = ids.iter().copied().chain(std::iter::repeat(None));
        let sources = (0..).zip(servers).zip(ids);
        let members = Self {
            upstream: before.map_or_else(|| upstream.into(), |one| Rc::clone(&one.upstream)),
            sources: sources
                .map(|((at, server), id)| Source::of(at, server, id))
                .collect(),
            now: RefCell::new(before.map(Self::copies).unwrap_or_default()),
            eligible: RefCell::default(),
            account: before
                .map(|one| Rc::clone(&one.account))
                .unwrap_or_default(),
        };
        members.rebuild(|_| None, premises);
        Rc::new(members)
    }

    pub(in crate::proxy) fn upstream(&self) -> &str {
        &self.upstream
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
                At::Address(address, id) => vec![source.only(*address, *id)],
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
            address: endpoint.address,
            id: endpoint.id,
        };
        let place = |id| Place::find(premises.recorder, id);
        let found = premises.endpoints.at(key, place);
        let now = self.now.borrow();
        let mut before = now.iter();
        let before = before.find(|one| Rc::ptr_eq(&one.endpoint, &found));
        Member {
            credit: Cell::new(before.map_or(0, |one| one.credit.get())),
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

    /// Whether all endpoints together have more than these bounds allow, `taken` having been chosen.
    pub(in crate::proxy) fn is_over(
        &self,
        bounds: &Bounds,
        taken: &Endpoint,
        owner: &Owner,
    ) -> bool {
        let now = self.now.borrow();
        let sum = |of: fn(&Endpoint) -> u64| now.iter().map(|one| of(&one.endpoint)).sum::<u64>();
        let over = |bound: Option<u32>, count: &dyn Fn() -> u64| {
            bound.is_some_and(|most| count() > u64::from(most))
        };
        over(bounds.requests, &|| sum(Endpoint::in_flight))
            || over(bounds.connections, &|| {
                sum(Endpoint::connections).saturating_sub(taken.spare(owner))
            })
    }

    /// Connections that wait for requests.
    pub(in crate::proxy) fn idle_connections(&self) -> usize {
        let now = self.now.borrow();
        now.iter().map(|member| member.endpoint.idle_count()).sum()
    }

    /// An endpoint for a request. One that was tried already only where there is no other, one that
    /// is not well only where no other is; `None` where there is no endpoint at all.
    pub(in crate::proxy) fn pick(&self, ask: &Ask<'_>, active: Option<Counter>) -> Option<Hold> {
        let members = self.now.borrow();
        let member = match &**members {
            [only] => only,
            many => self.choose(many, ask)?,
        };
        Some(Hold::new(member, active))
    }

    fn choose<'a>(&self, members: &'a [Member], ask: &Ask<'_>) -> Option<&'a Member> {
        let mut eligible = self.eligible.borrow_mut();
        list_eligible(&mut eligible, members, ask);
        let listed = eligible
            .iter()
            .filter_map(|at| members.get(usize::try_from(*at).ok()?));
        balance::in_turn(listed.map(|member| (member, member.weight, &member.credit)))
    }
}

/// The places of the members of the lowest tier that are well and not tried; where there is none, of
/// all that are not tried; and where there is none of those either, of all.
fn list_eligible(eligible: &mut Vec<u32>, members: &[Member], ask: &Ask<'_>) {
    let is_new = |member: &Member| !ask.tried.has(&member.endpoint);
    let is_well = |member: &Member| member.endpoint.takes_traffic(ask.now);
    list_lowest(eligible, members, |member| {
        is_new(member) && is_well(member)
    });
    if eligible.is_empty() {
        list_lowest(eligible, members, is_new);
    }
    if eligible.is_empty() {
        list_lowest(eligible, members, |_| true);
    }
}

fn list_lowest(eligible: &mut Vec<u32>, members: &[Member], may: impl Fn(&Member) -> bool) {
    eligible.clear();
    let mut lowest = u32::MAX;
    for (at, member) in (0..).zip(members) {
        if member.tier > lowest || !may(member) {
            continue;
        }
        if member.tier < lowest {
            lowest = member.tier;
            eligible.clear();
        }
        eligible.push(at);
    }
}

impl Source {
    fn of(at: u32, server: &Server, id: Option<u32>) -> Self {
        Self {
            server: at,
            weight: server.weight,
            tier: 0,
            at: match (&server.host, id) {
                (ServerHost::Ip(ip), Some(id)) => {
                    At::Address(SocketAddr::new(*ip, server.port), id)
                }
                (host, _) => At::Looked(endpoint_name(host, server.port).into()),
            },
        }
    }

    fn only(&self, address: SocketAddr, id: u32) -> ResolvedEndpoint {
        ResolvedEndpoint {
            id,
            address,
            weight: 1,
            priority: 0,
        }
    }
}

impl Tried {
    pub(in crate::proxy) fn add(&mut self, hold: &Hold) {
        self.0.push(Rc::clone(&hold.endpoint));
    }

    pub(in crate::proxy) fn has(&self, endpoint: &Rc<Endpoint>) -> bool {
        self.0.iter().any(|tried| Rc::ptr_eq(tried, endpoint))
    }
}

impl Hold {
    fn new(member: &Member, active: Option<Counter>) -> Self {
        member.endpoint.enter();
        if let Some(active) = &active {
            active.add(1);
        }
        Self {
            endpoint: Rc::clone(&member.endpoint),
            server: member.server,
            active,
            turn: None,
        }
    }

    /// Others wait for the end of this.
    pub(in crate::proxy) fn with_turn(self, turn: Turn) -> Self {
        let mut hold = self;
        hold.turn = Some(turn);
        hold
    }

    pub(in crate::proxy) fn endpoint(&self) -> &Rc<Endpoint> {
        &self.endpoint
    }

    /// Index into the upstream's servers.
    pub(in crate::proxy) fn server(&self) -> u32 {
        self.server
    }

    /// It has answered.
    pub(in crate::proxy) fn answered(&self) {
        if let Some(board) = self.endpoint.board()
            && board.experience().streak > 0
        {
            board.learn(|seen| Some(Experience { streak: 0, ..seen }));
        }
    }

    /// It has not, or not to the end. What is not its fault is not held against it.
    pub(in crate::proxy) fn failed(&self, reason: Reason) {
        if let Some(board) = self.endpoint.board()
            && reason.side() == Side::Upstream
        {
            board.learn(|seen| {
                let streak = seen.streak.saturating_add(1);
                Some(Experience { streak, ..seen })
            });
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.endpoint.leave();
        if let Some(active) = &self.active {
            active.sub(1);
        }
        // It is over for whoever is woken by that.
        self.turn = None;
    }
}

#[cfg(test)]
mod tests;
