//! One address of an upstream: what is under way there, and the idle connections to it: the last one
//! used is the first one taken, so that a burst's surplus ages and goes.
//!
//! Not here: which endpoint a request goes to (`members`), and what travels over the connection.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::model::config::Keepalive;
use crate::proxy::ends::Ends;
use crate::proxy::stream::{Look, Stream};
use crate::proxy::timers::Tick;
use crate::shm::health::{Board, Millis};
use crate::shm::layout::ShareCell;
use crate::shm::recorder::Recorder;

pub(in crate::proxy) struct Endpoint {
    pub(in crate::proxy) address: SocketAddr,
    idle: RefCell<Vec<Idle>>,
    /// Requests of this worker that are under way here.
    in_flight: Cell<u64>,
    /// `None` where the health board has no room for it.
    place: Option<Place>,
}

/// An endpoint in the shared memory.
pub(in crate::proxy) struct Place {
    board: Board,
    /// This worker's share of what is in flight there.
    requests: &'static AtomicU64,
}

/// What an endpoint is known by. Two upstreams that have an address in common have two endpoints:
/// their health is judged by different rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::proxy) struct Key {
    pub(in crate::proxy) upstream: Rc<str>,
    pub(in crate::proxy) address: SocketAddr,
    /// Its place on the health board.
    pub(in crate::proxy) id: u32,
}

struct Idle {
    stream: Stream,
    until: Tick,
    owner: Option<Weak<Ends>>,
}

/// Whom a connection may serve: anybody, or the client alone that it was introduced with.
pub(in crate::proxy) type Owner = Option<Rc<Ends>>;

/// How sure a request must be that an idle connection still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Need {
    /// It can be sent once more over a new connection.
    Likely,
    /// It cannot: the kernel is asked right before it is sent.
    Sure,
}

impl Place {
    pub(in crate::proxy) fn find(recorder: &Recorder, id: u32) -> Option<Self> {
        let segment = recorder.segment();
        Some(Self {
            board: segment.board(id)?,
            requests: recorder.share(id, ShareCell::Requests)?,
        })
    }
}

impl Endpoint {
    /// Whether a request may be sent there, as far as is known.
    pub(in crate::proxy) fn takes_traffic(&self, now: Millis) -> bool {
        self.board()
            .is_none_or(|board| board.health(now).takes_traffic())
    }

    pub(in crate::proxy) fn board(&self) -> Option<Board> {
        self.place.as_ref().map(|place| place.board)
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

    /// An idle connection of this owner that is not known to be dead.
    pub(in crate::proxy) fn take(&self, need: Need, now: Tick, owner: &Owner) -> Option<Stream> {
        loop {
            let idle = self.pop(owner)?;
            if idle.until > now && idle.is_fit(need) {
                return Some(idle.stream);
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
            idle.push(Idle {
                stream,
                until: now.after(bounds.idle_timeout),
                owner: owner.as_ref().map(Rc::downgrade),
            });
        }
    }

    pub(in crate::proxy) fn idle_count(&self) -> usize {
        self.idle.borrow().len()
    }

    fn sweep(&self, now: Tick) {
        self.idle
            .borrow_mut()
            .retain(|idle| idle.until > now && !idle.is_orphan() && idle.is_fit(Need::Likely));
    }
}

impl Idle {
    fn is_of(&self, owner: &Owner) -> bool {
        match (&self.owner, owner) {
            (None, None) => true,
            (Some(one), Some(other)) => std::ptr::eq(one.as_ptr(), Rc::as_ptr(other)),
            _ => false,
        }
    }

    /// The client's connection that it was for is gone.
    fn is_orphan(&self) -> bool {
        let owner = self.owner.as_ref();
        owner.is_some_and(|owner| owner.strong_count() == 0)
    }

    /// The reactor usually knows of an end already; where it has seen nothing, that will do for
    /// `Likely`. Bytes that nobody asked for are as bad as the end.
    fn is_fit(&self, need: Need) -> bool {
        let quiet = need == Need::Likely && self.stream.is_quiet();
        quiet || self.stream.look() == Look::Nothing
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
        let (address, id) = (key.address, key.id);
        let new = || {
            Rc::new(Endpoint {
                address,
                idle: RefCell::default(),
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
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
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
            address: "127.0.0.1:1".parse().unwrap(),
            id: 0,
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
        let Stream::Tcp(taken) = taken;
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
