//! The story of one HTTP/2 client connection: each request becomes a task of its own; beside them the
//! connection is watched for waste, silence and an end, its own or the worker's.
//!
//! Not here: a request (`exchange`), and frames (the `h2` crate).

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use tokio::task::JoinSet;

use super::exchange::{self, Link};
use super::frames::Section;
use super::inflow::SMALL_FRAMES;
use super::pulse::Pulse;
use super::wire::{Flow, Watch, Wire};
use crate::model::config::Http2;
use crate::proxy::budget::{Budget, ExchangeGuard, WindowGuard};
use crate::proxy::client::Client;
use crate::proxy::connection::{Admission, Next};
use crate::proxy::error::Reason;
use crate::proxy::timers::Patience;

/// Bytes of one response that wait to be written, beside what its task holds.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that the client broke the rules of, before the connection is given up.
const MOST_FAULTS: usize = 256;
/// Streams that were reset and whose last frames may still be on their way: how many are remembered,
/// and for how long.
const RESET_STREAMS: usize = 64;
const RESET_MEMORY: Duration = Duration::from_secs(5);
/// What HTTP/2 gives a connection to begin with (RFC 9113, 6.9.2): all it gets while memory is bounded and it has sent no more.
const NARROW: u32 = 65_535;
/// How long a client may take to acknowledge that the connection ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves until the connection is over. May be dropped at any time.
pub(in crate::proxy) async fn serve(
    client: Rc<Client>,
    listener: u32,
    admission: Admission,
) -> Next {
    let Some(active) = client.proxy.active() else {
        return Next::Close;
    };
    let (settings, header_timeout) = (active.snapshot.http2, active.snapshot.limits.header_timeout);
    drop(active);
    let watch = Watch::of_client(&client);
    let wire = Wire::new(Rc::clone(&client), Rc::clone(&watch));
    let window = first_window(&settings, &client.proxy.budget);
    let connection = match handshake(&client, wire, &settings, window, header_timeout).await {
        Ok(connection) => connection,
        Err(next) => return next,
    };
    let mut session = Session::new(connection, client, listener, admission, watch, settings);
    if window < settings.initial_connection_window_size {
        session.window = Window::Narrow(settings.initial_connection_window_size);
    }
    poll_fn(|cx| session.poll(cx)).await
}

async fn handshake(
    client: &Client,
    wire: Wire,
    settings: &Http2,
    window: u32,
    bound: Duration,
) -> Result<Connection<Wire, Bytes>, Next> {
    let mut handshake = pin!(builder(settings, window).handshake::<_, Bytes>(wire));
    let mut patience = Patience::default();
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = handshake.as_mut().poll(cx) {
            // What is none of HTTP/2 may still be on its way: it is not to be met with a reset.
            return Poll::Ready(outcome.map_err(|_| Next::Linger));
        }
        let late = patience.poll(cx, &client.alarm, bound);
        late.map(|()| Err(Next::Close))
    })
    .await
}

fn first_window(settings: &Http2, budget: &Budget) -> u32 {
    match budget.is_bounded() {
        true => settings.initial_connection_window_size.min(NARROW),
        false => settings.initial_connection_window_size,
    }
}

fn builder(settings: &Http2, window: u32) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(settings.max_concurrent_streams)
        .initial_window_size(settings.initial_stream_window_size)
        .initial_connection_window_size(window)
        .data_frame_budget(SMALL_FRAMES)
        .max_frame_size(settings.max_frame_size)
        .max_header_list_size(settings.max_header_list_size)
        .header_table_size(settings.header_table_size)
        .max_pending_accept_reset_streams(settings.max_concurrent_streams as usize)
        .max_local_error_reset_streams(Some(MOST_FAULTS))
        .max_concurrent_reset_streams(RESET_STREAMS)
        .reset_stream_duration(RESET_MEMORY)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol();
    builder
}

struct Session {
    connection: Connection<Wire, Bytes>,
    /// Aborted with the session.
    exchanges: JoinSet<()>,
    link: Rc<Link>,
    watch: Rc<Watch>,
    state: State,
    pulse: Option<Pulse>,
    idle: Patience,
    head: Patience,
    /// While a header section is waited for.
    head_room: Option<ExchangeGuard>,
    stall: Stall,
    farewell: Patience,
    window: Window,
}

/// How much the client may send at once of all its bodies.
enum Window {
    /// It may come to so much, if there is memory for that.
    Narrow(u32),
    Wide {
        _room: Option<WindowGuard>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The client has been told that this is the end; requests that it could not know that of are
    /// still served.
    Leaving,
    /// What is under way is of no interest any more.
    Failing,
    Over,
}

/// The client takes nothing of what is written.
#[derive(Default)]
struct Stall {
    patience: Patience,
    written: u64,
}

impl Session {
    fn new(
        mut connection: Connection<Wire, Bytes>,
        client: Rc<Client>,
        listener: u32,
        admission: Admission,
        watch: Rc<Watch>,
        settings: Http2,
    ) -> Self {
        let pings = connection.ping_pong();
        let pulse = settings.keepalive.zip(pings);
        Self {
            connection,
            exchanges: JoinSet::new(),
            link: Rc::new(Link {
                client,
                listener,
                admission,
                watch: Rc::clone(&watch),
                under_way: Rc::new(Cell::new(0)),
            }),
            watch,
            state: State::Open,
            pulse: pulse.map(|(bounds, pings)| Pulse::new(bounds, pings)),
            idle: Patience::default(),
            head: Patience::default(),
            head_room: None,
            stall: Stall::default(),
            farewell: Patience::default(),
            window: Window::Wide { _room: None },
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        self.link.client.alarm.attend(cx);
        if self.state == State::Over {
            return self.poll_over(cx);
        }
        loop {
            while let Poll::Ready(accepted) = self.connection.poll_accept(cx) {
                match accepted {
                    Some(Ok((request, respond))) => {
                        let exchange = exchange::serve(Rc::clone(&self.link), request, respond);
                        self.exchanges.spawn_local(exchange);
                    }
                    // Whatever it was, the client has been told by a GOAWAY if it can be.
                    Some(Err(error)) => {
                        self.note(&error);
                        return self.poll_over(cx);
                    }
                    None => return self.poll_over(cx),
                }
            }
            while let Poll::Ready(Some(_)) = self.exchanges.poll_join_next(cx) {}
            self.widen();
            match self.poll_end(cx) {
                Poll::Ready(After::Done(next)) => return Poll::Ready(next),
                Poll::Ready(After::Again) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// A client that sends bodies gets its whole window, for as long as it stays, if there is memory for that.
    fn widen(&mut self) {
        let Window::Narrow(most) = self.window else {
            return;
        };
        if self.watch.taken() < u64::from(NARROW) {
            return;
        }
        let room = self.link.client.proxy.budget.take_window(most.into());
        if room.is_some() {
            self.connection.set_target_window_size(most);
            self.window = Window::Wide { _room: room };
        }
    }

    /// Bounds of the `h2` crate count as ours do.
    fn note(&self, error: &h2::Error) {
        let flood = error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
        if error.is_library() && flood && self.state != State::Failing {
            self.link
                .client
                .proxy
                .observer
                .count_reason(Reason::Http2Flood);
        }
    }

    /// The connection is at its end; those who still work on a request of it are about to see that.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        self.state = State::Over;
        while let Poll::Ready(ended) = self.exchanges.poll_join_next(cx) {
            if ended.is_none() {
                return Poll::Ready(Next::Linger);
            }
        }
        self.poll_farewell(cx).map(|()| Next::Break)
    }

    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.farewell.poll(cx, &self.link.client.alarm, FAREWELL)
    }

    /// Looks whether the connection is to end, and sees to it that it does.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<After> {
        if self.state != State::Failing
            && let Some(reason) = self.unfit(cx)
        {
            self.state = State::Failing;
            self.link.client.proxy.observer.count_reason(reason);
            self.connection
                .abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
            return Poll::Ready(After::Again);
        }
        if self.state == State::Open && (self.is_to_leave() || self.poll_idle(cx).is_ready()) {
            self.state = State::Leaving;
            self.connection.graceful_shutdown();
            return Poll::Ready(After::Again);
        }
        if self.poll_stalled(cx).is_ready() || self.poll_dead(cx).is_ready() {
            return Poll::Ready(After::Done(Next::Break));
        }
        let only_waits = match self.state {
            State::Open => false,
            State::Leaving => self.exchanges.is_empty(),
            State::Failing | State::Over => true,
        };
        if only_waits && self.poll_farewell(cx).is_ready() {
            return Poll::Ready(After::Done(Next::Break));
        }
        Poll::Pending
    }

    /// Whether the client wastes what others could use: by frames for nothing, by a header section that does not
    /// end, or by one that does not end yet while there is no room for more requests.
    fn unfit(&mut self, cx: &mut Context<'_>) -> Option<Reason> {
        if self.watch.flood().is_some() {
            return Some(Reason::Http2Flood);
        }
        if self.watch.section() == Section::Closed {
            self.head.renew();
            self.head_room = None;
            return None;
        }
        let client = &self.link.client;
        if self.head_room.is_none() {
            self.head_room = client.proxy.budget.begin_head();
        }
        if self.head_room.is_none() {
            return Some(Reason::Overloaded);
        }
        let bound = client.proxy.header_timeout();
        let late = self.head.poll(cx, &client.alarm, bound).is_ready();
        late.then_some(Reason::Http2Flood)
    }

    fn is_to_leave(&self) -> bool {
        let client = &self.link.client;
        let in_use = !self.exchanges.is_empty();
        let unwanted = client.is_to_leave() || self.link.admission == Admission::Refuse;
        client.is_to_end() || (in_use && unwanted)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.exchanges.is_empty() {
            self.idle.renew();
            return Poll::Pending;
        }
        let client = &self.link.client;
        self.idle
            .poll(cx, &client.alarm, client.proxy.idle_timeout())
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let written = self.watch.written();
        if self.watch.flow() == Flow::Free || written != self.stall.written {
            self.stall.written = written;
            self.stall.patience.renew();
        }
        if self.watch.flow() == Flow::Free {
            return Poll::Pending;
        }
        let client = &self.link.client;
        let bound = client.proxy.write_timeout();
        self.stall.patience.poll(cx, &client.alarm, bound)
    }

    fn poll_dead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.pulse {
            Some(pulse) => pulse.poll(cx, &self.link.client.alarm, self.watch.read()),
            None => Poll::Pending,
        }
    }
}

/// What a look at the connection came to.
enum After {
    /// It has been told something, and has to be driven on.
    Again,
    Done(Next),
}
