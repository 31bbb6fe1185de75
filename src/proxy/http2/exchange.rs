//! One request over HTTP/2 and its response, from the head to the last byte, in a task of its own.
//!
//! Not here: what the request means (`handler`).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Version};

use super::answer::{self, Answered};
use super::incoming::{StreamBody, hear_out};
use super::inflow::{Inflow, Shared, taking_in};
use super::reply::Reply;
use super::request;
use super::wire::Watch;
use crate::model::grpc::Dialect;
use crate::proxy::active::Active;
use crate::proxy::body::{Body, Size};
use crate::proxy::budget::ExchangeGuard;
use crate::proxy::client::{Client, Wait};
use crate::proxy::connection::Admission;
use crate::proxy::error::Reason;
use crate::proxy::handler::{self, Inbound};
use crate::proxy::interim::Interim;
use crate::proxy::message::{self, Response};
use crate::proxy::orphan::{Ground, unless_orphaned};
use crate::proxy::respond::{self, Disclosure};
use crate::proxy::visit::{Share, Visit};

/// What the exchanges of a connection have in common.
pub(super) struct Link {
    pub(super) client: Rc<Client>,
    pub(super) listener: u32,
    pub(super) admission: Admission,
    pub(super) watch: Rc<Watch>,
    /// Requests on this connection, now.
    pub(super) under_way: Rc<Cell<u32>>,
}

impl Link {
    fn visit(&self, active: Arc<Active>) -> Visit {
        let peer = self.client.line.ends.peer;
        let share = Share::OneOf(Rc::clone(&self.under_way));
        let mut visit = Visit::begin(&self.client.proxy, active, self.listener, peer, share);
        visit.seen.tls.clone_from(&self.client.line.tls);
        visit.seen.version = Version::HTTP_2;
        visit
    }
}

/// Answers a request that there is no room for, without a task, which is what most of the room is for. The rest of
/// it is not heard.
pub(super) fn shed(link: &Link, request: &Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let Some(active) = link.client.proxy.active() else {
        return;
    };
    let mut visit = link.visit(active);
    let reason = match link.admission {
        Admission::Refuse => Reason::TooManyConnections,
        Admission::Serve | Admission::Plaintext => Reason::Overloaded,
    };
    let response = refuse(reason, dialect_of(request.headers()), &mut visit);
    let Response {
        status,
        mut headers,
        body,
    } = *response;
    visit.seen.status = Some(status);
    let body = match body {
        Body::Full(all) if *request.method() != Method::HEAD => all,
        _ => Bytes::new(),
    };
    let size = Size::Known(body.len() as u64);
    answer::frame(status, &mut headers, size, body.is_empty(), &visit);
    let is_all = body.is_empty();
    let length = body.len() as u64;
    let sent = answer::head_of(status, &headers).and_then(|head| {
        let mut out = respond.send_response(head, is_all).map_err(gone)?;
        if is_all {
            Ok(())
        } else {
            out.send_data(body, true).map_err(gone)
        }
    });
    match sent {
        Ok(()) => {
            visit.seen.response_bytes = length;
            link.watch.answered();
        }
        // It earns nothing by that: it may be a client that resets whatever it asks.
        Err(reason) => visit.seen.reason = Some(reason),
    }
}

fn gone(_: h2::Error) -> Reason {
    Reason::ClientGone
}

fn dialect_of(headers: &HeaderMap) -> Dialect {
    Dialect::of_content_type(headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes))
}

/// May be dropped at any time: the client sees its request cancelled.
pub(super) async fn serve(
    link: Rc<Link>,
    room: ExchangeGuard,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let proxy = &link.client.proxy;
    let Some(active) = proxy.active() else {
        return;
    };
    let alarm = Rc::new(proxy.timers.alarm());
    let reply = Reply::new(respond, alarm, Rc::clone(&link.watch));
    let mut visit = link.visit(active);
    visit.room = Some(room);
    let method = request.method().clone();
    let dialect = dialect_of(request.headers());
    let (head, stream) = request.into_parts();
    let stream = Rc::new(RefCell::new(Inflow::new(stream)));
    let mut tunnel = None;
    let taken = Request::from_parts(head, Rc::clone(&stream));
    let handled = match admit(&link, &reply, taken, &mut tunnel, &mut visit) {
        Ok((mut head, body, inbound)) => {
            let handling = pin!(handler::handle(&mut head, body, &inbound, &mut visit));
            let handling = pin!(while_there(&reply, handling));
            taking_in(&stream, handling).await
        }
        Err(reason) => Ok(refuse(reason, dialect, &mut visit)),
    };
    let answered = match handled {
        Ok(response) => {
            let response = as_asked(response, tunnel.is_some(), dialect, &mut visit);
            let answering = unless_kept(&link, &reply, response, &method, tunnel, &mut visit);
            taking_in(&stream, pin!(answering)).await
        }
        Err(reason) => Answered::Broken(reason),
    };
    visit.seen.request_bytes += reply.received.get();
    match answered.failure() {
        None => {
            link.watch.answered();
            // It is over, whatever still comes; but to hear that takes memory.
            let _room = visit.room.take();
            drop(visit);
            hear_out(&stream, &link.client, &reply.alarm).await;
        }
        Some((reason, code)) => {
            visit.seen.reason = Some(reason);
            answer::let_out().await;
            reply.reset(code);
        }
    }
}

/// Answers, unless a reload takes away what the answer stands on.
async fn unless_kept(
    link: &Link,
    reply: &Reply,
    response: Box<Response>,
    method: &Method,
    tunnel: Option<Shared>,
    visit: &mut Visit,
) -> Answered {
    let ground = Ground::of(&visit.seen);
    let answer = answer::answer(reply, response, method, tunnel, visit);
    let answered = unless_orphaned(&link.client.proxy.orphans, ground, answer).await;
    answered.unwrap_or(Answered::Broken(Reason::DrainDeadline))
}

/// To a client that asked for a tunnel, success without one would be a lie.
fn as_asked(
    response: Box<Response>,
    asked_for_tunnel: bool,
    dialect: Dialect,
    visit: &mut Visit,
) -> Box<Response> {
    let is_tunnel = matches!(response.body, Body::Switched(_));
    if asked_for_tunnel && !is_tunnel && response.status.is_success() {
        return refuse(Reason::UpstreamUpgrade, dialect, visit);
    }
    response
}

/// Takes the request in, or says why not. What the client sends on after a request for a tunnel is
/// `tunnel`.
fn admit(
    link: &Link,
    reply: &Rc<Reply>,
    request: Request<Shared>,
    tunnel: &mut Option<Shared>,
    visit: &mut Visit,
) -> Result<(message::Request, Body, Inbound), Reason> {
    if link.admission == Admission::Refuse {
        return Err(Reason::TooManyConnections);
    }
    let limits = visit.active.snapshot.limits;
    let (mut head, stream) = request.into_parts();
    let taken = request::take(&mut head, &limits, &link.client.proxy.scratch)?;
    let over = stream.borrow().is_end_stream();
    if let (Size::Known(length), Some(most), false) = (taken.size, limits.body_bytes, over)
        && length > most
    {
        return Err(Reason::BodyTooLarge);
    }
    if taken.awaits_continue && !over {
        reply.wait.set(Wait::Continue);
    }
    let body = if taken.upgrade.is_some() {
        *tunnel = Some(stream);
        Body::Empty
    } else if over || taken.size == Size::Known(0) {
        Body::Empty
    } else {
        let body = StreamBody::new(Rc::clone(reply), stream, taken.size, &limits);
        Body::Stream(Box::new(body))
    };
    let inbound = Inbound {
        line: Rc::clone(&link.client.line),
        authority: taken.authority,
        upgrade: taken.upgrade,
        interim: Interim::Http2(Rc::clone(reply)),
        alarm: Rc::clone(&reply.alarm),
    };
    let mut headers = link.client.proxy.scratch.fields();
    headers.read_map(&head.headers);
    let request = message::Request {
        method: head.method,
        uri: head.uri,
        version: head.version,
        headers,
    };
    Ok((request, body, inbound))
}

fn refuse(reason: Reason, dialect: Dialect, visit: &mut Visit) -> Box<Response> {
    visit.seen.reason = Some(reason);
    let disclosure = Disclosure::by(visit.active.snapshot.error_header);
    respond::refusal(reason, disclosure, dialect)
}

/// Has the request handled for as long as its client wants it. The handling is dropped with the
/// request, and with it what an upstream does for it.
async fn while_there(
    reply: &Reply,
    mut handling: Pin<&mut impl Future<Output = Box<Response>>>,
) -> Result<Box<Response>, Reason> {
    poll_fn(|cx| {
        if let Poll::Ready(response) = handling.as_mut().poll(cx) {
            return Poll::Ready(Ok(response));
        }
        reply.poll_gone(cx).map(Err)
    })
    .await
}
