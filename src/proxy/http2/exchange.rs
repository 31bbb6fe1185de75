//! One request over HTTP/2 and its response, from the head to the last byte, in a task of its own.
//!
//! Not here: what the request means (`handler`).

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Method, Request, Response, Version};

use super::answer::{self, Answered};
use super::incoming::StreamBody;
use super::reply::Reply;
use super::request;
use super::wire::Watch;
use crate::proxy::body::{Body, Size};
use crate::proxy::client::{Client, Wait};
use crate::proxy::connection::Admission;
use crate::proxy::error::Reason;
use crate::proxy::handler::{self, Inbound};
use crate::proxy::interim::Interim;
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

/// May be dropped at any time: the client sees its request cancelled.
pub(super) async fn serve(
    link: Rc<Link>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let proxy = &link.client.proxy;
    let Some(active) = proxy.active() else {
        return;
    };
    let reply = Reply::new(respond, Rc::new(proxy.timers.alarm()));
    let share = Share::OneOf(Rc::clone(&link.under_way));
    let mut visit = Visit::begin(proxy, active, link.listener, link.client.ends.peer, share);
    visit.seen.version = Version::HTTP_2;
    let method = request.method().clone();
    let handled = match admit(&link, &reply, request, &mut visit) {
        Ok((request, inbound)) => {
            let handling = pin!(handler::handle(request, &inbound, &mut visit));
            while_there(&reply, handling).await
        }
        Err(reason) => Ok(refuse(reason, &mut visit)),
    };
    let answered = match handled {
        Ok(response) => unless_kept(&link, &reply, response, &method, &mut visit).await,
        Err(reason) => Answered::Broken(reason),
    };
    visit.seen.request_bytes += reply.received.get();
    match answered {
        Answered::Whole => link.watch.answered(),
        Answered::Broken(reason) => {
            visit.seen.reason = Some(reason);
            answer::let_out().await;
            reply.reset(answer::code(reason));
        }
    }
}

/// Answers, unless a reload takes away what the answer stands on.
async fn unless_kept(
    link: &Link,
    reply: &Reply,
    response: Response<Body>,
    method: &Method,
    visit: &mut Visit,
) -> Answered {
    let ground = Ground::of(&visit.seen);
    let answer = answer::answer(reply, response, method, visit);
    let answered = unless_orphaned(&link.client.proxy.orphans, ground, answer).await;
    answered.unwrap_or(Answered::Broken(Reason::DrainDeadline))
}

/// Takes the request in, or says why not.
fn admit(
    link: &Link,
    reply: &Rc<Reply>,
    request: Request<RecvStream>,
    visit: &mut Visit,
) -> Result<(Request<Body>, Inbound), Reason> {
    if link.admission == Admission::Refuse {
        return Err(Reason::TooManyConnections);
    }
    let limits = visit.active.snapshot.limits;
    let (mut head, stream) = request.into_parts();
    let taken = request::take(&mut head, &limits)?;
    let over = stream.is_end_stream();
    if let (Size::Known(length), Some(most), false) = (taken.size, limits.body_bytes, over)
        && length > most
    {
        return Err(Reason::BodyTooLarge);
    }
    let room = link.client.proxy.budget.begin_exchange();
    visit.room = Some(room.ok_or(Reason::Overloaded)?);
    if taken.awaits_continue && !over {
        reply.wait.set(Wait::Continue);
    }
    let body = match over || taken.size == Size::Known(0) {
        true => Body::Empty,
        false => {
            let body = StreamBody::new(Rc::clone(reply), stream, taken.size, &limits);
            Body::Stream(Box::new(body))
        }
    };
    let inbound = Inbound {
        ends: Rc::clone(&link.client.ends),
        scheme: "http",
        authority: taken.authority,
        upgrade: None,
        interim: Interim::Http2(Rc::clone(reply)),
        alarm: Rc::clone(&reply.alarm),
    };
    Ok((Request::from_parts(head, body), inbound))
}

fn refuse(reason: Reason, visit: &mut Visit) -> Response<Body> {
    visit.seen.reason = Some(reason);
    respond::refusal(reason, Disclosure::by(visit.active.snapshot.error_header))
}

/// Has the request handled for as long as its client wants it. The handling is dropped with the
/// request, and with it what an upstream does for it.
async fn while_there(
    reply: &Reply,
    mut handling: Pin<&mut impl Future<Output = Response<Body>>>,
) -> Result<Response<Body>, Reason> {
    poll_fn(|cx| {
        if let Poll::Ready(response) = handling.as_mut().poll(cx) {
            return Poll::Ready(Ok(response));
        }
        reply.poll_gone(cx).map(Err)
    })
    .await
}
