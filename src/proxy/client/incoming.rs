//! The body of the request that a client is sending: decoded as it is pulled, bounded, and asked for
//! with a 100 when the client waits for that.
//!
//! Not here: who pulls it, and what becomes of what is left of it.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;

use super::{Client, Talk};
use crate::model::config::Limits;
use crate::model::fields::Fields;
use crate::proxy::body::{Frame, Size};
use crate::proxy::error::Reason;
use crate::proxy::h1::{
    self, BodyDecoder, BodyEvent, ConnectionField, Expectation, Framing, RequestHead, ResponseParts,
};
use crate::proxy::pace::{LeastRate, Pace};
use crate::proxy::stream::Stream;
use crate::proxy::timers::{Alarm, Patience};

pub(in crate::proxy) struct Incoming {
    decoder: BodyDecoder,
    state: State,
    wait: Wait,
    size: Size,
    /// Of data, without its framing.
    received: u64,
    most: Option<u64>,
    bound: Duration,
    patience: Patience,
    pace: Pace,
    least: LeastRate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Failed(Reason),
}

/// Whether the client waits to be told before it sends the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Wait {
    Nothing,
    /// For a 100 that it has not been sent.
    Continue,
    /// It has been told.
    Over,
}

impl Default for Incoming {
    /// No body.
    fn default() -> Self {
        Self {
            decoder: BodyDecoder::new(Framing::None),
            state: State::Ended,
            wait: Wait::Nothing,
            size: Size::Known(0),
            received: 0,
            most: None,
            bound: Duration::ZERO,
            patience: Patience::default(),
            pace: Pace::default(),
            least: LeastRate {
                bytes_per_second: 0,
                grace: Duration::ZERO,
            },
        }
    }
}

impl Incoming {
    /// A declared length over the limit is refused before anything of it is read.
    pub(in crate::proxy) fn of(head: &RequestHead, limits: &Limits) -> Result<Self, Reason> {
        let (state, size) = match head.framing {
            Framing::None | Framing::Length(0) => (State::Ended, Size::Known(0)),
            Framing::Length(length) => (State::Open, Size::Known(length)),
            Framing::Chunked | Framing::UntilClose => (State::Open, Size::Unknown),
        };
        if let (Size::Known(length), Some(most)) = (size, limits.body_bytes)
            && length > most
        {
            return Err(Reason::BodyTooLarge);
        }
        let waits = head.expectation == Expectation::Continue && state == State::Open;
        Ok(Self {
            decoder: BodyDecoder::new(head.framing),
            state,
            wait: if waits { Wait::Continue } else { Wait::Nothing },
            size,
            received: 0,
            most: limits.body_bytes,
            bound: limits.body_timeout,
            patience: Patience::default(),
            pace: Pace::default(),
            least: LeastRate::of_body(size, limits),
        })
    }

    pub(in crate::proxy) fn wait(&self) -> Wait {
        self.wait
    }

    pub(in crate::proxy) fn received(&self) -> u64 {
        self.received
    }

    /// Nothing of it will be read any more, by its end or by its failure.
    pub(in crate::proxy) fn is_over(&self) -> bool {
        self.state != State::Open
    }

    pub(in crate::proxy) fn is_complete(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether the rest is surely small.
    pub(in crate::proxy) fn rest_is_within(&self, most: u64) -> bool {
        let declared = match self.size {
            Size::Known(length) => length.saturating_sub(self.received),
            Size::Unknown => 0,
        };
        let failed = matches!(self.state, State::Failed(_));
        !failed && self.wait != Wait::Continue && declared <= most
    }

    fn poll_late(&mut self, cx: &mut Context<'_>, alarm: &Alarm) -> Poll<()> {
        let silent = self.patience.poll(cx, alarm, self.bound);
        let slow = self.pace.poll(cx, alarm, self.least);
        if silent.is_ready() { silent } else { slow }
    }

    fn accept(&mut self, event: BodyEvent) -> Option<Result<Frame, Reason>> {
        match event {
            BodyEvent::Data(data) => {
                self.received += data.len() as u64;
                if self.most.is_some_and(|most| self.received > most) {
                    return Some(Err(self.fail(Reason::BodyTooLarge)));
                }
                if matches!(self.decoder, BodyDecoder::Length(0)) {
                    self.state = State::Ended;
                }
                Some(Ok(Frame::Data(data)))
            }
            BodyEvent::End(trailers) => {
                self.state = State::Ended;
                trailers.map(|trailers| Ok(Frame::Trailers(trailers)))
            }
            BodyEvent::NeedMore => None,
        }
    }

    fn fail(&mut self, reason: Reason) -> Reason {
        self.state = State::Failed(reason);
        reason
    }
}

/// A handle on the body that the connection's client is sending.
pub(in crate::proxy) struct ClientBody {
    client: Rc<Client>,
    size: Size,
}

impl ClientBody {
    pub(in crate::proxy) fn new(client: Rc<Client>) -> Self {
        let size = client.with_incoming(|incoming| incoming.size);
        Self { client, size }
    }

    pub(in crate::proxy) fn size(&self) -> Size {
        self.size
    }

    pub(in crate::proxy) fn wait(&self) -> Wait {
        self.client.with_incoming(|incoming| incoming.wait)
    }

    /// It is not the client that is waited for.
    pub(in crate::proxy) fn pause(&self) {
        let alarm = &self.client.alarm;
        self.client
            .with_incoming(|incoming| incoming.pace.pause(alarm));
    }

    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Reason>>> {
        self.client.poll_body(cx)
    }
}

impl Client {
    pub(in crate::proxy) fn poll_body(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Reason>>> {
        let mut io = self.io.borrow_mut();
        let (stream, talk) = io.talking();
        loop {
            let incoming = &mut talk.incoming;
            match incoming.state {
                State::Open => {}
                State::Ended => return Poll::Ready(None),
                State::Failed(reason) => return Poll::Ready(Some(Err(reason))),
            }
            match incoming.decoder.decode(&mut talk.inlet.buffer) {
                Ok(BodyEvent::NeedMore) => {}
                Ok(event) => match incoming.accept(event) {
                    Some(frame) => return Poll::Ready(Some(frame)),
                    None => continue,
                },
                Err(fault) => incoming.state = State::Failed(fault.into()),
            }
            if incoming.is_over() {
                continue;
            }
            talk.ask_for_body(cx, stream);
            let incoming = &mut talk.incoming;
            match talk.inlet.poll_fill(cx, stream, &self.proxy.buffers) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    incoming.state = State::Failed(Reason::ClientGone);
                }
                Poll::Ready(Ok(count)) => {
                    incoming.patience.renew();
                    incoming.pace.moved(count as u64, &self.alarm);
                }
                Poll::Pending => match incoming.poll_late(cx, &self.alarm) {
                    Poll::Ready(()) => {
                        incoming.state = State::Failed(Reason::BodyTimeout);
                    }
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}

impl Talk {
    /// Tells a client that waits for it to send its body.
    fn ask_for_body(&mut self, cx: &mut Context<'_>, stream: &mut Stream) {
        if self.incoming.wait == Wait::Continue {
            self.incoming.wait = Wait::Over;
            let parts = ResponseParts {
                status: StatusCode::CONTINUE,
                headers: &Fields::default(),
                framing: Framing::None,
                connection: ConnectionField::Omit,
                date: None,
            };
            h1::encode_response_head(&parts, self.out.front());
        }
        // Whether it is written, and whether it could be, shows when the connection's task comes by.
        let _ = self.out.poll_flush(cx, stream);
    }
}
