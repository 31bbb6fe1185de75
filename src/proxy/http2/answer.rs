//! Writes a response to a client of HTTP/2: the head, then the body as fast as flow control lets it,
//! each piece held here until there is room for it, trailers last.
//!
//! Not here: what is answered.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Response, StatusCode, response};

use super::inflow::Shared;
use super::outflow::{Outflow, Progress};
use super::reply::Reply;
use super::tunnel;
use crate::proxy::body::{Body, Size};
use crate::proxy::error::Reason;
use crate::proxy::pace::{LeastRate, Pace};
use crate::proxy::respond::BoxedResponse;
use crate::proxy::timers::{Patience, before};
use crate::proxy::tunnel::Switched;
use crate::proxy::visit::Visit;

/// What became of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    Whole,
    Broken(Reason),
    /// A tunnel's, by one of its ends or for its silence.
    Cut(Reason),
}

impl Answered {
    /// How a response that breaks off is broken off: `None` for one that does not. A tunnel's reset is
    /// that of its connection (RFC 8441, section 5).
    pub(super) fn failure(self) -> Option<(Reason, h2::Reason)> {
        match self {
            Self::Whole => None,
            Self::Broken(reason @ (Reason::ClientStalled | Reason::ClientGone))
            | Self::Cut(reason) => Some((reason, h2::Reason::CANCEL)),
            Self::Broken(reason) => Some((reason, h2::Reason::INTERNAL_ERROR)),
        }
    }
}

pub(super) async fn answer(
    reply: &Reply,
    response: BoxedResponse,
    method: &Method,
    tunnel: Option<Shared>,
    visit: &mut Visit,
) -> Answered {
    let (mut head, body) = (*response).into_parts();
    let body = match (body, tunnel) {
        (Body::Switched(switched), Some(stream)) => {
            return carry(reply, head, *switched, stream, visit).await;
        }
        (body, _) => body,
    };
    visit.seen.status = Some(head.status);
    let bodyless = head.status == StatusCode::NO_CONTENT
        || head.status == StatusCode::NOT_MODIFIED
        || *method == Method::HEAD;
    let size = body.size();
    frame(&mut head, size, bodyless, visit);
    let is_all = bodyless || size == Size::Known(0);
    let body = if is_all { Body::Empty } else { body };
    match reply.send(without_body(head), is_all) {
        Ok(out) => send_body(reply, out, body, size, visit).await,
        Err(reason) => Answered::Broken(reason),
    }
}

/// Says that the tunnel stands, and is it.
async fn carry(
    reply: &Reply,
    mut head: response::Parts,
    switched: Switched,
    stream: Shared,
    visit: &mut Visit,
) -> Answered {
    head.status = StatusCode::OK;
    visit.seen.status = Some(head.status);
    tunnel::strip(&mut head.headers);
    frame(&mut head, Size::Unknown, false, visit);
    let out = match reply.send(without_body(head), false) {
        Ok(out) => out,
        Err(reason) => return Answered::Broken(reason),
    };
    // From here on it takes what a stream and a connection take.
    visit.room = None;
    let passing = visit.tunnel_opened();
    let terms = tunnel::Terms {
        buffers: &visit.proxy.buffers,
        alarm: &reply.alarm,
        silence: visit.longest_silence(),
        passing: &passing,
        watch: &reply.watch,
    };
    let ended = Box::pin(tunnel::run(switched.far, stream, out, &terms)).await;
    visit.seen.request_bytes = passing.to_upstream();
    visit.seen.response_bytes = passing.to_client();
    ended.map_or_else(Answered::Cut, |()| Answered::Whole)
}

/// The headers of framing are ours to write; those of a connection have no place in HTTP/2.
pub(super) fn frame(head: &mut response::Parts, size: Size, bodyless: bool, visit: &Visit) {
    let headers = &mut head.headers;
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    match size {
        // The length of another response, which the headers may tell, is left as it is; an answer
        // that ends with its head needs none.
        _ if bodyless => {}
        Size::Known(0) => {}
        Size::Known(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Size::Unknown => {
            headers.remove(CONTENT_LENGTH);
        }
    }
    if head.status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    if !headers.contains_key(DATE)
        && let Ok(date) = HeaderValue::from_bytes(&visit.proxy.date.now())
    {
        headers.insert(DATE, date);
    }
}

pub(super) fn without_body(head: response::Parts) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

async fn send_body(
    reply: &Reply,
    out: SendStream<Bytes>,
    body: Body,
    size: Size,
    visit: &mut Visit,
) -> Answered {
    let flow = match body {
        Body::Empty => Outflow::ended(out, body),
        body => Outflow::new(out, body, size),
    };
    let limits = &visit.active.snapshot.limits;
    let mut sending = Sending {
        reply,
        flow,
        patience: Patience::default(),
        bound: limits.write_timeout,
        pace: Pace::default(),
        least: LeastRate::of_response(limits),
        carried: reply.watch.carried(),
    };
    let sent = {
        let work = pin!(poll_fn(|cx| sending.poll(cx)));
        before(visit.due, &reply.alarm, work).await
    };
    let sent = sent.unwrap_or(Err(Reason::RequestTimeout));
    visit.seen.response_bytes = sending.flow.sent;
    match sent {
        Ok(()) => {
            // What is left of the request goes on to an upstream that takes it, for as long as the
            // client sends it.
            poll_fn(|cx| sending.flow.source.poll_push(cx)).await;
            Answered::Whole
        }
        Err(reason) => Answered::Broken(reason),
    }
}

/// A response body on its way to the client.
struct Sending<'a> {
    reply: &'a Reply,
    flow: Outflow<Body>,
    patience: Patience,
    bound: Duration,
    pace: Pace,
    least: LeastRate,
    /// Of the whole connection, when it was last looked at.
    carried: u64,
}

impl Sending<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        let before = self.flow.sent;
        let progress = self.flow.poll(cx);
        if self.flow.sent != before {
            self.patience.renew();
            self.reply.watch.carry(self.flow.sent - before);
        }
        if progress != Progress::WaitsForRoom {
            self.pace.pause(&self.reply.alarm);
        }
        match progress {
            Progress::Done => Poll::Ready(Ok(())),
            Progress::Broken(reason) => Poll::Ready(Err(reason)),
            Progress::Unwanted => Poll::Ready(Err(Reason::ClientGone)),
            Progress::WaitsForSource => {
                let gone = self.flow.out.poll_reset(cx);
                gone.map(|_| Err(Reason::ClientGone))
            }
            Progress::WaitsForRoom => {
                // While the client takes its time, the rest of its request goes on.
                let _ = self.flow.source.poll_push(cx);
                let stalled = self.patience.poll(cx, &self.reply.alarm, self.bound);
                let slow = self.poll_slow(cx);
                let given_up = if stalled.is_ready() { stalled } else { slow };
                given_up.map(|()| Err(Reason::ClientStalled))
            }
        }
    }

    /// Ready once the client is too slow. Streams share its line: what any of them takes counts for all.
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (carried, alarm) = (self.reply.watch.carried(), &self.reply.alarm);
        let before = std::mem::replace(&mut self.carried, carried);
        self.pace.moved(carried - before, alarm);
        self.pace.poll(cx, alarm, self.least)
    }
}

/// A reset takes back what still waits to be written, as flow control cannot: the connection's task
/// gets its turn before.
pub(super) async fn let_out() {
    for _ in 0..2 {
        tokio::task::yield_now().await;
    }
}
