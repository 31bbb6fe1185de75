//! The deadline of a gRPC call: `grpc-timeout`, from when the request came. When it has passed the
//! upstream's work is cancelled, and the client is told so, in trailers where the answer has begun.
//!
//! Not here: timeouts of the configuration.

use std::rc::Rc;
use std::task::{Context, Poll};

use super::{TIMEOUT, tell};
use crate::model::fields::Fields;
use crate::model::grpc::parse_timeout;
use crate::proxy::body::{Body, Frame, Size};
use crate::proxy::error::Reason;
use crate::proxy::message::Response;
use crate::proxy::timers::{Alarm, Tick};

/// Until when a call may take; `None` where it does not say, or says nothing that can be read.
pub(in crate::proxy) fn due(headers: &Fields, alarm: &Alarm) -> Option<Tick> {
    let value = headers.get(&TIMEOUT)?;
    parse_timeout(value).map(|timeout| alarm.now().after(timeout))
}

/// Holds an answer to the deadline.
pub(in crate::proxy) fn bound(response: &mut Response, due: Tick, alarm: &Rc<Alarm>) {
    let body = &mut response.body;
    if body.size() == Size::Known(0) {
        return;
    }
    let whole = std::mem::replace(body, Body::Empty);
    *body = Body::Bounded(Box::new(Bounded {
        body: whole,
        due,
        alarm: Rc::clone(alarm),
    }));
}

/// The body of an answer with a deadline.
pub(in crate::proxy) struct Bounded {
    body: Body,
    due: Tick,
    alarm: Rc<Alarm>,
}

impl Bounded {
    pub(in crate::proxy) fn size(&self) -> Size {
        self.body.size()
    }

    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Reason>>> {
        if let Poll::Ready(frame) = self.body.poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.alarm.poll(cx, self.due).map(|()| {
            // With it goes what the upstream does for it.
            self.body = Body::Empty;
            let mut trailers = Fields::default();
            tell(&mut trailers, Reason::GrpcDeadline);
            Some(Ok(Frame::Trailers(trailers)))
        })
    }

    pub(in crate::proxy) fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.body.poll_push(cx)
    }
}
