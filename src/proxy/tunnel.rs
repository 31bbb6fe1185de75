//! Two connections that carry what is none of our business, after a 101 or from the start: bytes are
//! copied both ways, each way with its own backpressure and its own end, until both have ended.
//!
//! A side that breaks breaks the other: who gets less than was sent sees a reset, not an end. Not
//! here: whether a change of protocol was asked for (`forward`), and whom a connection goes to.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use http::HeaderValue;

use super::buffers::Buffers;
use super::client::Client;
use super::error::Reason;
use super::inlet::Inlet;
use super::observe::Passing;
use super::stream::Stream;
use super::timers::Patience;
use super::upstream::exchange::Exchange;
use super::upstream::hold::Hold;
use crate::shm::series::Direction;

/// The upstream's side of a connection whose protocol has changed.
pub(super) struct Switched {
    pub(super) protocol: HeaderValue,
    pub(super) far: Far,
}

/// The upstream's side.
pub(super) struct Far {
    stream: Stream,
    inlet: Inlet,
    /// In flight there until the tunnel ends.
    hold: Hold,
}

/// One direction.
struct Flow {
    direction: Direction,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

/// Which of its two connections broke a flow.
enum Broken {
    Source,
    Sink,
}

impl Switched {
    /// A request whose body is still on its way cannot change the protocol.
    pub(super) fn new(
        exchange: Box<Exchange>,
        hold: Hold,
        protocol: HeaderValue,
    ) -> Result<Self, Reason> {
        let Exchange {
            stream,
            inlet,
            upload,
            ..
        } = *exchange;
        if !upload.is_done() {
            return Err(Reason::UpstreamUpgrade);
        }
        let far = Far {
            stream,
            inlet,
            hold,
        };
        Ok(Self { protocol, far })
    }
}

impl Far {
    /// A new connection, over which nothing has come yet.
    pub(super) fn new(stream: Stream, hold: Hold) -> Self {
        Self {
            stream,
            inlet: Inlet::default(),
            hold,
        }
    }

    /// For a tunnel whose client's side is no socket.
    pub(super) fn into_parts(self) -> (Stream, Inlet, Hold) {
        (self.stream, self.inlet, self.hold)
    }

    /// Runs until both directions have ended, one has broken, or no byte has come from either side
    /// for `bound`. May be dropped at any time.
    pub(super) async fn run(
        mut self,
        client: &Client,
        bound: Duration,
        passing: &Passing,
    ) -> Result<(), Reason> {
        let mut up = Flow::new(Direction::ToUpstream);
        let mut down = Flow::new(Direction::ToClient);
        let mut patience = Patience::default();
        let mut carried = 0;
        let ended = poll_fn(|cx| {
            let flows = client.with_stream(|near, inlet| {
                let (far, buffers) = (&mut self.stream, &client.proxy.buffers);
                let up = up.poll(cx, near, inlet, far, buffers, passing);
                let down = down.poll(cx, far, &mut self.inlet, near, buffers, passing);
                both(up, down)
            });
            if flows.is_ready() {
                return flows;
            }
            let now = passing.to_upstream() + passing.to_client();
            if std::mem::replace(&mut carried, now) != now {
                patience.renew();
            }
            let silent = patience.poll(cx, &client.alarm, bound);
            silent.map(|()| Err(Reason::TunnelIdle))
        })
        .await;
        if ended.is_err_and(|reason| reason != Reason::TunnelIdle) {
            client.reset();
            self.stream.reset_on_close();
        }
        ended
    }
}

fn both(up: Poll<Result<(), Broken>>, down: Poll<Result<(), Broken>>) -> Poll<Result<(), Reason>> {
    let theirs = Poll::Ready(Err(Reason::UpstreamBodyBroken));
    let ours = Poll::Ready(Err(Reason::ClientGone));
    match (up, down) {
        (Poll::Ready(Err(Broken::Source)), _) | (_, Poll::Ready(Err(Broken::Sink))) => ours,
        (Poll::Ready(Err(Broken::Sink)), _) | (_, Poll::Ready(Err(Broken::Source))) => theirs,
        (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
        _ => Poll::Pending,
    }
}

impl Flow {
    fn new(direction: Direction) -> Self {
        Self {
            direction,
            state: State::Open,
        }
    }

    /// What was read is written before more is read.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        inlet: &mut Inlet,
        to: &mut Stream,
        buffers: &Buffers,
        passing: &Passing,
    ) -> Poll<Result<(), Broken>> {
        while self.state == State::Open {
            while !inlet.buffer.is_empty() {
                let written = to.poll_write(cx, &[IoSlice::new(&inlet.buffer)]);
                let count = ready!(written).map_err(|_| Broken::Sink)?;
                if count == 0 {
                    return Poll::Ready(Err(Broken::Sink));
                }
                passing.count(self.direction, count);
                take(inlet, count);
            }
            let filled = ready!(fill(cx, from, inlet, buffers));
            if filled.map_err(|_| Broken::Source)? == 0 {
                to.end_writing();
                inlet.rest(buffers);
                self.state = State::Ended;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The next read begins where this one began.
fn take(inlet: &mut Inlet, count: usize) {
    if count == inlet.buffer.len() {
        inlet.buffer.clear();
    } else {
        inlet.buffer.advance(count);
    }
}

/// Reads once; 0 is the end. A silent connection holds no buffer.
fn fill(
    cx: &mut Context<'_>,
    from: &mut Stream,
    inlet: &mut Inlet,
    buffers: &Buffers,
) -> Poll<io::Result<usize>> {
    match from.poll_readable(cx) {
        Poll::Ready(Ok(())) => inlet.poll_fill(cx, from, buffers),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => {
            inlet.rest(buffers);
            Poll::Pending
        }
    }
}
