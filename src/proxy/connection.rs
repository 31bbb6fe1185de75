//! The story of one HTTP/1 client connection: wait without a buffer, read a request, have it handled,
//! write the response, and again; then close it so that nothing that was said is lost.
//!
//! Not here: what a request means (`handler`), and the bytes on the socket (`client`).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::Version;

use super::body::Body;
use super::client::{Arrival, Client, ClientBody, Incoming, Woken};
use super::error::Reason;
use super::h1::{HeadScanner, Persistence, RequestHead};
use super::handler::{self, Inbound};
use super::http2;
use super::interim::Interim;
use super::message::{Request, Response};
use super::orphan::{Ground, unless_orphaned};
use super::respond::{self, Disclosure};
use super::timers::Patience;
use super::visit::{Share, Visit};
use crate::model::grpc::Dialect;

mod answer;

/// How long a connection that is being closed still listens, so that the client can read its answer
/// before the rest of what it sends is met with a reset.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// A client that asks again within this time finds the memory of its last request still there: taking
/// it anew for each request costs more than the rest of the wait. Short, so that few connections hold
/// such memory at one time, and what they leave behind between those that idle is little.
const SOON: Duration = Duration::from_millis(20);

/// What becomes of the connection after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits for the next request.
    Keep,
    /// It still waits: nothing was there after all.
    Wait,
    /// It speaks HTTP/2.
    Http2,
    Close,
    /// Closed, after a while of listening to what the client still sends.
    Linger,
    /// What the client got is not the whole, and it has to be able to tell.
    Break,
}

/// Whether the worker can serve what comes over a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Serve,
    /// It speaks plain HTTP where TLS is spoken: it gets one answer that says so.
    Plaintext,
    /// There are too many connections: it gets one answer that says so.
    Refuse,
}

/// Lives as long as the connection. May be dropped at any time.
#[expect(
    clippy::manual_async_fn,
    reason = "the arguments of an async function take their memory twice"
)]
pub(super) fn serve(
    client: Rc<Client>,
    listener: u32,
    admission: Admission,
) -> impl Future<Output = ()> {
    async move {
        let mut patience = Patience::default();
        while idle(&client, &mut patience, Duration::MAX).await == Woken::Readable {
            // The future of a request is large, and most connections are idle most of the time.
            match Box::pin(busy(&client, listener, admission, &mut patience)).await {
                Next::Keep | Next::Wait => client.doze(),
                Next::Http2 => return Box::pin(multiplexed(client, listener, admission)).await,
                end => return Box::pin(close(&client, end)).await,
            }
        }
    }
}

/// Serves HTTP/2 until the connection ends.
pub(super) async fn multiplexed(client: Rc<Client>, listener: u32, admission: Admission) {
    let end = http2::serve(Rc::clone(&client), listener, admission).await;
    close(&client, end).await;
}

async fn close(client: &Client, end: Next) {
    match end {
        Next::Linger => linger(client).await,
        Next::Break => client.reset(),
        _ => {}
    }
}

/// Waits for a request, without a buffer, for as long as the configuration says or for `most`.
fn idle(client: &Client, patience: &mut Patience, most: Duration) -> impl Future<Output = Woken> {
    poll_fn(move |cx| {
        let bound = client.proxy.idle_timeout().min(most);
        client.poll_idle(cx, patience, bound)
    })
}

/// Serves requests for as long as they come one soon after the other; `patience` then says since when
/// there was none.
async fn busy(
    client: &Rc<Client>,
    listener: u32,
    admission: Admission,
    patience: &mut Patience,
) -> Next {
    loop {
        let next = requests(client, listener, admission).await;
        client.rest();
        // One that has said nothing is not about to ask again.
        if next != Next::Keep {
            return next;
        }
        patience.renew();
        if idle(client, patience, SOON).await == Woken::TimedOut {
            return next;
        }
    }
}

/// Serves what is there, pipelined requests one after the other.
async fn requests(client: &Rc<Client>, listener: u32, admission: Admission) -> Next {
    loop {
        let next = request(client, listener, admission).await;
        if next != Next::Keep || !client.has_input() {
            return next;
        }
    }
}

async fn request(client: &Rc<Client>, listener: u32, admission: Admission) -> Next {
    let Some(active) = client.proxy.active() else {
        return Next::Close;
    };
    let limits = active.snapshot.limits;
    let mut scanner = HeadScanner::default();
    let mut patience = Patience::default();
    let mut room = None;
    let arrival =
        poll_fn(|cx| client.poll_head(cx, &mut scanner, &limits, &mut patience, &mut room)).await;
    let head = match arrival {
        Ok(Arrival::Request(head)) => Ok(head),
        Ok(Arrival::Http2) => return Next::Http2,
        Ok(Arrival::Nothing) => return Next::Wait,
        Ok(Arrival::Closed) => return Next::Close,
        Err(reason) => Err(reason),
    };
    let mut visit = Visit::begin(
        &client.proxy,
        active,
        listener,
        client.line.ends.peer,
        Share::Whole,
    );
    visit.seen.tls.clone_from(&client.line.tls);
    let head = head.and_then(|head| match admission {
        Admission::Serve => Ok(head),
        Admission::Plaintext => Err(Reason::PlainHttp),
        Admission::Refuse => Err(Reason::TooManyConnections),
    });
    let admitted = head.and_then(|head| {
        client.expect_body(Incoming::of(&head, &limits)?);
        let room = room.or_else(|| client.proxy.budget.begin_exchange());
        visit.room = Some(room.ok_or(Reason::Overloaded)?);
        Ok(head)
    });
    match admitted {
        Ok(head) => exchange(client, head, &mut visit).await,
        Err(Reason::ClientGone) => {
            visit.seen.reason = Some(Reason::ClientGone);
            Next::Close
        }
        Err(reason) => refuse(client, reason, &mut visit).await,
    }
}

/// One request that could be read and its response.
async fn exchange(client: &Rc<Client>, head: Box<RequestHead>, visit: &mut Visit) -> Next {
    let asked = answer::Asked {
        version: head.version,
        method: head.method.clone(),
        persistence: head.persistence,
    };
    let (mut head, body, inbound) = request_of(*head, client);
    let response = {
        let handling = pin!(handler::handle(&mut head, body, &inbound, visit));
        while_there(client, handling).await
    };
    let next = match response {
        Ok(response) => {
            let ground = Ground::of(&visit.seen);
            // Pinned here: handed over by value it would be moved, all of it, once more.
            let answer = pin!(answer::answer(client, response, &asked, visit));
            let answered = unless_orphaned(&client.proxy.orphans, ground, answer).await;
            answered.unwrap_or(Next::Break)
        }
        Err(reason) => {
            visit.seen.reason = Some(reason);
            Next::Close
        }
    };
    visit.seen.request_bytes += client.with_incoming(|incoming| incoming.received());
    next
}

/// A request that cannot be served; what follows it cannot be read either.
async fn refuse(client: &Rc<Client>, reason: Reason, visit: &mut Visit) -> Next {
    visit.seen.reason = Some(reason);
    let disclosure = Disclosure::by(visit.active.snapshot.error_header);
    let asked = answer::Asked {
        version: Version::HTTP_11,
        method: http::Method::GET,
        persistence: Persistence::Close,
    };
    let response = respond::refusal(reason, disclosure, Dialect::Http);
    match answer::answer(client, response, &asked, visit).await {
        Next::Break => Next::Break,
        _ => Next::Linger,
    }
}

fn request_of(head: RequestHead, client: &Rc<Client>) -> (Request, Body, Inbound) {
    let body = if client.with_incoming(|incoming| incoming.is_over()) {
        Body::Empty
    } else {
        Body::Client(ClientBody::new(Rc::clone(client)))
    };
    let interim = match head.version {
        Version::HTTP_11 => Interim::Http1(Rc::clone(client)),
        _ => Interim::Dropped,
    };
    let inbound = Inbound {
        line: Rc::clone(&client.line),
        authority: head.authority,
        upgrade: head.upgrade,
        interim,
        alarm: Rc::clone(&client.alarm),
    };
    let request = Request {
        method: head.method,
        uri: head.uri,
        version: head.version,
        headers: head.headers,
    };
    (request, body, inbound)
}

/// Has the request handled for as long as its client is there. The handling is dropped when it goes,
/// and with it what an upstream does for it.
async fn while_there(
    client: &Client,
    mut handling: std::pin::Pin<&mut impl Future<Output = Box<Response>>>,
) -> Result<Box<Response>, Reason> {
    poll_fn(|cx| {
        if let Poll::Ready(response) = handling.as_mut().poll(cx) {
            return Poll::Ready(Ok(response));
        }
        client.poll_gone(cx).map(Err)
    })
    .await
}

/// Says that there will be no more, and listens until the client has understood.
async fn linger(client: &Client) {
    client.end_writing();
    let mut patience = Patience::default();
    poll_fn(|cx| {
        if client.poll_discard(cx).is_ready() {
            return Poll::Ready(());
        }
        patience.poll(cx, &client.alarm, LINGER)
    })
    .await;
}
