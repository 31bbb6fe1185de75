//! A request on its way to an upstream: its head and as much of its body as is there leave in one
//! write, the rest follows as it comes, while the response may already be coming back.
//!
//! Not here: the response, and whether the request is to be sent again.

use std::task::{Context, Poll};
use std::time::Duration;

use http::Method;

use crate::proxy::body::{Body, Frame};
use crate::proxy::error::Reason;
use crate::proxy::h1::Framing;
use crate::proxy::outgoing::Outgoing;
use crate::proxy::stream::Stream;
use crate::proxy::timers::{Alarm, Patience};

/// How long a client that waits for a 100 waits for the upstream's; then it gets ours.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

pub(in crate::proxy) struct Upload {
    out: Outgoing,
    head_len: usize,
    body: Body,
    framing: Framing,
    pulled: Pulled,
    state: State,
    gate: Gate,
    replay: Replay,
    idempotent: bool,
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

/// Whether everything that was taken from the body is still here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replay {
    Whole,
    Lost,
}

impl Upload {
    /// `out` has the encoded head in it.
    pub(in crate::proxy) fn new(
        mut out: Outgoing,
        method: &Method,
        body: Body,
        framing: Framing,
        gate: Gate,
        bound: Duration,
    ) -> Self {
        let head_len = out.front().len();
        out.keep_written();
        let pulled = if matches!(body, Body::Empty) {
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
            replay: Replay::Whole,
            idempotent: method.is_idempotent(),
            gate_patience: Patience::default(),
            stall: Patience::default(),
            bound,
        }
    }

    /// Whether it could be sent once more if the connection turned out to be dead.
    pub(in crate::proxy) fn may_be_repeated(&self) -> bool {
        let body_sent = self.out.written() > self.head_len;
        self.replay == Replay::Whole && (self.idempotent || !body_sent)
    }

    /// Whether it could be sent again after all that is at hand now was sent.
    pub(in crate::proxy) fn is_safe_to_lose(&self) -> bool {
        self.idempotent || matches!(self.body, Body::Empty) || self.gate == Gate::AwaitContinue
    }

    pub(in crate::proxy) fn rewind(&mut self) {
        self.out.rewind();
        self.stall.renew();
        self.state = State::Sending;
    }

    /// A byte of the response has come: there will be no second try.
    pub(in crate::proxy) fn commit(&mut self) {
        self.replay = Replay::Lost;
        self.out.forget_written();
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
            let before = self.out.written();
            match self.out.poll_flush(cx, stream) {
                Poll::Ready(Ok(())) => self.stall.renew(),
                Poll::Ready(Err(_)) => {
                    self.cut();
                    break;
                }
                Poll::Pending => {
                    if self.out.written() != before {
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
                    self.forget_unless_first();
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

    /// What has been written stays at hand for a second try only while that is one buffer's worth.
    fn forget_unless_first(&mut self) {
        if self.out.is_written() && self.replay == Replay::Whole && self.out.written() > 0 {
            self.replay = Replay::Lost;
            self.out.forget_written();
        }
    }
}
