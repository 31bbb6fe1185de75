//! One address of an upstream and the idle connections to it: the last one used is the first one
//! taken, so that a burst's surplus ages and goes.
//!
//! Not here: which endpoint a request goes to, and what travels over the connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::model::config::Keepalive;
use crate::proxy::stream::{Look, Stream};
use crate::proxy::timers::Tick;

pub(in crate::proxy) struct Endpoint {
    pub(in crate::proxy) address: SocketAddr,
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    stream: Stream,
    until: Tick,
}

/// How sure a request must be that an idle connection still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Need {
    /// It can be sent once more over a new connection.
    Likely,
    /// It cannot: the kernel is asked right before it is sent.
    Sure,
}

impl Endpoint {
    /// An idle connection that is not known to be dead.
    pub(in crate::proxy) fn take(&self, need: Need, now: Tick) -> Option<Stream> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            if idle.until > now && idle.is_fit(need) {
                return Some(idle.stream);
            }
        }
    }

    /// Keeps a connection on which nothing is under way, within the bounds.
    pub(in crate::proxy) fn keep(&self, stream: Stream, bounds: Keepalive, now: Tick) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < bounds.idle_connections as usize {
            idle.push(Idle {
                stream,
                until: now.after(bounds.idle_timeout),
            });
        }
    }

    pub(in crate::proxy) fn idle_count(&self) -> usize {
        self.idle.borrow().len()
    }

    fn sweep(&self, now: Tick) {
        self.idle
            .borrow_mut()
            .retain(|idle| idle.until > now && idle.is_fit(Need::Likely));
    }
}

impl Idle {
    /// The reactor usually knows of an end already; where it has seen nothing, that will do for
    /// `Likely`. Bytes that nobody asked for are as bad as the end.
    fn is_fit(&self, need: Need) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let quiet = need == Need::Likely && self.stream.poll_readable(&mut nobody).is_pending();
        quiet || self.stream.look() == Look::Nothing
    }
}

/// Every endpoint of a worker by its address. An endpoint that a reload keeps is the same one after
/// it, idle connections included.
#[derive(Default)]
pub(in crate::proxy) struct Endpoints {
    by_address: RefCell<HashMap<SocketAddr, Rc<Endpoint>>>,
}

impl Endpoints {
    pub(in crate::proxy) fn at(&self, address: SocketAddr) -> Rc<Endpoint> {
        let mut all = self.by_address.borrow_mut();
        let new = || {
            Rc::new(Endpoint {
                address,
                idle: RefCell::default(),
            })
        };
        Rc::clone(all.entry(address).or_insert_with(new))
    }

    /// Closes idle connections that are over age or dead, and forgets endpoints that no generation
    /// and no request holds any more.
    pub(in crate::proxy) fn sweep(&self, now: Tick) {
        self.by_address.borrow_mut().retain(|_, endpoint| {
            endpoint.sweep(now);
            Rc::strong_count(endpoint) > 1
        });
    }

    pub(in crate::proxy) fn idle_count(&self) -> usize {
        self.by_address
            .borrow()
            .values()
            .map(|endpoint| endpoint.idle_count())
            .sum()
    }

    /// For a worker that takes no more requests.
    pub(in crate::proxy) fn close_idle(&self) {
        for endpoint in self.by_address.borrow().values() {
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

    fn endpoint() -> Rc<Endpoint> {
        Endpoints::default().at("127.0.0.1:1".parse().unwrap())
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
            endpoint.keep(ours, BOUNDS, timers.now());
            others.push(theirs);
        }
        assert_eq!(endpoint.idle_count(), 2, "the third is over the bound");
        let taken = endpoint.take(Need::Likely, timers.now()).unwrap();
        let Stream::Tcp(taken) = taken;
        assert_eq!(taken.peer_addr().unwrap(), others[1].local_addr().unwrap());
    }

    #[tokio::test]
    async fn closed_and_noisy_connections_are_not_taken() {
        let timers = Timers::new();
        for noisy in [false, true] {
            let endpoint = endpoint();
            let (ours, mut theirs) = pair().await;
            endpoint.keep(ours, BOUNDS, timers.now());
            if noisy {
                theirs.write_all(b"unasked").await.unwrap();
            } else {
                drop(theirs);
            }
            until_dead(&endpoint).await;
            assert!(endpoint.take(Need::Sure, timers.now()).is_none());
        }
    }

    #[tokio::test]
    async fn sweep_closes_the_aged_and_the_dead_and_forgets_the_unused() {
        let (endpoints, timers) = (Endpoints::default(), Timers::new());
        let endpoint = endpoints.at("127.0.0.1:1".parse().unwrap());
        let (ours, theirs) = pair().await;
        endpoint.keep(ours, BOUNDS, timers.now());
        endpoints.sweep(timers.now());
        assert_eq!(endpoints.idle_count(), 1);
        endpoints.sweep(timers.now().after(Duration::from_secs(61)));
        assert_eq!(endpoints.idle_count(), 0);
        drop(theirs);

        let (ours, theirs) = pair().await;
        endpoint.keep(ours, BOUNDS, timers.now());
        drop(theirs);
        until_dead(&endpoint).await;
        tokio::task::yield_now().await;
        endpoints.sweep(timers.now());
        assert_eq!(endpoints.idle_count(), 0);
        drop(endpoint);
        endpoints.sweep(timers.now());
        assert!(endpoints.by_address.borrow().is_empty());
    }
}
