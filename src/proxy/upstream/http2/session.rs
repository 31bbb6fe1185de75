//! One connection of HTTP/2 to an upstream: made, driven by its task until it is over, and counted by
//! how many requests use it.
//!
//! Not here: how many there may be (`sessions`).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};

use super::super::connect::{Opening, connect};
use super::super::endpoint::Endpoint;
use super::super::secure::Purpose;
use super::sessions::Terms;
use super::wire::{Watch, Wire};
use crate::model::config::UpstreamHttp2;
use crate::proxy::Proxy;
use crate::proxy::error::Reason;
use crate::proxy::http2::{Pulse, SMALL_FRAMES};
use crate::proxy::stream::Stream;
use crate::proxy::timers::{Alarm, Patience, Tick};

/// Bytes of one request that wait to be written, beside what its task holds.
const SEND_BUFFER: usize = 64 * 1024;
/// What an upstream may send as a head: as over HTTP/1.
const HEADER_LIST: u32 = 128 * 1024;
const RESET_MEMORY: Duration = Duration::from_secs(5);

pub(super) struct Session {
    sender: RefCell<SendRequest<Bytes>>,
    watch: Rc<Watch>,
    streams: Cell<u32>,
    state: Cell<State>,
    /// Since when no request uses it.
    idle_since: Cell<Tick>,
    idle: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The upstream takes no more requests over it.
    Leaving,
}

impl Session {
    /// Connects; what that leads to is for `over`, if it is HTTP/2.
    pub(super) async fn connect(
        endpoint: &Endpoint,
        terms: &Terms<'_>,
        alarm: &Alarm,
    ) -> Result<Stream, Reason> {
        let opening = Opening {
            introduction: None,
            purpose: Purpose::Any,
            within: terms.within,
        };
        connect(endpoint, opening, alarm).await
    }

    /// Speaks HTTP/2 over a new connection, and leaves it to a task of its own.
    pub(super) async fn over(
        stream: Stream,
        endpoint: &Rc<Endpoint>,
        terms: &Terms<'_>,
        alarm: &Alarm,
        proxy: &Rc<Proxy>,
    ) -> Result<Rc<Self>, Reason> {
        let (settings, bound) = (terms.settings, terms.within.connect);
        let watch = Watch::new(proxy);
        let wire = Wire::new(stream, proxy, Rc::clone(&watch));
        let (sender, connection) = handshake(settings, wire, bound, alarm).await?;
        let session = Rc::new(Self {
            sender: RefCell::new(sender),
            watch: Rc::clone(&watch),
            streams: Cell::new(0),
            state: Cell::new(State::Open),
            idle_since: Cell::new(alarm.now()),
            idle: terms.idle,
        });
        let driver = Driver::new(connection, settings, proxy, watch, endpoint, &session);
        // Ends with the connection, which ends when nobody can send over it any more.
        drop(tokio::task::spawn_local(driver.run()));
        Ok(session)
    }

    /// How many more requests it takes now.
    pub(super) fn room(&self, most: u32) -> u32 {
        if self.state.get() == State::Leaving {
            return 0;
        }
        let theirs = self.sender.borrow().current_max_send_streams();
        let most = most.min(u32::try_from(theirs).unwrap_or(u32::MAX));
        most.saturating_sub(self.streams.get())
    }

    pub(super) fn streams(&self) -> u32 {
        self.streams.get()
    }

    /// Until when it is kept without a request.
    pub(super) fn until(&self) -> Tick {
        self.idle_since.get().after(self.idle)
    }

    pub(super) fn enter(&self) {
        self.watch.asked();
        self.streams.set(self.streams.get() + 1);
    }

    pub(super) fn exit(&self, now: Tick) {
        self.streams.set(self.streams.get().saturating_sub(1));
        self.idle_since.set(now);
    }

    pub(super) fn leave(&self) {
        self.state.set(State::Leaving);
    }

    pub(super) fn watch(&self) -> &Rc<Watch> {
        &self.watch
    }

    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.sender.borrow().clone()
    }
}

async fn handshake(
    settings: &UpstreamHttp2,
    wire: Wire,
    bound: Duration,
    alarm: &Alarm,
) -> Result<(SendRequest<Bytes>, Connection<Wire, Bytes>), Reason> {
    let builder = builder(settings);
    let mut shaking = pin!(builder.handshake::<_, Bytes>(wire));
    let mut patience = Patience::default();
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = shaking.as_mut().poll(cx) {
            return Poll::Ready(outcome.map_err(|_| Reason::ConnectFailed));
        }
        let late = patience.poll(cx, alarm, bound);
        late.map(|()| Err(Reason::ConnectTimeout))
    })
    .await
}

fn builder(settings: &UpstreamHttp2) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(settings.initial_stream_window_size)
        .initial_connection_window_size(settings.initial_connection_window_size)
        .data_frame_budget(SMALL_FRAMES)
        .initial_max_send_streams(settings.max_concurrent_streams as usize)
        .max_header_list_size(HEADER_LIST)
        .reset_stream_duration(RESET_MEMORY)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// What runs in the connection's task.
struct Driver {
    connection: Connection<Wire, Bytes>,
    pulse: Option<Pulse>,
    alarm: Alarm,
    watch: Rc<Watch>,
    endpoint: Weak<Endpoint>,
    session: Weak<Session>,
}

impl Driver {
    fn new(
        mut connection: Connection<Wire, Bytes>,
        settings: &UpstreamHttp2,
        proxy: &Rc<Proxy>,
        watch: Rc<Watch>,
        endpoint: &Rc<Endpoint>,
        session: &Rc<Session>,
    ) -> Self {
        let pings = connection.ping_pong();
        let pulse = settings.keepalive.zip(pings);
        Self {
            connection,
            pulse: pulse.map(|(bounds, pings)| Pulse::new(bounds, pings)),
            alarm: proxy.timers.alarm(),
            watch,
            endpoint: Rc::downgrade(endpoint),
            session: Rc::downgrade(session),
        }
    }

    async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        if let Some(session) = self.session.upgrade() {
            session.leave();
            if let Some(endpoint) = self.endpoint.upgrade() {
                endpoint.sessions().forget(&session);
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match &mut self.pulse {
            Some(pulse) => pulse.poll(cx, &self.alarm, self.watch.read()),
            None => Poll::Pending,
        }
    }
}
