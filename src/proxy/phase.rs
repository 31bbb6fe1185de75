//! Where a worker's data plane stands between its start and its end, and how many connections keep it
//! there.
//!
//! Not here: who decides to drain.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::Proxy;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Serving,
    /// Still taking new connections, and telling clients to make their next one elsewhere.
    Leaving,
    /// No new connections; those in use are closed after their response.
    Draining,
    /// Out of time: everything is dropped.
    Aborting,
}

#[derive(Default)]
pub(super) struct Presence {
    pub(super) phase: Cell<Phase>,
    pub(super) open: Cell<u32>,
    /// The ids of listeners that were there and are not any more; their connections end.
    closed: RefCell<Vec<u32>>,
    /// Who waits for either to change: accept loops and the one who drains.
    waiting: RefCell<Vec<Waker>>,
}

impl Presence {
    pub(super) fn wake_on_change(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    /// A generation has these listeners where another had those; true when one of them is gone.
    pub(super) fn listeners(
        &self,
        now: impl Iterator<Item = u32> + Clone,
        before: impl Iterator<Item = u32>,
    ) -> bool {
        let mut closed = self.closed.borrow_mut();
        let is_there = |id: u32| now.clone().any(|one| one == id);
        closed.retain(|id| !is_there(*id));
        let known = closed.len();
        closed.extend(before.filter(|id| !is_there(*id)));
        closed.len() > known
    }

    pub(super) fn is_closed(&self, listener: u32) -> bool {
        self.closed.borrow().contains(&listener)
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.changed();
    }

    pub(super) fn changed(&self) {
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// One open client connection.
pub(super) struct OpenGuard {
    proxy: Rc<Proxy>,
    listener: u32,
}

impl OpenGuard {
    pub(super) fn new(proxy: &Rc<Proxy>, listener: u32) -> Self {
        let open = &proxy.presence.open;
        open.set(open.get() + 1);
        proxy.observer.connection_opened(listener);
        Self {
            proxy: Rc::clone(proxy),
            listener,
        }
    }

    /// Runs a connection to its end, or until the worker is out of time. Its future is made here: one
    /// that is handed over takes its memory twice.
    #[expect(
        clippy::manual_async_fn,
        reason = "the arguments of an async function take their memory twice"
    )]
    pub(super) fn until_aborted<F: Future<Output = ()>>(
        self,
        serving: impl FnOnce() -> F,
    ) -> impl Future<Output = ()> {
        async move {
            let mut serving = pin!(serving());
            poll_fn(|cx| {
                if self.proxy.presence.phase.get() == Phase::Aborting {
                    return Poll::Ready(());
                }
                serving.as_mut().poll(cx)
            })
            .await;
        }
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        let presence = &self.proxy.presence;
        presence.open.set(presence.open.get().saturating_sub(1));
        self.proxy.observer.connection_closed(self.listener);
        if presence.phase.get() != Phase::Serving || self.proxy.is_crowded() {
            presence.changed();
        }
    }
}
