//! The data plane of one worker: from a client's connection to an upstream's, and back.
//!
//! `connection` reads and writes HTTP/1 (through the pure codec in `h1`), `handler` is the life of a
//! request, `forward` and `upstream` are the way to a server. Everything runs on one thread, one task
//! per client connection. Not here: where configurations and sockets come from; a worker brings them.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::task::AbortHandle;

use crate::model::config::Config;
use crate::model::resolved::Resolved;
use crate::model::snapshot::{Snapshot, SnapshotError};
use crate::shm::names::Index;
use active::{Active, Entrance};
use budget::Budget;
use buffers::Buffers;
use date::Date;
use mirror::Mirrors;
use observe::{ObserveError, Observer};
use orphan::Orphans;
use phase::{OpenGuard, Phase, Presence};
use scratch::Scratch;
use timers::Timers;
use tls::tickets::Tickets;
use tls::turns::Turns;
use upstream::addresses::Addresses;
use upstream::endpoint::Endpoints;
use upstream::members::Premises;
use upstream::secure::Registry;

mod active;
mod announced;
mod body;
mod budget;
mod buffers;
mod client;
mod connection;
mod date;
mod echo;
mod ends;
pub mod error;
mod forward;
mod grpc;
pub mod h1;
mod handler;
pub mod http2;
mod inlet;
mod interim;
mod line;
mod listener;
mod message;
mod mirror;
pub mod observe;
mod orphan;
mod outgoing;
mod pace;
mod peek;
mod phase;
mod placement;
mod recent;
mod respond;
mod scratch;
mod stream;
mod tcp;
mod timers;
mod tls;
mod tunnel;
mod upstream;
mod visit;

#[cfg(test)]
mod tests;

pub use listener::ListenerHandle;

/// How often idle connections to upstreams are looked through.
const SWEEP: Duration = Duration::from_secs(1);
/// Before the first generation nothing is served; this only has to be a number.
const IDLE_BEFORE_ACTIVE: Duration = Duration::from_secs(75);

#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Observe(#[from] ObserveError),
}

/// A generation that was built off to the side and waits to be put in place.
pub struct Prepared {
    active: Arc<Active>,
}

/// Must be made and used within a `tokio` runtime of one thread that can `spawn_local`.
pub struct Proxy {
    active: ArcSwapOption<Active>,
    endpoints: Endpoints,
    addresses: Addresses,
    presence: Presence,
    observer: Rc<Observer>,
    timers: Rc<Timers>,
    budget: Budget,
    orphans: Orphans,
    mirrors: Mirrors,
    buffers: Buffers,
    scratch: Scratch,
    date: Date,
    tickets: Tickets,
    client_tls: Registry,
    handshakes: Turns,
    /// Aborted when the proxy is dropped.
    helpers: Vec<AbortHandle>,
}

impl Proxy {
    pub fn new(observer: Rc<Observer>) -> Rc<Self> {
        Rc::new_cyclic(|proxy: &std::rc::Weak<Self>| {
            let timers = Timers::new();
            let budget = Budget::default();
            let ringing = tokio::task::spawn_local(Rc::clone(&timers).run());
            let sweeping = tokio::task::spawn_local(sweep(proxy.clone()));
            Self {
                active: ArcSwapOption::empty(),
                endpoints: Endpoints::default(),
                addresses: Addresses::default(),
                presence: Presence::default(),
                observer,
                timers,
                budget: budget.clone(),
                orphans: Orphans::default(),
                mirrors: Mirrors::default(),
                buffers: Buffers::new(budget.clone()),
                scratch: Scratch::default(),
                date: Date::default(),
                tickets: Tickets::default(),
                client_tls: Registry::default(),
                handshakes: Turns::default(),
                helpers: vec![ringing.abort_handle(), sweeping.abort_handle()],
            }
        })
    }

    /// Builds a generation without touching the one that serves.
    /// `index` tells under which ids it counts.
    pub fn prepare(
        &self,
        config: &Config,
        index: &Index,
        generation: u64,
    ) -> Result<Prepared, PrepareError> {
        self.prepare_built(Snapshot::build(config, generation)?, config, index)
    }

    /// The same with a snapshot that was built on another thread, as one that takes long should be.
    pub fn prepare_built(
        &self,
        snapshot: Snapshot,
        config: &Config,
        index: &Index,
    ) -> Result<Prepared, PrepareError> {
        let watched = self.observer.prepare(config, index, snapshot.generation)?;
        let before = self.active();
        let active = Active::build(
            snapshot,
            watched,
            index,
            before.as_deref(),
            &self.addresses,
            &self.premises(),
            &self.tickets,
        );
        #[expect(clippy::arc_with_non_send_sync, reason = "a worker is one thread")]
        let active = Arc::new(active);
        Ok(Prepared { active })
    }

    /// The next request on any connection is served by it; those under way end with theirs.
    /// Connections whose listener it lacks are closed when nothing is under way on them.
    pub fn commit(&self, prepared: Prepared) {
        self.observer.commit(&prepared.active.watched);
        self.orphans.note(&prepared.active);
        self.handshakes
            .set(prepared.active.snapshot.limits.handshakes as usize);
        let before = self.active.swap(Some(Arc::clone(&prepared.active)));
        let before = before.iter().flat_map(|before| before.listeners());
        if self.presence.listeners(prepared.active.listeners(), before) {
            self.timers.ring_all();
        }
    }

    /// What connections and requests may take of memory, in bytes; `None` is as much as there is.
    pub fn set_memory(&self, memory: Option<u64>) {
        self.budget.set(memory);
    }

    /// Of what is being served.
    pub fn generation(&self) -> Option<u64> {
        self.active
            .load()
            .as_ref()
            .map(|active| active.snapshot.generation)
    }

    /// Accepts on a listening socket until the handle is dropped or the worker drains. `id` is what
    /// the observer knows the listener by: its id in the index.
    pub fn serve(
        self: &Rc<Self>,
        listener: std::net::TcpListener,
        id: u32,
    ) -> io::Result<ListenerHandle> {
        listener::listen(self, listener, id)
    }

    /// The keys of session tickets from now on: the first seals, all open. `lifetime` is what clients
    /// are told.
    pub fn set_ticket_keys<'k>(
        &self,
        keys: impl Iterator<Item = (&'k [u8], [u8; 16])>,
        lifetime: Duration,
    ) {
        let lifetime = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        self.tickets.set(keys, lifetime);
    }

    /// What a server stands for from now on; also in generations that come later.
    pub fn set_endpoints(&self, resolved: Resolved) {
        self.addresses.set(resolved, &self.premises());
    }

    fn premises(&self) -> Premises<'_> {
        Premises {
            endpoints: &self.endpoints,
            observer: &self.observer,
            tls: &self.client_tls,
        }
    }

    /// Goes on serving, new connections too, and closes each after its next response: whoever sends
    /// them here is about to learn that this is the end. Until `drain`.
    pub fn leave(&self) {
        if self.presence.phase.get() == Phase::Serving {
            self.presence.enter(Phase::Leaving);
        }
    }

    /// Accepts no more, closes idle connections, those in use a moment ago a moment later, and others
    /// after their response; what is still open after `deadline` is dropped. Called again, the earlier deadline holds.
    pub fn drain(self: &Rc<Self>, deadline: Duration) {
        if !self.is_draining() {
            self.presence.enter(Phase::Draining);
        }
        self.timers.ring_all();
        let proxy = Rc::downgrade(self);
        // Ends by itself, or with the runtime; it holds nothing up.
        drop(tokio::task::spawn_local(async move {
            tokio::time::sleep(deadline).await;
            if let Some(proxy) = proxy.upgrade() {
                proxy.presence.enter(Phase::Aborting);
                proxy.timers.ring_all();
            }
        }));
    }

    pub fn is_draining(&self) -> bool {
        matches!(self.presence.phase.get(), Phase::Draining | Phase::Aborting)
    }

    /// Whether clients are to make their next connection elsewhere.
    fn is_leaving(&self) -> bool {
        self.presence.phase.get() != Phase::Serving
    }

    /// Ready when it drains, the last client connection is closed, and what was observed is written.
    pub async fn drained(&self) {
        std::future::poll_fn(|cx| {
            if self.is_draining() && self.open_connections() == 0 {
                self.endpoints.close_idle();
                return Poll::Ready(());
            }
            self.wake_on_change(cx.waker());
            Poll::Pending
        })
        .await;
        self.observer.finish().await;
    }

    /// Client connections.
    pub fn open_connections(&self) -> u32 {
        self.presence.open.get()
    }

    /// Connections to upstreams that wait for a request.
    pub fn idle_upstream_connections(&self) -> usize {
        self.endpoints.idle_count()
    }

    fn active(&self) -> Option<Arc<Active>> {
        self.active.load_full()
    }

    /// How a listener's connections are to be served; `None` where this generation has no such.
    fn entrance(&self, id: u32) -> Option<Rc<Entrance>> {
        self.active.load().as_ref()?.entrance(id).cloned()
    }

    fn open_connection(self: &Rc<Self>, listener: u32) -> OpenGuard {
        OpenGuard::new(self, listener)
    }

    fn connection_limit(&self) -> u32 {
        let configured = self
            .active
            .load()
            .as_ref()
            .map_or(u32::MAX, |active| active.snapshot.limits.connections);
        configured.min(self.budget.connections())
    }

    /// Whether memory is bounded, and has room for no more connections.
    fn is_short_of_memory(&self) -> bool {
        self.open_connections() >= self.budget.connections()
    }

    fn is_crowded(&self) -> bool {
        self.open_connections() >= self.connection_limit()
    }

    fn idle_timeout(&self) -> Duration {
        let active = self.active.load();
        active.as_ref().map_or(IDLE_BEFORE_ACTIVE, |active| {
            active.snapshot.limits.idle_timeout
        })
    }

    fn header_timeout(&self) -> Duration {
        let active = self.active.load();
        active.as_ref().map_or(IDLE_BEFORE_ACTIVE, |active| {
            active.snapshot.limits.header_timeout
        })
    }

    fn write_timeout(&self) -> Duration {
        let active = self.active.load();
        active.as_ref().map_or(IDLE_BEFORE_ACTIVE, |active| {
            active.snapshot.limits.write_timeout
        })
    }

    fn wake_on_change(&self, waker: &Waker) {
        self.presence.wake_on_change(waker);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.helpers.iter().for_each(AbortHandle::abort);
    }
}

async fn sweep(proxy: std::rc::Weak<Proxy>) {
    let mut every = tokio::time::interval(SWEEP);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if let Some(proxy) = proxy.upgrade() {
            proxy.endpoints.sweep(proxy.timers.now());
            if let Some(active) = proxy.active() {
                proxy.observer.tick(&active.watched, |upstream| {
                    active.idle_connections(upstream)
                });
            }
        }
    }
}
