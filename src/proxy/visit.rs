//! One request's stay: which snapshot serves it, and what is learnt about it on the way. However it
//! ends, also by being dropped, it is told to the observer, once.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::Proxy;
use super::active::Active;
use super::budget::ExchangeGuard;
use super::error::Reason;
use super::observe::Observation;

pub(super) struct Visit {
    pub(super) proxy: Rc<Proxy>,
    pub(super) active: Arc<Active>,
    pub(super) seen: Observation,
    /// Held while it takes the memory of a request under way.
    pub(super) room: Option<ExchangeGuard>,
}

impl Visit {
    pub(super) fn begin(
        proxy: &Rc<Proxy>,
        active: Arc<Active>,
        listener: u32,
        peer: SocketAddr,
    ) -> Self {
        proxy.observer.request_began(listener);
        let seen = Observation::begin(Rc::clone(&active.watched), listener, peer);
        Self {
            proxy: Rc::clone(proxy),
            active,
            seen,
            room: None,
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let seen = &mut self.seen;
        seen.duration = seen.started.elapsed();
        if seen.status.is_none() && seen.reason.is_none() {
            // Nobody has answered and nobody has said why: the worker gave up its connections.
            seen.reason = Some(Reason::DrainDeadline);
        }
        self.proxy.observer.request_ended(seen);
        #[cfg(test)]
        self.keep_for_tests();
    }
}

#[cfg(test)]
impl Visit {
    fn keep_for_tests(&mut self) {
        let blank = Observation::begin(Rc::clone(self.seen.watched()), 0, self.seen.peer);
        let seen = std::mem::replace(&mut self.seen, blank);
        self.proxy.observer.keep_seen(seen);
    }
}
