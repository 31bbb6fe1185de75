//! One request and its response over one connection to an upstream, driven by the task that wants the
//! response: while it waits for that, it sends the request.
//!
//! Not here: which endpoint, whether to try again and how long all of it may take (`forward`).

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, StatusCode};

use super::upload::Upload;
use crate::proxy::Proxy;
use crate::proxy::error::Reason;
use crate::proxy::h1::{self, HeadLimits, HeadScanner, ResponseHead, ResponseKind};
use crate::proxy::inlet::Inlet;
use crate::proxy::interim::Interim;
use crate::proxy::stream::Stream;
use crate::proxy::timers::{Alarm, Patience};

/// What an upstream may send as a head: more than any of the applications that are known for it.
const HEAD_LIMITS: HeadLimits = HeadLimits {
    header_bytes: 128 * 1024,
    header_count: 256,
    request_line_bytes: 8 * 1024,
};
/// Interim responses to one request.
const MOST_INTERIM: u32 = 32;

pub(in crate::proxy) struct Exchange {
    pub(in crate::proxy) stream: Stream,
    pub(in crate::proxy) inlet: Inlet,
    pub(in crate::proxy) upload: Upload,
    pub(super) proxy: Rc<Proxy>,
    pub(super) alarm: Rc<Alarm>,
    scanner: HeadScanner,
    patience: Patience,
    bound: Duration,
    heard: Heard,
}

/// Whether the upstream has said anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
}

impl Exchange {
    pub(in crate::proxy) fn new(
        proxy: &Rc<Proxy>,
        alarm: &Rc<Alarm>,
        stream: Stream,
        upload: Upload,
        bound: Duration,
    ) -> Self {
        Self {
            stream,
            inlet: Inlet::default(),
            upload,
            proxy: Rc::clone(proxy),
            alarm: Rc::clone(alarm),
            scanner: HeadScanner::default(),
            patience: Patience::default(),
            bound,
            heard: Heard::Nothing,
        }
    }

    /// Sends the request and waits for the head of the final response, passing interim ones on. May
    /// be dropped at any time: the connection closes, and the upstream sees its client gone.
    pub(in crate::proxy) async fn head(
        &mut self,
        method: &Method,
        interim: &Interim,
    ) -> Result<Box<ResponseHead>, Reason> {
        for _ in 0..MOST_INTERIM {
            let head = poll_fn(|cx| self.poll_head(cx, method)).await?;
            if head.kind != ResponseKind::Interim {
                self.upload.cut_if_gated();
                return Ok(head);
            }
            if head.status == StatusCode::CONTINUE {
                self.upload.open_gate();
            }
            interim.pass_on(*head);
            self.patience.renew();
        }
        Err(Reason::UpstreamMalformed)
    }

    /// Whether the connection died without a sign that the request was seen.
    pub(in crate::proxy) fn was_dead(&self) -> bool {
        self.heard == Heard::Nothing
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
    ) -> Poll<Result<Box<ResponseHead>, Reason>> {
        let sent = match self.upload.poll(cx, &mut self.stream, &self.alarm) {
            Poll::Ready(Err(reason)) => return Poll::Ready(Err(reason)),
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        loop {
            if !self.inlet.buffer.is_empty() {
                let scratch = &self.proxy.scratch;
                let (mut spare, buffer) = (scratch.fields(), &mut self.inlet.buffer);
                let scanner = &mut self.scanner;
                match h1::parse_response_into(&mut spare, buffer, &HEAD_LIMITS, scanner, method) {
                    Ok(Some(head)) => return Poll::Ready(Ok(Box::new(head))),
                    Ok(None) => scratch.keep(spare),
                    Err(fault) => return Poll::Ready(Err(fault.into())),
                }
            }
            match self
                .inlet
                .poll_fill(cx, &mut self.stream, &self.proxy.buffers)
            {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Reason::UpstreamClosed)),
                Poll::Ready(Ok(_)) => {
                    self.heard = Heard::Something;
                }
                Poll::Pending if sent => {
                    let late = self.patience.poll(cx, &self.alarm, self.bound);
                    return late.map(|()| Err(Reason::UpstreamTimeout));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
