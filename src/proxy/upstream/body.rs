//! The body of an upstream's response. Pulling it also sends what is left of the request; when both
//! are through, the connection goes back to its endpoint.
//!
//! Not here: the head of the response, and what a client makes of a body that breaks off.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::endpoint::Owner;
use super::exchange::Exchange;
use super::hold::Hold;
use crate::model::config::Keepalive;
use crate::proxy::Proxy;
use crate::proxy::body::{Frame, Size};
use crate::proxy::error::Reason;
use crate::proxy::h1::{BodyDecoder, BodyEvent, Framing, Persistence, ResponseHead};
use crate::proxy::inlet::Inlet;
use crate::proxy::timers::{Alarm, Patience};

pub(in crate::proxy) struct UpstreamBody {
    proxy: Rc<Proxy>,
    alarm: Rc<Alarm>,
    /// `None` once the connection has been given back or closed.
    link: Option<Box<Exchange>>,
    /// Given back last: pieces of it are on their way to the client.
    inlet: Inlet,
    decoder: BodyDecoder,
    size: Size,
    state: State,
    /// What went wrong with the rest of the request while the response was not looked at.
    fault: Option<Reason>,
    persistence: Persistence,
    /// How long the upstream may be silent once it has the request.
    idle: Duration,
    patience: Patience,
    /// `None` with the link.
    back: Option<Return>,
}

/// Where the connection goes afterwards.
pub(in crate::proxy) struct Return {
    pub(in crate::proxy) hold: Hold,
    pub(in crate::proxy) bounds: Keepalive,
    pub(in crate::proxy) owner: Owner,
    /// How long the upstream may be silent until then.
    pub(in crate::proxy) idle: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Streaming,
    Ended,
}

impl UpstreamBody {
    /// Of a final response whose head has been read.
    pub(in crate::proxy) fn new(
        mut exchange: Box<Exchange>,
        head: &ResponseHead,
        back: Return,
    ) -> Self {
        let mut body = Self {
            proxy: Rc::clone(&exchange.proxy),
            alarm: Rc::clone(&exchange.alarm),
            inlet: std::mem::take(&mut exchange.inlet),
            link: Some(exchange),
            decoder: BodyDecoder::new(head.framing),
            size: match head.framing {
                Framing::None => Size::Known(0),
                Framing::Length(length) => Size::Known(length),
                Framing::Chunked | Framing::UntilClose => Size::Unknown,
            },
            state: State::Streaming,
            fault: None,
            persistence: head.persistence,
            idle: back.idle,
            patience: Patience::default(),
            back: Some(back),
        };
        if body.size == Size::Known(0) {
            body.end();
        }
        body
    }

    pub(in crate::proxy) fn size(&self) -> Size {
        self.size
    }

    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Reason>>> {
        if self.state == State::Ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(Err(reason)) = self.poll_upload(cx) {
            self.fault = Some(reason);
        }
        if let Some(reason) = self.fault {
            self.close();
            return Poll::Ready(Some(Err(reason)));
        }
        let frame = self.poll_download(cx);
        if let Poll::Ready(Some(Err(reason))) = &frame {
            if let Some(back) = &self.back {
                back.hold.failed(*reason);
            }
            self.close();
        }
        frame
    }

    /// After the end of the response, the rest of the request still goes to an upstream that takes
    /// it; ready when it is sent, or is not wanted any more.
    pub(in crate::proxy) fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_upload(cx) {
            Poll::Ready(Ok(())) if self.state == State::Ended => self.give_back(),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(reason)) => {
                self.fault = Some(reason);
                self.close();
            }
            Poll::Pending if self.state == State::Ended => return self.poll_upstream_end(cx),
            Poll::Pending => return Poll::Pending,
        }
        Poll::Ready(())
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        match self.link.as_deref_mut() {
            Some(Exchange { stream, upload, .. }) => upload.poll(cx, stream, &self.alarm),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_download(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Reason>>> {
        let broken = || Poll::Ready(Some(Err(Reason::UpstreamBodyBroken)));
        loop {
            match self.decoder.decode(&mut self.inlet.buffer) {
                Ok(BodyEvent::Data(data)) => {
                    if matches!(self.decoder, BodyDecoder::Length(0)) {
                        self.end();
                    }
                    return Poll::Ready(Some(Ok(Frame::Data(data))));
                }
                Ok(BodyEvent::End(trailers)) => {
                    self.end();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::Trailers(trailers))));
                }
                Ok(BodyEvent::NeedMore) => {}
                Err(_) => return broken(),
            }
            let Some(Exchange { stream, upload, .. }) = self.link.as_deref_mut() else {
                return broken();
            };
            match self.inlet.poll_fill(cx, stream, &self.proxy.buffers) {
                Poll::Ready(Ok(0)) if self.decoder.ends_at_close() => {
                    self.end();
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(0) | Err(_)) => return broken(),
                Poll::Ready(Ok(_)) => self.patience.renew(),
                // It may be waiting for the rest of the request.
                Poll::Pending if !upload.is_over() => {
                    self.patience.renew();
                    return Poll::Pending;
                }
                Poll::Pending => {
                    let late = self.patience.poll(cx, &self.alarm, self.idle);
                    return late.map(|()| Some(Err(Reason::UpstreamIdle)));
                }
            }
        }
    }

    fn end(&mut self) {
        self.state = State::Ended;
        if let Some(link) = &mut self.link {
            let closes = self.persistence == Persistence::Close || !self.inlet.buffer.is_empty();
            if closes {
                link.upload.cut();
            }
            if link.upload.is_over() {
                self.give_back();
            }
        }
    }

    /// A connection on which nothing is left to do is kept; any other is closed.
    fn give_back(&mut self) {
        let Some(exchange) = self.link.take() else {
            return;
        };
        let Exchange { stream, upload, .. } = *exchange;
        let is_clean = upload.is_done() && self.inlet.buffer.is_empty();
        if let Some(Return {
            hold,
            bounds,
            owner,
            ..
        }) = self.back.take()
            && is_clean
            && self.persistence == Persistence::KeepAlive
        {
            let now = self.alarm.about_now();
            hold.endpoint().keep(stream, bounds, now, &owner);
        }
        self.proxy.buffers.give(upload.into_buffer());
    }

    fn close(&mut self) {
        self.link = None;
        self.back = None;
    }

    /// The response is through and the request is not: an upstream that closes wants no more of it.
    fn poll_upstream_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Exchange { stream, .. }) = self.link.as_deref_mut() else {
            return Poll::Ready(());
        };
        match self.inlet.poll_fill(cx, stream, &self.proxy.buffers) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => {
                self.close();
                Poll::Ready(())
            }
        }
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        self.inlet.buffer.clear();
        self.inlet.rest(&self.proxy.buffers);
    }
}
