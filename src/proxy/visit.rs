//! One request's stay: which snapshot serves it, and what is learnt about it on the way. However it
//! ends, also by being dropped, it is told to the observer, once.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Proxy;
use super::active::Active;
use super::budget::ExchangeGuard;
use super::error::Reason;
use super::observe::{Observation, Passing};
use super::timers::Tick;

/// What a request has of its client's connection.
#[derive(Clone)]
pub(super) enum Share {
    /// All of it, until it is answered.
    Whole,
    /// It is one of so many.
    OneOf(Rc<Cell<u32>>),
}

pub(super) struct Visit {
    pub(super) proxy: Rc<Proxy>,
    pub(super) active: Arc<Active>,
    pub(super) seen: Observation,
    /// When its answer has to be out.
    pub(super) due: Option<Tick>,
    /// Held while it takes the memory of a request under way.
    pub(super) room: Option<ExchangeGuard>,
    share: Share,
    told: Told,
}

/// Whether the observer is to hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    AtItsEnd,
    Never,
}

impl Visit {
    pub(super) fn begin(
        proxy: &Rc<Proxy>,
        active: Arc<Active>,
        listener: u32,
        peer: SocketAddr,
        share: Share,
    ) -> Self {
        proxy.observer.request_began();
        if share.take() {
            proxy.observer.connection_busy(listener);
        }
        let seen = Observation::begin(Rc::clone(&active.watched), listener, peer);
        Self {
            proxy: Rc::clone(proxy),
            active,
            seen,
            due: None,
            room: None,
            share,
            told: Told::AtItsEnd,
        }
    }

    /// Of a request that no client sent: nobody hears of it.
    pub(super) fn unseen(proxy: &Rc<Proxy>, active: Arc<Active>, peer: SocketAddr) -> Self {
        let seen = Observation::begin(Rc::clone(&active.watched), 0, peer);
        Self {
            proxy: Rc::clone(proxy),
            active,
            seen,
            due: None,
            room: None,
            share: Share::Whole,
            told: Told::Never,
        }
    }
}

/// Of a request that has changed the protocol.
impl Visit {
    pub(super) fn tunnel_opened(&self) -> Passing {
        let upstream = self.seen.upstream.unwrap_or_default();
        let observer = &self.proxy.observer;
        observer.tunnel_opened(&self.active.watched, upstream)
    }

    /// How long its tunnel may be silent.
    pub(super) fn longest_silence(&self) -> Duration {
        let snapshot = &self.active.snapshot;
        let index = self.seen.upstream.unwrap_or_default();
        let upstream = snapshot.upstreams.get(index as usize);
        let route = self.seen.route.unwrap_or(u32::MAX);
        upstream.map_or(Duration::MAX, |upstream| {
            snapshot.traffic(route, index, upstream).timeouts.tunnel
        })
    }
}

impl Share {
    /// Whether the connection was idle until now.
    fn take(&self) -> bool {
        match self {
            Self::Whole => true,
            Self::OneOf(count) => count.replace(count.get() + 1) == 0,
        }
    }

    /// Whether the connection is idle from now on.
    fn give_back(&self) -> bool {
        match self {
            Self::Whole => true,
            Self::OneOf(count) => count.replace(count.get().saturating_sub(1)) == 1,
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.told == Told::Never {
            return;
        }
        let seen = &mut self.seen;
        seen.duration = seen.started.elapsed();
        if seen.status.is_none() && seen.reason.is_none() {
            // Nobody has answered and nobody has said why: the worker gave up its connections.
            seen.reason = Some(Reason::DrainDeadline);
        }
        self.proxy.observer.request_ended(seen);
        if self.share.give_back() {
            self.proxy.observer.connection_idle(self.seen.listener);
        }
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
