//! The same over HTTP/2: a seat in a connection that others share, the request over it, the head of
//! the answer.
//!
//! Not here: connections (`upstream::http2`).

use std::rc::Rc;

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version, request};

use super::Errand;
use super::attempt::{Carrier, Reached};
use crate::model::headers;
use crate::model::snapshot::{Server, Upstream};
use crate::proxy::body::Size;
use crate::proxy::client::Wait;
use crate::proxy::error::Reason;
use crate::proxy::upstream::endpoint::Endpoint;
use crate::proxy::upstream::http2::call::{Bounds, Call};
use crate::proxy::upstream::http2::sessions::{self, Terms};
use crate::proxy::upstream::replay::Replay;

/// A connection that was about to end when the request took its seat counts for nothing; so many of
/// them in a row are an upstream that is not there.
const SEATS: u32 = 3;

pub(super) async fn reach(
    errand: &Errand<'_>,
    endpoint: &Rc<Endpoint>,
    server: &Server,
    mut body: Replay,
) -> Result<Reached, Reason> {
    let (method, interim) = (&errand.head.method, &errand.inbound.interim);
    let mut seats = SEATS;
    loop {
        let mut call = begin(errand, endpoint, server, body).await?;
        let answered = call.head(method, interim).await;
        seats -= 1;
        match (answered, call.again()) {
            (Ok(head), _) => {
                let carrier = Carrier::Http2(Box::new(call));
                return Ok(Reached { head, carrier });
            }
            (Err(_), Some(again)) if seats > 0 => body = again,
            (Err(reason), _) => return Err(reason),
        }
    }
}

async fn begin(
    errand: &Errand<'_>,
    endpoint: &Rc<Endpoint>,
    server: &Server,
    mut body: Replay,
) -> Result<Call, Reason> {
    let (upstream, timeouts) = (errand.target.upstream, errand.target.traffic.timeouts);
    let terms = Terms {
        settings: &upstream.http2,
        connect: timeouts.connect,
        idle: upstream.keepalive.idle_timeout,
    };
    let bounds = Bounds {
        response_header: timeouts.response_header,
        write: errand.write_timeout,
        idle: timeouts.idle,
    };
    let (alarm, proxy) = (&errand.inbound.alarm, &errand.proxy);
    for _ in 0..SEATS {
        let opened = |took| errand.connect.set(Some(took));
        let seat = sessions::seat(endpoint, &terms, alarm, proxy, opened).await?;
        errand.count_send();
        let sent = outgoing(&errand.head, &body, upstream, server)?;
        match Call::begin(seat, sent, body, bounds, alarm) {
            Ok(call) => return Ok(call),
            Err(again) => body = again,
        }
    }
    Err(Reason::UpstreamClosed)
}

/// The request as this server is to see it.
fn outgoing(
    head: &request::Parts,
    body: &Replay,
    upstream: &Upstream,
    server: &Server,
) -> Result<Request<()>, Reason> {
    let host = headers::host(upstream, server, &head.headers);
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| Reason::BadHost)?;
    let whole = head.uri.path_and_query();
    let path = headers::target(whole.map_or("/", PathAndQuery::as_str), server);
    let path = PathAndQuery::try_from(path.as_ref()).map_err(|_| Reason::BadTarget)?;
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority)
        .path_and_query(path);
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri.build().map_err(|_| Reason::BadTarget)?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = head.headers.clone();
    frame(request.headers_mut(), body);
    Ok(request)
}

/// The headers of framing are ours to write; those of a connection have no place in HTTP/2.
fn frame(headers: &mut HeaderMap, body: &Replay) {
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, HOST] {
        headers.remove(name);
    }
    match body.size() {
        // Where it says that there is none, it goes on as it came.
        Size::Known(0) => {}
        Size::Known(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Size::Unknown => {
            headers.remove(CONTENT_LENGTH);
        }
    }
    if body.wait() != Wait::Continue {
        headers.remove(EXPECT);
    }
}
