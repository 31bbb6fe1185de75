//! The story of one HTTP/2 client connection: each request becomes a task of its own; beside them the
//! connection is watched for waste, silence and an end, its own or the worker's.
//!
//! Not here: a request (`exchange`), and frames (the `h2` crate).

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Connection, SendResponse};
use http::Request;
use tokio::task::JoinSet;

use super::begin::{FEW, NARROW, at_first, handshake};
use super::exchange::{self, Link};
use super::frames::Section;
use super::pulse::Pulse;
use super::wire::{Flow, Watch, Wire};
use crate::model::config::Http2;
use crate::proxy::budget::{ExchangeGuard, Weight, WindowGuard};
use crate::proxy::client::Client;
use crate::proxy::connection::{Admission, Next};
use crate::proxy::error::Reason;
use crate::proxy::timers::Patience;

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
    let first = at_first(settings, &client.proxy.budget, admission);
    let connection = match handshake(&client, wire, &first, header_timeout).await {
        Ok(connection) => connection,
        Err(next) => return next,
    };
    let mut session = Session::new(connection, client, listener, admission, watch, settings);
    if first.initial_connection_window_size < settings.initial_connection_window_size {
        session.window = Window::Narrow(settings.initial_connection_window_size);
    }
    poll_fn(|cx| session.poll(cx)).await
}

/// In connections, beside itself, with so many requests at once: twice the memory of one of HTTP/1, and some 2.5 KiB for each
/// request, which it keeps.
fn weighs(most: u32) -> u32 {
    match most <= FEW {
        true => 1,
        false => 1 + most / 4,
    }
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
    weight: Weight,
    /// The most requests at once, so far, rounded up to a power of two: the `h2` crate keeps the memory of as many.
    most: u32,
    /// Requests that were shed since it was last looked at.
    shed: u32,
    /// There was no room for so many.
    outgrown: bool,
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

/// Whether there is room for what a connection takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weighed {
    Borne,
    TooMuch,
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
        let mut weight = client.proxy.budget.weigh();
        weight.set(weighs(FEW));
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
            weight,
            most: FEW,
            shed: 0,
            outgrown: false,
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
                        self.begin(request, respond);
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
            if self.weigh() == Weighed::TooMuch {
                continue;
            }
            match self.poll_end(cx) {
                Poll::Ready(After::Done(next)) => return Poll::Ready(next),
                Poll::Ready(After::Again) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let Some(room) = self.link.client.proxy.budget.begin_exchange() else {
            self.shed += 1;
            return exchange::shed(&self.link, &request, respond);
        };
        let link = Rc::clone(&self.link);
        // In a box: large as it is, it would be moved twice on its way into a task.
        let exchange = Box::pin(exchange::serve(link, room, request, respond));
        self.exchanges.spawn_local(exchange);
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

    /// Where there is no room for as many requests at once as the client has now, it is told to make another connection. One that goes
    /// on as if it had not heard loses this one. Either is for the connection to say.
    fn weigh(&mut self) -> Weighed {
        let under_way = u32::try_from(self.exchanges.len()).unwrap_or(u32::MAX);
        let now = under_way.saturating_add(std::mem::take(&mut self.shed));
        if now <= self.most {
            return Weighed::Borne;
        }
        self.most = now.checked_next_power_of_two().unwrap_or(u32::MAX);
        self.weight.set(weighs(self.most));
        if !self.link.client.proxy.is_short_of_memory() {
            return Weighed::Borne;
        }
        match self.state {
            State::Open => {
                self.outgrown = true;
                self.state = State::Leaving;
                self.connection.graceful_shutdown();
            }
            State::Leaving if self.outgrown => self.fail(Reason::Overloaded),
            State::Leaving | State::Failing | State::Over => return Weighed::Borne,
        }
        Weighed::TooMuch
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
            self.fail(reason);
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

    fn fail(&mut self, reason: Reason) {
        self.state = State::Failing;
        self.link.client.proxy.observer.count_reason(reason);
        self.connection
            .abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
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
        let takes_others_room = self.most > FEW && client.proxy.is_short_of_memory();
        client.is_to_end() || (in_use && unwanted) || (!in_use && takes_others_room)
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
