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
use http::header::{CONTENT_LENGTH, DATE, HeaderValue, SEC_WEBSOCKET_ACCEPT};
use http::{Method, StatusCode};

use super::fields::{declare_length, map_of};
use super::inflow::Shared;
use super::outflow::{Outflow, Progress};
use super::reply::Reply;
use super::tunnel;
use crate::model::fields::{Fields, Role, Roles};
use crate::proxy::body::{Body, Size};
use crate::proxy::error::Reason;
use crate::proxy::message::Response;
use crate::proxy::pace::{LeastRate, Pace};
use crate::proxy::timers::{Patience, before};
use crate::proxy::tunnel::Switched;
use crate::proxy::visit::Visit;

const OF_CONNECTION: Roles = Roles::of(&[Role::Connection, Role::Encoding, Role::Upgrade]);

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
    response: Box<Response>,
    method: &Method,
    tunnel: Option<Shared>,
    visit: &mut Visit,
) -> Answered {
    let Response {
        status,
        mut headers,
        body,
    } = *response;
    let body = match (body, tunnel) {
        (Body::Switched(switched), Some(stream)) => {
            return carry(reply, headers, *switched, stream, visit).await;
        }
        (body, _) => body,
    };
    visit.seen.status = Some(status);
    let bodyless = status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || *method == Method::HEAD;
    let size = body.size();
    frame(status, &mut headers, size, bodyless, visit);
    let is_all = bodyless || size == Size::Known(0);
    let body = if is_all { Body::Empty } else { body };
    let sent = head_of(status, &headers).and_then(|head| reply.send(head, is_all));
    visit.proxy.scratch.keep(headers);
    match sent {
        Ok(out) => send_body(reply, out, body, size, visit).await,
        Err(reason) => Answered::Broken(reason),
    }
}

/// Says that the tunnel stands, and is it.
async fn carry(
    reply: &Reply,
    mut headers: Fields,
    switched: Switched,
    stream: Shared,
    visit: &mut Visit,
) -> Answered {
    let status = StatusCode::OK;
    visit.seen.status = Some(status);
    // Of the upstream's 101, what has no place in the answer.
    headers.remove(&SEC_WEBSOCKET_ACCEPT);
    frame(status, &mut headers, Size::Unknown, false, visit);
    let sent = head_of(status, &headers).and_then(|head| reply.send(head, false));
    let out = match sent {
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
pub(super) fn frame(
    status: StatusCode,
    headers: &mut Fields,
    size: Size,
    bodyless: bool,
    visit: &Visit,
) {
    if headers.may_have(OF_CONNECTION) {
        headers.retain(|role, _| !OF_CONNECTION.has(role));
    }
    match size {
        // The length of another response, which the headers may tell, is left as it is; an answer
        // that ends with its head needs none.
        _ if bodyless => {}
        Size::Known(0) => {}
        Size::Known(length) => declare_length(headers, length),
        Size::Unknown => headers.remove(&CONTENT_LENGTH),
    }
    if status == StatusCode::NO_CONTENT {
        headers.remove(&CONTENT_LENGTH);
    }
    if !headers.contains(&DATE)
        && let Ok(date) = HeaderValue::from_bytes(&visit.proxy.date.now())
    {
        headers.insert(&DATE, &date);
    }
}

pub(super) fn head_of(status: StatusCode, headers: &Fields) -> Result<http::Response<()>, Reason> {
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = map_of(headers).map_err(|_| Reason::UpstreamMalformed)?;
    Ok(head)
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
