//! The body of an upstream's answer over HTTP/2. Pulling it also sends what is left of the request;
//! the upstream may send more only when what came before has been taken.
//!
//! Not here: the head of the answer. Dropped before its end, the upstream sees the request cancelled.

use std::task::{Context, Poll};
use std::time::Duration;

use super::call::{Call, Upload};
use super::sessions::Seat;
use crate::proxy::body::{Frame, Size};
use crate::proxy::error::Reason;
use crate::proxy::h1::{Framing, ResponseHead};
use crate::proxy::http2::{Inflow, trailers_of};
use crate::proxy::timers::Patience;
use crate::proxy::upstream::hold::Hold;

pub(in crate::proxy) struct CallBody {
    upload: Upload,
    stream: Option<Inflow>,
    size: Size,
    state: State,
    /// Given away, and perhaps not yet passed on: what the window is still smaller by.
    held: usize,
    /// What went wrong with the rest of the request while the response was not looked at.
    fault: Option<Reason>,
    /// Given back with the body.
    _seat: Seat,
    hold: Hold,
    /// How long the upstream may be silent once it has the request.
    idle: Duration,
    patience: Patience,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    Ended,
}

impl CallBody {
    pub(in crate::proxy) fn new(mut call: Call, head: &ResponseHead, hold: Hold) -> Self {
        let size = match head.framing {
            Framing::None => Size::Known(0),
            Framing::Length(length) => Size::Known(length),
            Framing::Chunked | Framing::UntilClose => Size::Unknown,
        };
        let stream = call.take_stream().map(Inflow::new);
        let over = size == Size::Known(0) || stream.is_none();
        Self {
            upload: call.upload,
            stream,
            size,
            state: if over { State::Ended } else { State::Data },
            held: 0,
            fault: None,
            _seat: call.seat,
            hold,
            idle: call.bounds.idle,
            patience: Patience::default(),
        }
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
        if let Poll::Ready(Err(reason)) = self.upload.poll(cx) {
            self.fault = Some(reason);
        }
        if let Some(reason) = self.fault {
            return Poll::Ready(Some(Err(self.end(reason))));
        }
        self.open_window();
        if self.state == State::Data {
            match self.poll_data(cx) {
                Poll::Ready(None) => self.state = State::Trailers,
                other => return other,
            }
        }
        self.poll_trailers(cx)
    }

    /// What is left of the request still goes to an upstream that takes it; ready when it is sent, or
    /// is not wanted any more. What comes of the answer meanwhile is taken in.
    pub(in crate::proxy) fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(stream) = &mut self.stream {
            stream.take_in(cx);
        }
        self.upload.poll(cx).map(|sent| {
            if let Err(reason) = sent {
                self.fault = Some(reason);
            }
        })
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Reason>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        match stream.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => {
                self.patience.renew();
                self.held = data.len();
                Poll::Ready(Some(Ok(Frame::Data(data))))
            }
            Poll::Ready(Some(Err(_))) => {
                Poll::Ready(Some(Err(self.end(Reason::UpstreamBodyBroken))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_late(cx),
        }
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Reason>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let Poll::Ready(trailers) = stream.poll_trailers(cx) else {
            return self.poll_late(cx);
        };
        self.state = State::Ended;
        Poll::Ready(match trailers {
            Ok(Some(trailers)) => Some(Ok(Frame::Trailers(trailers_of(&trailers)))),
            Ok(None) => None,
            Err(_) => Some(Err(self.end(Reason::UpstreamBodyBroken))),
        })
    }

    fn open_window(&mut self) {
        let held = std::mem::take(&mut self.held);
        if let Some(stream) = &mut self.stream
            && held > 0
        {
            stream.release(held);
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Reason>>> {
        // It may be waiting for the rest of the request.
        if !self.upload.is_over() {
            self.patience.renew();
            return Poll::Pending;
        }
        let late = self.patience.poll(cx, &self.upload.alarm, self.idle);
        late.map(|()| Some(Err(self.end(Reason::UpstreamIdle))))
    }

    fn end(&mut self, reason: Reason) -> Reason {
        self.hold.failed(reason);
        self.state = State::Ended;
        self.stream = None;
        reason
    }
}
