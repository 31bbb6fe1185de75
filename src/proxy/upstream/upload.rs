//! A request on its way to an upstream: its head and as much of its body as is there leave in one
//! write, the rest follows as it comes, while the response may already be coming back.
//!
//! Not here: the response, and what of the body is kept for another try (`replay`).

use std::task::{Context, Poll};
use std::time::Duration;

use super::replay::Replay;
use crate::proxy::body::Frame;
use crate::proxy::error::Reason;
use crate::proxy::h1::Framing;
use crate::proxy::outgoing::Outgoing;
use crate::proxy::stream::Stream;
use crate::proxy::timers::{Alarm, Patience};

/// How long a client that waits for a 100 waits for the upstream's; then it gets ours.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

pub(in crate::proxy) struct Upload {
    out: Outgoing,
    head_len: u64,
    body: Replay,
    framing: Framing,
    pulled: Pulled,
    state: State,
    gate: Gate,
    repeat: Repeat,
    gate_patience: Patience,
    stall: Patience,
    /// How long the upstream may take nothing.
    bound: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pulled {
    /// More of the body may come.
    Part,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sending,
    Done,
    /// The upstream takes no more of it.
    Cut,
}

/// Whether the body may be asked for yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Gate {
    Open,
    /// Until the upstream says 100, or is late with it.
    AwaitContinue,
}

/// Whether a request may reach servers more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Repeat {
    Freely,
    /// Only while none of its body has left.
    Unsent,
}

impl Upload {
    /// `out` has the encoded head in it.
    pub(in crate::proxy) fn new(
        mut out: Outgoing,
        body: Replay,
        framing: Framing,
        gate: Gate,
        repeat: Repeat,
        bound: Duration,
    ) -> Self {
        let head_len = out.front().len() as u64;
        let pulled = if body.is_empty() {
            Pulled::All
        } else {
            Pulled::Part
        };
        Self {
            out,
            head_len,
            body,
            framing,
            pulled,
            state: State::Sending,
            gate,
            repeat,
            gate_patience: Patience::default(),
            stall: Patience::default(),
            bound,
        }
    }

    /// The body, for another connection, if this one turned out to be dead.
    pub(in crate::proxy) fn again(&self) -> Option<Replay> {
        let body_sent = self.out.total() > self.head_len;
        match self.repeat {
            Repeat::Unsent if body_sent => None,
            _ => self.body.again(),
        }
    }

    /// The answer is accepted: there will be no other try.
    pub(in crate::proxy) fn commit(&self) {
        self.body.commit();
    }

    pub(in crate::proxy) fn open_gate(&mut self) {
        self.gate = Gate::Open;
    }

    /// The upstream has answered without having been sent the body: it is not to be sent any more.
    pub(in crate::proxy) fn cut_if_gated(&mut self) {
        if self.gate == Gate::AwaitContinue {
            self.cut();
        }
    }

    pub(in crate::proxy) fn cut(&mut self) {
        self.state = State::Cut;
    }

    pub(in crate::proxy) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub(in crate::proxy) fn is_over(&self) -> bool {
        self.state != State::Sending
    }

    pub(in crate::proxy) fn into_buffer(self) -> bytes::BytesMut {
        self.out.into_buffer()
    }

    /// Sends what there is. Ready when all is sent or the upstream takes no more; the error is the
    /// client's, or the upstream's that has stalled.
    pub(in crate::proxy) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        alarm: &Alarm,
    ) -> Poll<Result<(), Reason>> {
        while !self.is_over() {
            let starved = match self.gather(cx, alarm) {
                Ok(starved) => starved,
                Err(reason) => return Poll::Ready(Err(reason)),
            };
            let before = self.out.total();
            match self.out.poll_flush(cx, stream) {
                Poll::Ready(Ok(())) => self.stall.renew(),
                Poll::Ready(Err(_)) => {
                    self.cut();
                    break;
                }
                Poll::Pending => {
                    self.body.pause();
                    if self.out.total() != before {
                        self.stall.renew();
                    }
                    let stalled = self.stall.poll(cx, alarm, self.bound);
                    return stalled.map(|()| Err(Reason::UpstreamStalled));
                }
            }
            match self.pulled {
                Pulled::All => self.state = State::Done,
                Pulled::Part if starved => return Poll::Pending,
                Pulled::Part => {}
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what the body has to give right now; true when it has to be waited for.
    fn gather(&mut self, cx: &mut Context<'_>, alarm: &Alarm) -> Result<bool, Reason> {
        if self.gate == Gate::AwaitContinue {
            match self.gate_patience.poll(cx, alarm, CONTINUE_WAIT) {
                Poll::Ready(()) => self.gate = Gate::Open,
                Poll::Pending => return Ok(true),
            }
        }
        while self.pulled == Pulled::Part && self.out.has_room() {
            match self.body.poll_frame(cx) {
                Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                    self.out.push(data, self.framing);
                }
                Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                    self.out.end(Some(&trailers), self.framing);
                    self.pulled = Pulled::All;
                }
                Poll::Ready(None) => {
                    self.out.end(None, self.framing);
                    self.pulled = Pulled::All;
                }
                Poll::Ready(Some(Err(reason))) => return Err(reason),
                Poll::Pending => return Ok(true),
            }
        }
        Ok(false)
    }
}
