//! One try of a request at one endpoint: a connection, the request over it, the head of the response.
//! A kept connection that turns out to be dead is no try: the request goes over a new one.
//!
//! Not here: which endpoint, and what comes after a failure (`forward`). May be dropped at any time:
//! the server sees its client gone, and the body can be sent by the next try.

use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use super::Errand;
use super::over_http2::{self, Arrival};
use crate::model::fields::Role;
use crate::model::headers;
use crate::model::snapshot::Server;
use crate::proxy::body::Size;
use crate::proxy::client::Wait;
use crate::proxy::error::Reason;
use crate::proxy::h1::{self, ConnectionField, Framing, RequestParts, ResponseHead};
use crate::proxy::outgoing::Outgoing;
use crate::proxy::stream::Stream;
use crate::proxy::timers::before;
use crate::proxy::upstream::connect::{Opening, connect};
use crate::proxy::upstream::endpoint::{Endpoint, Need};
use crate::proxy::upstream::exchange::Exchange;
use crate::proxy::upstream::hold::Hold;
use crate::proxy::upstream::http2::call::Call;
use crate::proxy::upstream::replay::Replay;
use crate::proxy::upstream::secure::Purpose;
use crate::proxy::upstream::upload::{Gate, Repeat, Upload};

/// A server's answer, as far as its head.
pub(super) struct Reached {
    pub(super) head: Box<ResponseHead>,
    pub(super) carrier: Carrier,
}

/// What the rest of the answer comes by. Large as they are, they stay where they are made: an answer
/// goes from hand to hand.
pub(super) enum Carrier {
    Http1(Box<Exchange>),
    Http2(Box<Call>),
}

impl Carrier {
    /// There will be no other try than this.
    pub(super) fn commit(&self) {
        match self {
            Self::Http1(exchange) => exchange.upload.commit(),
            Self::Http2(call) => call.commit(),
        }
    }
}

/// Within `timeouts.perTry`, if there is such.
pub(super) async fn attempt(
    errand: &Errand<'_>,
    hold: &Hold,
    body: Replay,
) -> Result<Reached, Reason> {
    let server = errand.target.servers.get(hold.server() as usize);
    let server = server.ok_or(Reason::NoAddress)?;
    let alarm = &errand.inbound.alarm;
    let bound = errand.target.traffic.timeouts.per_try;
    let due = bound.map(|bound| alarm.now().after(bound));
    let work = pin!(reach(errand, hold.endpoint(), server, body));
    match before(due, alarm, work).await {
        // Both ran out together: the try is what may be repeated.
        Some(Err(Reason::UpstreamTimeout)) if due.is_some_and(|due| due <= alarm.now()) => {
            Err(Reason::UpstreamTryTimeout)
        }
        Some(reached) => reached,
        None => Err(Reason::UpstreamTryTimeout),
    }
}

async fn reach(
    errand: &Errand<'_>,
    endpoint: &Rc<Endpoint>,
    server: &Server,
    body: Replay,
) -> Result<Reached, Reason> {
    if !over_http2::is_spoken(errand, endpoint) {
        return reach_over_http1(errand, endpoint, server, None, body).await;
    }
    match Box::pin(over_http2::reach(errand, endpoint, server, body)).await? {
        Arrival::Reached(reached) => Ok(reached),
        Arrival::Http1(stream, body) => {
            reach_over_http1(errand, endpoint, server, stream, body).await
        }
    }
}

/// Over the connection that is there already, or an idle one if there is one; else, or if that one
/// was dead, over a new one.
async fn reach_over_http1(
    errand: &Errand<'_>,
    endpoint: &Rc<Endpoint>,
    server: &Server,
    given: Option<Stream>,
    mut body: Replay,
) -> Result<Reached, Reason> {
    errand.count_send();
    let alarm = &errand.inbound.alarm;
    let kept = match given {
        Some(_) => None,
        None => endpoint.take(errand.need(), alarm.about_now(), &errand.owner()),
    };
    if let Some(stream) = kept {
        match converse(errand, stream, server, body).await {
            Ok(reached) => return Ok(reached),
            Err(Miss::Dead(again)) => {
                errand.count_send();
                body = again;
            }
            Err(Miss::Failed(reason)) => return Err(reason),
        }
    }
    let stream = match given {
        Some(stream) => stream,
        // Apart: most requests find a connection, and would carry its room along.
        None => Box::pin(open(errand, endpoint)).await?,
    };
    if stream.speaks_http2() {
        let over = over_http2::reach_over(stream, errand, endpoint, server, body);
        return Box::pin(over).await;
    }
    match converse(errand, stream, server, body).await {
        Ok(reached) => {
            // What a server says of all its connections it says on each.
            endpoint.hear(&reached.head.headers);
            Ok(reached)
        }
        Err(Miss::Dead(_)) => Err(Reason::UpstreamClosed),
        Err(Miss::Failed(reason)) => Err(reason),
    }
}

async fn open(errand: &Errand<'_>, endpoint: &Endpoint) -> Result<Stream, Reason> {
    let began = Instant::now();
    let _connecting = endpoint.begin_connecting();
    let version = errand.target.upstream.proxy_protocol;
    let opening = Opening {
        introduction: version.map(|version| errand.inbound.line.ends.introduction(version)),
        purpose: match errand.inbound.upgrade {
            Some(_) => Purpose::Upgrade,
            None => Purpose::Any,
        },
        within: (&errand.target.traffic.timeouts).into(),
    };
    let stream = connect(endpoint, opening, &errand.inbound.alarm).await?;
    errand.connect.set(Some(began.elapsed()));
    Ok(stream)
}

enum Miss {
    /// The connection ended before anything came; the request can go over another.
    Dead(Replay),
    Failed(Reason),
}

async fn converse(
    errand: &Errand<'_>,
    stream: Stream,
    server: &Server,
    body: Replay,
) -> Result<Reached, Miss> {
    let upload = encode(errand, server, body);
    let inbound = errand.inbound;
    let bound = errand.target.traffic.timeouts.response_header;
    let exchange = Exchange::new(&errand.proxy, &inbound.alarm, stream, upload, bound);
    let mut exchange = Box::new(exchange);
    match exchange.head(&errand.head.method, &inbound.interim).await {
        Ok(head) => Ok(Reached {
            head,
            carrier: Carrier::Http1(exchange),
        }),
        Err(Reason::UpstreamClosed) if exchange.was_dead() => Err(exchange
            .upload
            .again()
            .map_or(Miss::Failed(Reason::UpstreamClosed), Miss::Dead)),
        Err(reason) => Err(Miss::Failed(reason)),
    }
}

/// The request as this server is to see it.
fn encode(errand: &Errand<'_>, server: &Server, body: Replay) -> Upload {
    let Errand { head, target, .. } = errand;
    let framing = match body.size() {
        // `content-length: 0` of a request without a body goes on as it came.
        Size::Known(0) if body.is_empty() && head.headers.of_role(Role::Length).is_none() => {
            Framing::None
        }
        Size::Known(length) => Framing::Length(length),
        Size::Unknown => Framing::Chunked,
    };
    let whole = head
        .uri
        .path_and_query()
        .map_or("/", |whole| whole.as_str());
    let path = headers::target(whole, server);
    let host = headers::host(target.upstream, server, &head.headers);
    let parts = RequestParts {
        method: &head.method,
        target: &path,
        host,
        headers: &head.headers,
        told: errand.told.as_ref(),
        framing,
        connection: match &errand.inbound.upgrade {
            Some(protocol) => ConnectionField::Upgrade(protocol.as_bytes()),
            None => ConnectionField::Omit,
        },
    };
    let mut out = Outgoing::with_buffer(errand.proxy.buffers.take());
    h1::encode_request_head(&parts, out.front());
    let gate = gate(&body);
    Upload::new(
        out,
        body,
        framing,
        gate,
        errand.repeat,
        errand.write_timeout,
    )
}

fn gate(body: &Replay) -> Gate {
    match body.wait() {
        Wait::Continue => Gate::AwaitContinue,
        Wait::Nothing | Wait::Over => Gate::Open,
    }
}

impl Errand<'_> {
    pub(super) fn count_send(&self) {
        self.sends.set(self.sends.get() + 1);
    }

    /// How sure it must be that a kept connection lives.
    fn need(&self) -> Need {
        let safe_to_lose = self.repeat == Repeat::Freely
            || self.body.is_empty()
            || gate(&self.body) == Gate::AwaitContinue;
        if safe_to_lose {
            Need::Likely
        } else {
            Need::Sure
        }
    }
}
