//! The client's side of an HTTP/1 connection: one socket that the request body is read from, interim
//! and final responses are written to, and that is watched while nothing else is to be done with it.
//!
//! Everything here is polled by the connection's one task. Not here: the order of things
//! (`connection`), and what a request means (`handler`).

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;

use super::Proxy;
use super::budget::ExchangeGuard;
use super::buffers::SMALL;
use super::ends::Ends;
use super::error::Reason;
use super::h1::{self, ConnectionField, Framing, HeadScanner, RequestHead, ResponseParts};
use super::http2::{self, Opening};
use super::inlet::Inlet;
use super::line::Line;
use super::outgoing::Outgoing;
use super::stream::Stream;
use super::timers::{Alarm, Patience};
use super::tls::secured::Secured;
use crate::model::config::Limits;
use crate::model::fields::Fields;

mod incoming;
mod spoken;

pub(super) use incoming::{ClientBody, Incoming, Wait};
use spoken::Spoken;

/// Pipelined bytes that are read ahead while a request is under way, to notice the client's end.
const READ_AHEAD: usize = 16 * 1024;
/// How long a connection may wait for a request, its first or the next, while the worker drains or
/// after the connection's listener is gone. A client that has just been served or let in may be about to ask, and cannot know that there is a
/// reason not to; what it asks is answered, and the answer tells it to go elsewhere.
pub(super) const LAST_REQUEST: Duration = Duration::from_secs(1);

pub(super) struct Client {
    pub(super) proxy: Rc<Proxy>,
    pub(super) line: Rc<Line>,
    pub(super) alarm: Rc<Alarm>,
    /// The id of the one that it came in by.
    listener: u32,
    spoken: Cell<Spoken>,
    io: RefCell<Io>,
}

struct Io {
    stream: Stream,
    /// There while requests come, and for a moment after.
    talk: Option<Box<Talk>>,
}

/// What only a connection with a request under way has to remember.
#[derive(Default)]
struct Talk {
    inlet: Inlet,
    out: Outgoing,
    incoming: Incoming,
}

/// What ends the wait for a request's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// There may be bytes to read.
    Readable,
    TimedOut,
}

/// What the wait for the rest of a request head comes to.
pub(super) enum Arrival {
    Request(Box<RequestHead>),
    /// What HTTP/2 begins with; nothing of it has been taken.
    Http2,
    /// The client has closed between two requests.
    Closed,
    /// Nothing was there after all.
    Nothing,
}

impl Client {
    pub(super) fn new(
        proxy: Rc<Proxy>,
        stream: Stream,
        ends: Ends,
        listener: u32,
        tls: Option<Rc<Secured>>,
    ) -> Rc<Self> {
        let alarm = Rc::new(proxy.timers.alarm());
        Rc::new(Self {
            proxy,
            line: Rc::new(Line { ends, tls }),
            alarm,
            listener,
            spoken: Cell::new(Spoken::over(&stream)),
            io: RefCell::new(Io { stream, talk: None }),
        })
    }

    /// Whether it is to be closed as soon as nothing is under way on it: the worker drains, or its
    /// listener is gone from the configuration.
    pub(super) fn is_to_end(&self) -> bool {
        self.proxy.is_draining() || self.proxy.presence.is_closed(self.listener)
    }

    /// Whether its client is to make the next connection, here or elsewhere.
    pub(super) fn is_to_leave(&self) -> bool {
        self.proxy.is_leaving() || self.proxy.presence.is_closed(self.listener)
    }

    /// Waits without a buffer.
    pub(super) fn poll_idle(
        &self,
        cx: &mut Context<'_>,
        patience: &mut Patience,
        bound: Duration,
    ) -> Poll<Woken> {
        self.alarm.attend(cx);
        if self.io.borrow().stream.poll_readable(cx).is_ready() {
            return Poll::Ready(Woken::Readable);
        }
        let bound = match self.is_to_end() {
            true => bound.min(LAST_REQUEST),
            false => bound,
        };
        patience
            .poll(cx, &self.alarm, bound)
            .map(|()| Woken::TimedOut)
    }

    /// A head that takes more than a small buffer while the rest of it is waited for takes the `room` of a request.
    pub(super) fn poll_head(
        &self,
        cx: &mut Context<'_>,
        scanner: &mut HeadScanner,
        limits: &Limits,
        patience: &mut Patience,
        room: &mut Option<ExchangeGuard>,
    ) -> Poll<Result<Arrival, Reason>> {
        let mut io = self.io.borrow_mut();
        let (stream, Talk { inlet, .. }) = io.talking();
        let bounds = h1::HeadLimits {
            header_bytes: limits.header_bytes as usize,
            header_count: limits.header_count as usize,
            request_line_bytes: limits.request_line_bytes as usize,
        };
        loop {
            let opening = match self.spoken.get() {
                Spoken::Nothing => http2::opening(&inlet.buffer),
                Spoken::Http1 => Opening::Other,
                Spoken::Http2 => Opening::Http2,
            };
            if opening == Opening::Http2 {
                return Poll::Ready(Ok(Arrival::Http2));
            }
            if opening == Opening::Other && !inlet.buffer.is_empty() {
                self.spoken.set(Spoken::Http1);
                let mut spare = self.proxy.scratch.fields();
                let parsed =
                    h1::parse_request_into(&mut spare, &mut inlet.buffer, &bounds, scanner);
                match parsed {
                    Ok(Some(head)) => return Poll::Ready(Ok(Arrival::Request(Box::new(head)))),
                    Ok(None) => self.proxy.scratch.keep(spare),
                    Err(fault) => return Poll::Ready(Err(fault.into())),
                }
            }
            match inlet.poll_fill(cx, stream, &self.proxy.buffers) {
                Poll::Ready(Ok(0) | Err(_)) if inlet.buffer.is_empty() => {
                    return Poll::Ready(Ok(Arrival::Closed));
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Reason::ClientGone)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if inlet.buffer.is_empty() && !stream.is_midway() => {
                    return Poll::Ready(Ok(Arrival::Nothing));
                }
                Poll::Pending => {
                    if room.is_none() && inlet.buffer.len() > SMALL {
                        *room = self.proxy.budget.begin_head();
                        if room.is_none() {
                            return Poll::Ready(Err(Reason::Overloaded));
                        }
                    }
                    let late = patience.poll(cx, &self.alarm, limits.header_timeout);
                    return late.map(|()| Err(Reason::HeaderTimeout));
                }
            }
        }
    }

    /// From here on the body of this request is what is read.
    pub(super) fn expect_body(&self, incoming: Incoming) {
        self.io.borrow_mut().talk().incoming = incoming;
    }

    pub(super) fn with_incoming<T>(&self, look: impl FnOnce(&mut Incoming) -> T) -> T {
        look(&mut self.io.borrow_mut().talk().incoming)
    }

    /// Queues an interim response; it is written as soon as the connection's task gets to it.
    pub(super) fn push_interim(&self, status: StatusCode, headers: &Fields) {
        let mut io = self.io.borrow_mut();
        let parts = ResponseParts {
            status,
            headers,
            framing: Framing::None,
            connection: ConnectionField::Omit,
            date: None,
        };
        h1::encode_response_head(&parts, io.talk().out.front());
    }

    /// Watches a client that waits for its response: writes what is queued, and is ready when the
    /// client is gone. The end of its request stream counts as that, as it does for other proxies.
    /// While its body is still coming, it is the body that breaks.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Reason> {
        let mut io = self.io.borrow_mut();
        let (stream, talk) = io.talking();
        let Talk {
            inlet,
            out,
            incoming,
        } = talk;
        if let Poll::Ready(Err(_)) = out.poll_flush(cx, stream) {
            return Poll::Ready(Reason::ClientGone);
        }
        while incoming.is_over() && inlet.buffer.len() < READ_AHEAD {
            if stream.poll_readable(cx).is_pending() {
                return Poll::Pending;
            }
            match inlet.poll_fill(cx, stream, &self.proxy.buffers) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Reason::ClientGone),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    /// What waits to be written to the client.
    pub(super) fn with_out<T>(&self, look: impl FnOnce(&mut Outgoing) -> T) -> T {
        look(&mut self.io.borrow_mut().talk().out)
    }

    /// Writes what waits; ready with why not when the client takes nothing for too long.
    pub(super) fn poll_flush(
        &self,
        cx: &mut Context<'_>,
        patience: &mut Patience,
        bound: Duration,
    ) -> Poll<Result<(), Reason>> {
        let mut io = self.io.borrow_mut();
        let (stream, Talk { out, .. }) = io.talking();
        let before = out.total();
        match out.poll_flush(cx, stream) {
            Poll::Ready(Ok(())) => {
                patience.renew();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(Reason::ClientGone)),
            Poll::Pending => {
                if out.total() != before {
                    patience.renew();
                }
                patience
                    .poll(cx, &self.alarm, bound)
                    .map(|()| Err(Reason::ClientStalled))
            }
        }
    }

    pub(super) fn has_input(&self) -> bool {
        let io = self.io.borrow();
        io.talk.as_ref().is_some_and(|talk| talk.has_input())
    }

    /// Gives the buffers back before the connection idles.
    pub(super) fn rest(&self) {
        let mut io = self.io.borrow_mut();
        let Some(Talk { inlet, out, .. }) = io.talk.as_deref_mut() else {
            return;
        };
        inlet.rest(&self.proxy.buffers);
        if out.is_written() {
            self.proxy.buffers.give(std::mem::take(out).into_buffer());
        }
    }

    /// After a rest: gives back all that it takes to read a request and to answer it.
    pub(super) fn doze(&self) {
        let talk = &mut self.io.borrow_mut().talk;
        talk.take_if(|talk| talk.out.is_written() && !talk.has_input());
    }

    /// Takes a buffer for what is to be written, if there is none yet.
    pub(super) fn prepare_out(&self) {
        self.with_out(|out| {
            if out.has_no_buffer() {
                *out = Outgoing::with_buffer(self.proxy.buffers.take());
            }
        });
    }

    /// Reads and forgets; ready at the client's end.
    pub(super) fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut io = self.io.borrow_mut();
        let (stream, Talk { inlet, .. }) = io.talking();
        loop {
            inlet.forget();
            match inlet.poll_fill(cx, stream, &self.proxy.buffers) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    pub(super) fn end_writing(&self) {
        self.io.borrow_mut().stream.end_writing();
    }

    /// The client sees a reset: what it got is not the whole.
    pub(super) fn reset(&self) {
        self.io.borrow_mut().stream.reset_on_close();
    }

    /// For a tunnel: both directions, with what was read ahead.
    pub(super) fn with_stream<T>(&self, look: impl FnOnce(&mut Stream, &mut Inlet) -> T) -> T {
        let mut io = self.io.borrow_mut();
        let (stream, talk) = io.talking();
        look(stream, &mut talk.inlet)
    }

    /// For HTTP/2: has `take` take what it wants of what is there (see `Inlet::poll_take`). While nothing is there, nothing
    /// is kept to read it with.
    pub(super) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(&mut [u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let buffers = &self.proxy.buffers;
        let taken =
            self.with_stream(|stream, inlet| inlet.poll_take(cx, stream, buffers, most, take));
        if taken.is_pending() {
            self.doze();
        }
        taken
    }

    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.borrow_mut().stream.poll_write(cx, pieces)
    }
}

impl Talk {
    fn has_input(&self) -> bool {
        !self.inlet.buffer.is_empty()
    }
}

impl Io {
    fn talking(&mut self) -> (&mut Stream, &mut Talk) {
        let Self { stream, talk } = self;
        (stream, talk.get_or_insert_default())
    }

    fn talk(&mut self) -> &mut Talk {
        self.talk.get_or_insert_default()
    }
}

#[cfg(test)]
pub(super) fn size_of_client() -> usize {
    size_of::<Client>()
}
