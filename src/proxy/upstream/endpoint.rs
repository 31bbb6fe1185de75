//! One address of an upstream: what is under way there, and the idle connections to it: the last one
//! used is the first one taken, so that a burst's surplus ages and goes.
//!
//! Not here: which endpoint a request goes to (`members`), and what travels over the connection.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::header::HeaderName;

use super::http2::sessions::Sessions;
use super::idle::{Idle, State};
pub(in crate::proxy) use super::idle::{Need, Owner};
use super::lifetime::{Lifetime, announced_by};
use super::members::identity;
use super::secure::{ClientTls, Speech};
use crate::model::balance::latency::{Faults, Latency};
use crate::model::config::Keepalive;
use crate::model::config::traffic::Bounds;
use crate::model::fields::Fields;
use crate::model::resolved::Address;
use crate::proxy::stream::Stream;
use crate::proxy::timers::Tick;
use crate::shm::Segment;
use crate::shm::health::{self, Board, Health, Millis, Trust};
use crate::shm::layout::ShareCell;
use crate::shm::recorder::Recorder;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

pub(in crate::proxy) struct Endpoint {
    pub(in crate::proxy) address: Address,
    /// Its address as a hash that is the same everywhere.
    pub(super) identity: u64,
    /// How long it takes, as this worker sees it; kept where the policy asks for it.
    pub(super) latency: Cell<Latency>,
    /// Its errors of late, as this worker sees them.
    pub(super) faults: Cell<Faults>,
    pub(in crate::proxy) tls: Option<Rc<ClientTls>>,
    idle: RefCell<Vec<Idle>>,
    lifetime: RefCell<Lifetime>,
    /// Connections that are being made.
    connecting: Cell<u32>,
    /// Connections of HTTP/2.
    sessions: Sessions,
    /// Requests of this worker that are under way here.
    in_flight: Cell<u64>,
    /// `None` where the health board has no room for it.
    place: Option<Place>,
}

/// An endpoint in the shared memory.
pub(in crate::proxy) struct Place {
    id: u32,
    board: Board,
    /// This worker's share of what is in flight there.
    requests: &'static AtomicU64,
    segment: Segment,
}

/// What an endpoint is known by. Two upstreams that have an address in common have two endpoints:
/// their health is judged by different rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::proxy) struct Key {
    pub(in crate::proxy) upstream: Rc<str>,
    pub(in crate::proxy) address: Address,
    /// Its place on the health board.
    pub(in crate::proxy) id: u32,
    /// Where it is spoken to by https; connections made with other settings are no use.
    pub(in crate::proxy) tls: Option<Rc<ClientTls>>,
}

/// A connection that is being made.
pub(in crate::proxy) struct ConnectingGuard<'a>(&'a Cell<u32>);

impl Place {
    pub(in crate::proxy) fn find(recorder: &Recorder, id: u32) -> Option<Self> {
        let segment = recorder.segment();
        Some(Self {
            id,
            board: segment.board(id)?,
            requests: recorder.share(id, ShareCell::Requests)?,
            segment: segment.clone(),
        })
    }
}

impl Endpoint {
    /// Whether a request may be sent there, as far as is known.
    pub(in crate::proxy) fn takes_traffic(&self, now: Millis) -> bool {
        self.board().is_none_or(|board| match board.health(now) {
            Health::Trial => board.takes_trial(now),
            health => health.takes_traffic(),
        })
    }

    /// It gets a request; where it is on trial, no other for a while.
    pub(super) fn note_choice(&self, between_trials: Duration) {
        if let Some(board) = self.board()
            && board.experience().trust == Trust::Trial
        {
            let now = health::now();
            if board.health(now) == Health::Trial {
                board.begin_trial(now.after(between_trials));
            }
        }
    }

    /// When it last came back.
    pub(super) fn up_since(&self) -> Millis {
        self.board().map_or(Millis(0), Board::up_since)
    }

    pub(in crate::proxy) fn board(&self) -> Option<Board> {
        self.place.as_ref().map(|place| place.board)
    }

    /// Whether it is left out for what was seen of it, or has still to show that this is over.
    pub(super) fn is_out(&self, now: Millis) -> bool {
        self.board().is_some_and(|board| {
            let seen = board.experience();
            seen.is_out(now) || seen.trust == Trust::Trial
        })
    }

    pub(in crate::proxy) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Whether the server chooses between HTTP/2 and HTTP/1.1.
    pub(in crate::proxy) fn is_choosy(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| tls.speech == Speech::Either)
    }

    /// Requests that all workers together have under way there.
    pub(in crate::proxy) fn in_flight(&self) -> u64 {
        match &self.place {
            Some(place) => place.segment.shares(place.id, ShareCell::Requests),
            None => self.in_flight.get(),
        }
    }

    pub(super) fn enter(&self) {
        self.set_in_flight(self.in_flight.get() + 1);
    }

    pub(super) fn leave(&self) {
        self.set_in_flight(self.in_flight.get().saturating_sub(1));
    }

    fn set_in_flight(&self, requests: u64) {
        self.in_flight.set(requests);
        if let Some(place) = &self.place {
            place.requests.store(requests, Relaxed);
        }
    }

    /// Connections of this worker, a request's each, or waiting for one; over HTTP/2 those that are shared.
    pub(super) fn connections(&self) -> u64 {
        let own = self.idle.borrow().len() as u64;
        match self.sessions.count() {
            0 => self.in_flight.get() + own,
            shared => shared + own,
        }
    }

    /// How many more the request takes that has just come, beside those, and how many fewer when one is
    /// let go: it counts by itself where each has one of its own.
    pub(super) fn shared_change(&self, go: u64) -> (u64, u64) {
        match self.sessions.count() {
            0 => (0, go),
            _ => (u64::from(!self.sessions.have_room()), 0),
        }
    }

    /// 1 where a request of this owner that has just come needs no new connection: the one that it
    /// takes is counted as waiting still.
    pub(super) fn spare(&self, owner: &Owner) -> u64 {
        u64::from(self.idle.borrow().iter().any(|one| one.is_of(owner)))
    }

    /// Whether there is more here than these bounds allow, the request that has just come included, and
    /// without those that are about to be let `go`.
    pub(in crate::proxy) fn is_over(&self, bounds: &Bounds, owner: &Owner, go: u64) -> bool {
        let spare = self.spare(owner);
        let over = |count: u64, bound: Option<u32>| bound.is_some_and(|most| count > most.into());
        let (more, fewer) = self.shared_change(go);
        let connections = || (self.connections() + more).saturating_sub(spare + fewer);
        (bounds.connections.is_some() && over(connections(), bounds.connections))
            || (bounds.requests.is_some()
                && over(self.in_flight().saturating_sub(go), bounds.requests))
            || (spare == 0 && self.connecting.get() >= bounds.pending)
    }

    pub(in crate::proxy) fn begin_connecting(&self) -> ConnectingGuard<'_> {
        self.connecting.set(self.connecting.get() + 1);
        ConnectingGuard(&self.connecting)
    }

    /// What a response says of how long connections live.
    pub(in crate::proxy) fn hear(&self, headers: &Fields) {
        if let Some(timeout) = headers.get(&KEEP_ALIVE).and_then(announced_by) {
            self.lifetime.borrow_mut().announce(timeout);
        }
    }

    /// An idle connection of this owner that is not known to be dead.
    pub(in crate::proxy) fn take(&self, need: Need, now: Tick, owner: &Owner) -> Option<Stream> {
        loop {
            let mut idle = self.pop(owner)?;
            match idle.state(need, now) {
                State::Open => return Some(idle.stream),
                State::Closed => self.lifetime.borrow_mut().closed(&[idle.close(now)]),
                State::Over => {}
            }
        }
    }

    fn pop(&self, owner: &Owner) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        match idle.last()?.is_of(owner) {
            true => idle.pop(),
            false => {
                let at = idle.iter().rposition(|one| one.is_of(owner))?;
                Some(idle.remove(at))
            }
        }
    }

    /// Keeps a connection on which nothing is under way, within the bounds.
    pub(in crate::proxy) fn keep(
        &self,
        stream: Stream,
        bounds: Keepalive,
        now: Tick,
        owner: &Owner,
    ) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < bounds.idle_connections as usize {
            let limit = self.lifetime.borrow().limit(now);
            let most = limit.map_or(bounds.idle_timeout, |limit| limit.min(bounds.idle_timeout));
            idle.push(Idle {
                stream,
                since: now,
                seen: now,
                until: now.after(most),
                owner: owner.as_ref().map(Rc::downgrade),
            });
        }
    }

    pub(in crate::proxy) fn idle_count(&self) -> usize {
        self.idle.borrow().len() + self.sessions.idle_count()
    }

    fn sweep(&self, now: Tick) {
        let mut lifetime = self.lifetime.borrow_mut();
        let mut closes = Vec::new();
        self.idle.borrow_mut().retain_mut(|idle| {
            let state = idle.state(Need::Likely, now);
            match state {
                State::Open => {
                    idle.seen = now;
                    lifetime.open(now.since(idle.since));
                }
                State::Closed => closes.push(idle.close(now)),
                State::Over => {}
            }
            state == State::Open
        });
        lifetime.closed(&closes);
    }
}

impl Drop for ConnectingGuard<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Every endpoint of a worker. An endpoint that a reload keeps is the same one after it, idle
/// connections and what is in flight included.
#[derive(Default)]
pub(in crate::proxy) struct Endpoints {
    by_key: RefCell<HashMap<Key, Rc<Endpoint>>>,
}

impl Endpoints {
    pub(in crate::proxy) fn at(
        &self,
        key: Key,
        place: impl FnOnce(u32) -> Option<Place>,
    ) -> Rc<Endpoint> {
        let mut all = self.by_key.borrow_mut();
        let (address, id, tls) = (key.address.clone(), key.id, key.tls.clone());
        let new = || {
            Rc::new(Endpoint {
                identity: identity(&address),
                address,
                latency: Cell::default(),
                faults: Cell::default(),
                tls,
                idle: RefCell::default(),
                lifetime: RefCell::default(),
                connecting: Cell::new(0),
                sessions: Sessions::default(),
                in_flight: Cell::new(0),
                place: place(id),
            })
        };
        Rc::clone(all.entry(key).or_insert_with(new))
    }

    /// Closes idle connections that are over age or dead, and forgets endpoints that no generation
    /// and no request holds any more.
    pub(in crate::proxy) fn sweep(&self, now: Tick) {
        self.by_key.borrow_mut().retain(|_, endpoint| {
            endpoint.sweep(now);
            endpoint.sessions.sweep(now);
            Rc::strong_count(endpoint) > 1
        });
    }

    pub(in crate::proxy) fn idle_count(&self) -> usize {
        self.by_key
            .borrow()
            .values()
            .map(|endpoint| endpoint.idle_count())
            .sum()
    }

    /// For a worker that takes no more requests.
    pub(in crate::proxy) fn close_idle(&self) {
        for endpoint in self.by_key.borrow().values() {
            endpoint.idle.borrow_mut().clear();
            endpoint.sessions.close_idle();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::proxy::stream::Look;
    use crate::proxy::timers::Timers;

    const BOUNDS: Keepalive = Keepalive {
        idle_connections: 2,
        idle_timeout: Duration::from_secs(60),
    };

    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        (Stream::tcp(ours), listener.accept().await.unwrap().0)
    }

    fn key() -> Key {
        Key {
            upstream: "app".into(),
            address: Address::Ip("127.0.0.1:1".parse().unwrap()),
            id: 0,
            tls: None,
        }
    }

    fn endpoint() -> Rc<Endpoint> {
        Endpoints::default().at(key(), |_| None)
    }

    async fn until_dead(endpoint: &Endpoint) {
        while endpoint.idle.borrow()[0].stream.look() == Look::Nothing {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn last_used_is_first_taken_and_the_bound_holds() {
        let (endpoint, timers) = (endpoint(), Timers::new());
        let mut others = Vec::new();
        for _ in 0..3 {
            let (ours, theirs) = pair().await;
            endpoint.keep(ours, BOUNDS, timers.now(), &None);
            others.push(theirs);
        }
        assert_eq!(endpoint.idle_count(), 2, "the third is over the bound");
        let taken = endpoint.take(Need::Likely, timers.now(), &None).unwrap();
        let Stream::Tcp(taken) = taken else {
            panic!("of another kind");
        };
        assert_eq!(taken.peer_addr().unwrap(), others[1].local_addr().unwrap());
    }

    #[tokio::test]
    async fn closed_and_noisy_connections_are_not_taken() {
        let timers = Timers::new();
        for noisy in [false, true] {
            let endpoint = endpoint();
            let (ours, mut theirs) = pair().await;
            endpoint.keep(ours, BOUNDS, timers.now(), &None);
            if noisy {
                theirs.write_all(b"unasked").await.unwrap();
            } else {
                drop(theirs);
            }
            until_dead(&endpoint).await;
            assert!(endpoint.take(Need::Sure, timers.now(), &None).is_none());
        }
    }

    #[tokio::test]
    async fn sweep_closes_the_aged_and_the_dead_and_forgets_the_unused() {
        let (endpoints, timers) = (Endpoints::default(), Timers::new());
        let endpoint = endpoints.at(key(), |_| None);
        let (ours, theirs) = pair().await;
        endpoint.keep(ours, BOUNDS, timers.now(), &None);
        endpoints.sweep(timers.now());
        assert_eq!(endpoints.idle_count(), 1);
        endpoints.sweep(timers.now().after(Duration::from_secs(61)));
        assert_eq!(endpoints.idle_count(), 0);
        drop(theirs);

        let (ours, theirs) = pair().await;
        endpoint.keep(ours, BOUNDS, timers.now(), &None);
        drop(theirs);
        until_dead(&endpoint).await;
        tokio::task::yield_now().await;
        endpoints.sweep(timers.now());
        assert_eq!(endpoints.idle_count(), 0);
        drop(endpoint);
        endpoints.sweep(timers.now());
        assert!(endpoints.by_key.borrow().is_empty());
    }
}
