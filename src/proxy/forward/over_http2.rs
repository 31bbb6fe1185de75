//! The same over HTTP/2: a seat in a connection that others share, the request over it, the head of
//! the answer.
//!
//! Not here: connections (`upstream::http2`).

use std::rc::Rc;

use http::header::{CONTENT_LENGTH, EXPECT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version};

use super::Errand;
use super::attempt::{Carrier, Reached};
use crate::model::config::UpstreamProtocol;
use crate::model::fields::{Fields, Role, Roles};
use crate::model::headers;
use crate::model::snapshot::Server;
use crate::proxy::body::Size;
use crate::proxy::client::Wait;
use crate::proxy::error::Reason;
use crate::proxy::http2::{declare_length, map_of};
use crate::proxy::stream::Stream;
use crate::proxy::upstream::endpoint::Endpoint;
use crate::proxy::upstream::http2::call::{Bounds, Call};
use crate::proxy::upstream::http2::sessions::{self, Seated, Terms};
use crate::proxy::upstream::replay::Replay;
use crate::proxy::upstream::secure::Speech;

/// A connection that was about to end when the request took its seat counts for nothing; so many of
/// them in a row are an upstream that is not there.
const SEATS: u32 = 3;
/// What has no place in HTTP/2, and whom the request is for, which has another there.
const GOES: Roles = Roles::of(&[Role::Connection, Role::Encoding, Role::Host, Role::Upgrade]);

/// Where a request has got to.
pub(super) enum Arrival {
    Reached(Reached),
    /// Nowhere yet: the server speaks HTTP/1.1, over this connection if there is one already.
    Http1(Option<Stream>, Replay),
}

/// Whether this is tried first. A server that was asked and has chosen HTTP/1.1 is asked again with
/// each connection, and a request that changes the protocol takes none that others share.
pub(super) fn is_spoken(errand: &Errand<'_>, endpoint: &Endpoint) -> bool {
    let speech = match (&endpoint.tls, errand.target.upstream.protocol) {
        (Some(tls), _) => tls.speech,
        (None, UpstreamProtocol::H2c) => Speech::Http2,
        (None, _) => Speech::Http1,
    };
    match speech {
        Speech::Http1 => false,
        Speech::Http2 => true,
        Speech::Either => errand.inbound.upgrade.is_none() && !endpoint.sessions().are_declined(),
    }
}

/// The server has agreed to HTTP/2 over a connection that HTTP/1.1 was expected on.
pub(super) async fn reach_over(
    stream: Stream,
    errand: &Errand<'_>,
    endpoint: &Rc<Endpoint>,
    server: &Server,
    body: Replay,
) -> Result<Reached, Reason> {
    let (alarm, proxy) = (&errand.inbound.alarm, &errand.proxy);
    sessions::adopt(stream, endpoint, &terms(errand), alarm, proxy).await?;
    match reach(errand, endpoint, server, body).await? {
        Arrival::Reached(reached) => Ok(reached),
        // It has changed its mind twice.
        Arrival::Http1(..) => Err(Reason::UpstreamClosed),
    }
}

pub(super) async fn reach(
    errand: &Errand<'_>,
    endpoint: &Rc<Endpoint>,
    server: &Server,
    mut body: Replay,
) -> Result<Arrival, Reason> {
    let (method, interim) = (&errand.head.method, &errand.inbound.interim);
    let mut seats = SEATS;
    loop {
        let mut call = match begin(errand, endpoint, server, body).await? {
            Begun::Call(call) => call,
            Begun::Http1(stream, body) => return Ok(Arrival::Http1(stream, body)),
        };
        let answered = call
            .head(method, interim, errand.proxy.scratch.fields())
            .await;
        seats -= 1;
        match (answered, call.again()) {
            (Ok(head), _) => {
                let carrier = Carrier::Http2(call);
                let head = Box::new(head);
                return Ok(Arrival::Reached(Reached { head, carrier }));
            }
            (Err(_), Some(again)) if seats > 0 => body = again,
            (Err(reason), _) => return Err(reason),
        }
    }
}

/// What became of the wish for a seat.
enum Begun {
    Call(Box<Call>),
    Http1(Option<Stream>, Replay),
}

async fn begin(
    errand: &Errand<'_>,
    endpoint: &Rc<Endpoint>,
    server: &Server,
    mut body: Replay,
) -> Result<Begun, Reason> {
    let timeouts = errand.target.traffic.timeouts;
    let bounds = Bounds {
        response_header: timeouts.response_header,
        write: errand.write_timeout,
        idle: timeouts.idle,
    };
    let (alarm, proxy) = (&errand.inbound.alarm, &errand.proxy);
    for _ in 0..SEATS {
        let opened = |took| errand.connect.set(Some(took));
        let seat = match sessions::seat(endpoint, &terms(errand), alarm, proxy, opened).await? {
            Seated::Here(seat) => seat,
            Seated::Http1(stream) => return Ok(Begun::Http1(stream, body)),
        };
        errand.count_send();
        let sent = outgoing(errand, &body, server)?;
        match Call::begin(seat, sent, body, bounds, alarm) {
            Ok(call) => return Ok(Begun::Call(Box::new(call))),
            Err(again) => body = again,
        }
    }
    Err(Reason::UpstreamClosed)
}

fn terms<'a>(errand: &Errand<'a>) -> Terms<'a> {
    let (upstream, timeouts) = (errand.target.upstream, &errand.target.traffic.timeouts);
    let breaker = upstream.circuit_breaker.as_ref();
    let bound = breaker.and_then(|breaker| breaker.endpoint.connections);
    let most = upstream.http2.max_connections;
    Terms {
        settings: &upstream.http2,
        most: bound.map_or(most, |bound| bound.min(most)),
        within: timeouts.into(),
        idle: upstream.keepalive.idle_timeout,
    }
}

/// The request as this server is to see it.
fn outgoing(errand: &Errand<'_>, body: &Replay, server: &Server) -> Result<Request<()>, Reason> {
    let head = &errand.head;
    let host = headers::host(errand.target.upstream, server, &head.headers);
    let authority = Authority::try_from(host).map_err(|_| Reason::BadHost)?;
    let whole = head.uri.path_and_query();
    let path = headers::target(whole.map_or("/", PathAndQuery::as_str), server);
    let path = PathAndQuery::try_from(path.as_ref()).map_err(|_| Reason::BadTarget)?;
    let scheme = match server.tls {
        Some(_) => Scheme::HTTPS,
        None => Scheme::HTTP,
    };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path);
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri.build().map_err(|_| Reason::BadTarget)?;
    *request.version_mut() = Version::HTTP_2;
    let mut headers = head.headers.clone();
    if let Some(told) = &errand.told {
        told.put_into(&mut headers, &errand.proxy.scratch.values);
    }
    frame(&mut headers, body);
    *request.headers_mut() = map_of(&headers).map_err(|_| Reason::TooManyHeaders)?;
    Ok(request)
}

/// The headers of framing are ours to write; those of a connection have no place in HTTP/2.
fn frame(headers: &mut Fields, body: &Replay) {
    headers.retain(|role, _| !GOES.has(role));
    match body.size() {
        // Where it says that there is none, it goes on as it came.
        Size::Known(0) => {}
        Size::Known(length) => declare_length(headers, length),
        Size::Unknown => headers.remove(&CONTENT_LENGTH),
    }
    if body.wait() != Wait::Continue {
        headers.remove(&EXPECT);
    }
}
