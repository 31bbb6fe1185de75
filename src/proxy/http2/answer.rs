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
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Response, StatusCode, response};

use super::reply::Reply;
use crate::proxy::body::{Body, Frame, Size};
use crate::proxy::error::Reason;
use crate::proxy::timers::{Patience, before};
use crate::proxy::visit::Visit;

/// What became of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    Whole,
    Broken(Reason),
}

pub(super) async fn answer(
    reply: &Reply,
    response: Response<Body>,
    method: &Method,
    visit: &mut Visit,
) -> Answered {
    let (mut head, body) = response.into_parts();
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

/// The headers of framing are ours to write; those of a connection have no place in HTTP/2.
fn frame(head: &mut response::Parts, size: Size, bodyless: bool, visit: &Visit) {
    let headers = &mut head.headers;
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    match size {
        // The length of another response, which the headers may tell, is left as it is.
        _ if bodyless => {}
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

fn without_body(head: response::Parts) -> Response<()> {
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
    let mut sending = Sending {
        reply,
        out,
        state: match body {
            Body::Empty => State::Ended,
            _ => State::Open,
        },
        body,
        left: size,
        data: Bytes::new(),
        patience: Patience::default(),
        bound: visit.active.snapshot.limits.write_timeout,
        bytes: 0,
    };
    let work = pin!(poll_fn(|cx| sending.poll(cx)));
    let sent = before(visit.due, &reply.alarm, work).await;
    let sent = sent.unwrap_or(Err(Reason::RequestTimeout));
    visit.seen.response_bytes = sending.bytes;
    match sent {
        Ok(()) => {
            sending.settle().await;
            Answered::Whole
        }
        Err(reason) => Answered::Broken(reason),
    }
}

/// A response body on its way to the client.
struct Sending<'a> {
    reply: &'a Reply,
    out: SendStream<Bytes>,
    body: Body,
    state: State,
    /// Of the body, not pulled yet.
    left: Size,
    /// Waits for room.
    data: Bytes,
    patience: Patience,
    bound: Duration,
    bytes: u64,
}

#[derive(Debug)]
enum State {
    Open,
    /// Everything is pulled; this comes after the data.
    Ending(Option<HeaderMap>),
    /// The body broke off: what came before it is still sent.
    Breaking(Reason),
    Ended,
}

impl Sending<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        loop {
            if self.data.is_empty() {
                match std::mem::replace(&mut self.state, State::Open) {
                    State::Open => match self.pull(cx) {
                        Poll::Ready(()) => continue,
                        Poll::Pending => return self.poll_gone(cx),
                    },
                    State::Ending(trailers) => return Poll::Ready(self.end(trailers)),
                    State::Breaking(reason) => return Poll::Ready(Err(reason)),
                    State::Ended => return Poll::Ready(Ok(())),
                }
            }
            match self.poll_room(cx) {
                Poll::Ready(Ok(room)) => {
                    // With the last piece goes the end, where it is known to be that.
                    if matches!(self.state, State::Open) && room >= self.data.len() {
                        if let Err(reason) = self.send_last(cx, room) {
                            return Poll::Ready(Err(reason));
                        }
                    } else if let Err(reason) = self.send(room) {
                        return Poll::Ready(Err(reason));
                    }
                }
                Poll::Ready(Err(reason)) => return Poll::Ready(Err(reason)),
                Poll::Pending => {
                    // While the client takes its time, the rest of its request goes on.
                    let _ = self.body.poll_push(cx);
                    let stalled = self.patience.poll(cx, &self.reply.alarm, self.bound);
                    return stalled.map(|()| Err(Reason::ClientStalled));
                }
            }
        }
    }

    /// Sends all that waits, and looks whether more comes before it is let go: what is known to be
    /// the last needs no empty frame behind it.
    fn send_last(&mut self, cx: &mut Context<'_>, room: usize) -> Result<(), Reason> {
        let data = std::mem::take(&mut self.data);
        let next = self.pull(cx);
        let more = std::mem::replace(&mut self.data, data);
        if next.is_pending() || !more.is_empty() {
            self.send(room)?;
            self.data = more;
            return Ok(());
        }
        self.send(room)
    }

    /// Takes the next piece of the body; ready when something came of it.
    fn pull(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.left == Size::Known(0) {
            self.state = State::Ending(None);
            return Poll::Ready(());
        }
        match self.body.poll_frame(cx) {
            Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                if let Size::Known(left) = &mut self.left {
                    *left = left.saturating_sub(data.len() as u64);
                }
                self.bytes += data.len() as u64;
                self.data = data;
            }
            Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                self.state = State::Ending(Some(trailers));
            }
            Poll::Ready(None) => self.state = State::Ending(None),
            Poll::Ready(Some(Err(reason))) => self.state = State::Breaking(reason),
            Poll::Pending => return Poll::Pending,
        }
        Poll::Ready(())
    }

    /// How much may be sent now of what waits; more than nothing.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Reason>> {
        self.out.reserve_capacity(self.data.len());
        match self.out.capacity() {
            0 => {}
            room => return Poll::Ready(Ok(room)),
        }
        self.out.poll_capacity(cx).map(|room| match room {
            Some(Ok(room)) => Ok(room),
            Some(Err(_)) | None => Err(Reason::ClientGone),
        })
    }

    fn send(&mut self, room: usize) -> Result<(), Reason> {
        let piece = self.data.split_to(room.min(self.data.len()));
        let is_all = self.data.is_empty() && matches!(self.state, State::Ending(None));
        if is_all {
            self.state = State::Ended;
        }
        self.patience.renew();
        self.hand_over(piece, is_all)
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Reason> {
        self.state = State::Ended;
        match trailers {
            Some(trailers) => self
                .out
                .send_trailers(trailers)
                .map_err(|_| Reason::ClientGone),
            None => self.hand_over(Bytes::new(), true),
        }
    }

    fn hand_over(&mut self, piece: Bytes, is_all: bool) -> Result<(), Reason> {
        self.out
            .send_data(piece, is_all)
            .map_err(|_| Reason::ClientGone)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        self.out.poll_reset(cx).map(|_| Err(Reason::ClientGone))
    }

    /// The response is out. What is left of the request goes on to an upstream that takes it, for as
    /// long as the client sends it.
    async fn settle(&mut self) {
        poll_fn(|cx| self.body.poll_push(cx)).await;
    }
}

/// How a response that breaks off is broken off.
pub(super) fn code(reason: Reason) -> h2::Reason {
    match reason {
        Reason::ClientStalled | Reason::ClientGone => h2::Reason::CANCEL,
        _ => h2::Reason::INTERNAL_ERROR,
    }
}

/// A reset takes back what still waits to be written, as flow control cannot: the connection's task
/// gets its turn before.
pub(super) async fn let_out() {
    for _ in 0..2 {
        tokio::task::yield_now().await;
    }
}
