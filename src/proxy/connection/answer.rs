//! Writes a response to an HTTP/1 client: framing that this client understands, the head and the
//! first piece of the body in one write, the rest as fast as the client takes it.
//!
//! Not here: what is answered.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::DATE;
use http::{Method, StatusCode, Version};

use super::Next;
use crate::model::fields::Fields;
use crate::proxy::body::{Body, Frame, Size};
use crate::proxy::client::Client;
use crate::proxy::error::Reason;
use crate::proxy::h1::{self, ConnectionField, Framing, Persistence, ResponseParts};
use crate::proxy::message::Response;
use crate::proxy::pace::{LeastRate, Pace};
use crate::proxy::timers::{Patience, before};
use crate::proxy::visit::Visit;

/// How much of a request body that nobody wanted is read to keep the connection.
const DISCARDED: u64 = 64 * 1024;

/// What of the request decides how it is answered.
pub(super) struct Asked {
    pub(super) version: Version,
    pub(super) method: Method,
    pub(super) persistence: Persistence,
}

/// How a response goes out.
struct Shape {
    framing: Framing,
    /// Whether the body is sent at all.
    body: Sent,
    persistence: Persistence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Body,
    HeadOnly,
}

pub(super) async fn answer(
    client: &Rc<Client>,
    response: Box<Response>,
    asked: &Asked,
    visit: &mut Visit,
) -> Next {
    let Response {
        status,
        headers,
        body,
    } = *response;
    visit.seen.status = Some(status);
    if let Body::Switched(switched) = body {
        // Apart: a response that ends would carry its room along.
        return Box::pin(tunnel(client, status, headers, *switched, visit)).await;
    }
    let shape = shape(client, status, body.size(), asked);
    encode(client, status, &headers, &shape, asked);
    // They share the buffer that the body is read with.
    client.proxy.scratch.keep(headers);
    let limits = &visit.active.snapshot.limits;
    let mut sending = Sending {
        client,
        ended: shape.body == Sent::HeadOnly,
        broken: None,
        framing: shape.framing,
        patience: Patience::default(),
        bound: limits.write_timeout,
        pace: Pace::default(),
        least: LeastRate::of_response(limits),
        bytes: 0,
        body: if shape.body == Sent::HeadOnly {
            Body::Empty
        } else {
            body
        },
    };
    let work = pin!(poll_fn(|cx| sending.poll(cx)));
    let sent = before(visit.due, &client.alarm, work).await;
    let sent = sent.unwrap_or(Err(Reason::RequestTimeout));
    visit.seen.response_bytes = sending.bytes;
    match sent {
        Ok(()) => settle(client, &mut sending.body, shape.persistence).await,
        Err(reason) => {
            visit.seen.reason = Some(reason);
            give_up(shape.framing, reason)
        }
    }
}

/// An end that the client can tell from the end of the body. Short of a length or of the last chunk
/// it may be an orderly one, which lets all that was sent arrive.
fn give_up(framing: Framing, reason: Reason) -> Next {
    match framing {
        Framing::UntilClose => Next::Break,
        _ if reason == Reason::ClientStalled => Next::Break,
        _ => Next::Close,
    }
}

fn shape(client: &Client, status: StatusCode, size: Size, asked: &Asked) -> Shape {
    let bodyless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let body = if bodyless || asked.method == Method::HEAD {
        Sent::HeadOnly
    } else {
        Sent::Body
    };
    let framing = match size {
        // The length of another response, which the headers may tell, is left as it is.
        Size::Known(0) if body == Sent::HeadOnly => Framing::None,
        _ if bodyless => Framing::None,
        Size::Known(length) => Framing::Length(length),
        Size::Unknown if asked.version == Version::HTTP_11 => Framing::Chunked,
        Size::Unknown if body == Sent::HeadOnly => Framing::None,
        Size::Unknown => Framing::UntilClose,
    };
    let mut persistence = asked.persistence;
    let rest_is_small = client.with_incoming(|incoming| incoming.rest_is_within(DISCARDED));
    if framing == Framing::UntilClose || client.is_to_leave() || !rest_is_small {
        persistence = Persistence::Close;
    }
    Shape {
        framing,
        body,
        persistence,
    }
}

fn encode(client: &Client, status: StatusCode, headers: &Fields, shape: &Shape, asked: &Asked) {
    let connection = match (shape.persistence, asked.version) {
        (Persistence::Close, _) => ConnectionField::Close,
        (Persistence::KeepAlive, Version::HTTP_11) => ConnectionField::Omit,
        (Persistence::KeepAlive, _) => ConnectionField::KeepAlive,
    };
    let date = (!headers.contains(&DATE)).then(|| client.proxy.date.now());
    let parts = ResponseParts {
        status,
        headers,
        framing: shape.framing,
        connection,
        date: date.as_ref().map(|date| &date[..]),
    };
    client.prepare_out();
    client.with_out(|out| h1::encode_response_head(&parts, out.front()));
}

/// A response body on its way to the client.
struct Sending<'a> {
    client: &'a Client,
    body: Body,
    ended: bool,
    /// The body broke off: what came before it is still sent.
    broken: Option<Reason>,
    framing: Framing,
    patience: Patience,
    bound: Duration,
    pace: Pace,
    least: LeastRate,
    bytes: u64,
}

impl Sending<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        loop {
            let starved = self.gather(cx);
            match self.poll_flush(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(reason)) => return Poll::Ready(Err(reason)),
                Poll::Pending => {
                    // While the client takes its time, the rest of its request goes on.
                    let _ = self.body.poll_push(cx);
                    return Poll::Pending;
                }
            }
            if let Some(reason) = self.broken {
                return Poll::Ready(Err(reason));
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            if starved {
                return self.client.poll_gone(cx).map(Err);
            }
        }
    }

    /// Writes what waits, to a client that takes it neither too late nor too slowly.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        let client = self.client;
        let before = client.with_out(|out| out.total());
        let flushed = client.poll_flush(cx, &mut self.patience, self.bound);
        let written = client.with_out(|out| out.total()) - before;
        self.pace.moved(written, &client.alarm);
        if flushed.is_ready() {
            return flushed;
        }
        let slow = self.pace.poll(cx, &client.alarm, self.least);
        slow.map(|()| Err(Reason::ClientStalled))
    }

    /// Takes what the body has to give right now; true when it has to be waited for.
    fn gather(&mut self, cx: &mut Context<'_>) -> bool {
        while !self.ended && self.client.with_out(|out| out.has_room()) {
            match self.body.poll_frame(cx) {
                Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                    self.bytes += data.len() as u64;
                    self.client.with_out(|out| out.push(data, self.framing));
                }
                Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                    self.client
                        .with_out(|out| out.end(Some(&trailers), self.framing));
                    self.ended = true;
                }
                Poll::Ready(None) => {
                    self.client.with_out(|out| out.end(None, self.framing));
                    self.ended = true;
                }
                Poll::Ready(Some(Err(reason))) => {
                    self.broken = Some(reason);
                    self.ended = true;
                }
                Poll::Pending => return true,
            }
        }
        false
    }
}

/// The response is out. What is left of the request goes to the upstream if that takes it; else a
/// little of it is read to keep the connection.
async fn settle(client: &Client, body: &mut Body, persistence: Persistence) -> Next {
    poll_fn(|cx| body.poll_push(cx)).await;
    if persistence == Persistence::KeepAlive {
        discard_rest(client).await;
    }
    let complete = client.with_incoming(|incoming| incoming.is_complete());
    match (complete, persistence) {
        (true, Persistence::KeepAlive) => Next::Keep,
        (true, Persistence::Close) if !client.has_input() => Next::Close,
        _ => Next::Linger,
    }
}

async fn discard_rest(client: &Client) {
    let mut left = DISCARDED;
    while left > 0 {
        match poll_fn(|cx| client.poll_body(cx)).await {
            Some(Ok(Frame::Data(data))) => left = left.saturating_sub(data.len() as u64),
            Some(Ok(Frame::Trailers(_))) => {}
            Some(Err(_)) | None => return,
        }
    }
}

async fn tunnel(
    client: &Rc<Client>,
    status: StatusCode,
    headers: Fields,
    switched: crate::proxy::tunnel::Switched,
    visit: &mut Visit,
) -> Next {
    let parts = ResponseParts {
        status,
        headers: &headers,
        framing: Framing::None,
        connection: ConnectionField::Upgrade(switched.protocol.as_bytes()),
        date: None,
    };
    client.with_out(|out| h1::encode_response_head(&parts, out.front()));
    // From here on it takes what two connections take.
    visit.room = None;
    let mut patience = Patience::default();
    let bound = visit.active.snapshot.limits.write_timeout;
    if let Err(reason) = poll_fn(|cx| client.poll_flush(cx, &mut patience, bound)).await {
        visit.seen.reason = Some(reason);
        return Next::Close;
    }
    let passing = visit.tunnel_opened();
    let silence = visit.longest_silence();
    let ended = Box::pin(switched.far.run(client, silence, &passing)).await;
    visit.seen.request_bytes = passing.to_upstream();
    visit.seen.response_bytes = passing.to_client();
    visit.seen.reason = ended.err();
    Next::Close
}
