//! Sends a request to one of an upstream's servers and brings the response: server, endpoint,
//! connection, and one more try where an idle connection turns out to be dead.
//!
//! Not here: the exchange itself (`upstream::exchange`), and headers other than those that the
//! choice of the server decides.

use std::rc::Rc;
use std::time::Instant;

use http::header::{EXPECT, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};

use super::body::{Body, Size};
use super::client::Wait;
use super::error::Reason;
use super::h1::{self, ConnectionField, Framing, RequestParts, ResponseHead, ResponseKind};
use super::handler::Inbound;
use super::outgoing::Outgoing;
use super::stream::Stream;
use super::tunnel::Switched;
use super::upstream::body::Return;
use super::upstream::connect::connect;
use super::upstream::endpoint::{Endpoint, Need, Owner};
use super::upstream::exchange::Exchange;
use super::upstream::members::{Ask, Hold, Tried};
use super::upstream::upload::{Gate, Upload};
use super::visit::Visit;
use crate::model::headers;
use crate::model::snapshot::{Server, Upstream};

/// The upstream that the route chose.
pub(super) struct Target<'a> {
    pub(super) index: u32,
    pub(super) upstream: &'a Upstream,
    pub(super) servers: &'a [Server],
}

pub(super) async fn forward(
    request: Request<Body>,
    target: &Target<'_>,
    inbound: &Inbound,
    visit: &mut Visit,
) -> Result<Response<Body>, Reason> {
    let tried = Tried::default();
    let (server, hold) = choose(target, &tried, inbound, visit)?;
    let method = request.method().clone();
    let upload = encode(request, target.upstream, server, inbound, visit);
    let conversed = converse(upload, &method, hold.endpoint(), target, inbound, visit).await;
    let (head, exchange) = conversed.inspect_err(|reason| hold.failed(*reason))?;
    hold.answered();
    visit.seen.upstream_head = Some(visit.seen.started.elapsed());
    respond(head, exchange, hold, target, inbound)
}

/// One of the upstream's endpoints, and the server that it belongs to. `tried` are those that had
/// their chance.
fn choose<'a>(
    target: &Target<'a>,
    tried: &Tried,
    inbound: &Inbound,
    visit: &mut Visit,
) -> Result<(&'a Server, Hold), Reason> {
    let now = inbound.alarm.about_now().millis();
    let active = &visit.active;
    let counter = visit
        .proxy
        .observer
        .upstream_active(&active.watched, target.index);
    let hold = active
        .members(target.index)
        .and_then(|members| members.pick(&Ask { now, tried }, counter));
    let hold = hold.ok_or(Reason::NoAddress)?;
    let server = target.servers.get(hold.server() as usize);
    let server = server.ok_or(Reason::NoAddress)?;
    visit.seen.server = Some(hold.server());
    visit.seen.endpoint = Some(hold.endpoint().address);
    Ok((server, hold))
}

/// The request as this server is to see it.
fn encode(
    request: Request<Body>,
    upstream: &Upstream,
    server: &Server,
    inbound: &Inbound,
    visit: &Visit,
) -> Upload {
    let (mut head, body) = request.into_parts();
    let gate = match body.wait() {
        Wait::Continue => Gate::AwaitContinue,
        Wait::Nothing | Wait::Over => Gate::Open,
    };
    if gate == Gate::Open {
        head.headers.remove(EXPECT);
    }
    let framing = match body.size() {
        Size::Known(0) if matches!(body, Body::Empty) && !has_length(&head.headers) => {
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
    let host = headers::host(upstream, server, &head.headers);
    let parts = RequestParts {
        method: &head.method,
        target: &path,
        host: host.as_bytes(),
        headers: &head.headers,
        framing,
        connection: match &inbound.upgrade {
            Some(protocol) => ConnectionField::Upgrade(protocol.as_bytes()),
            None => ConnectionField::Omit,
        },
    };
    let mut out = Outgoing::with_buffer(visit.proxy.buffers.take());
    h1::encode_request_head(&parts, out.front());
    visit.proxy.scratch.keep(head.headers);
    let bound = visit.active.snapshot.limits.write_timeout;
    Upload::new(out, &head.method, body, framing, gate, bound)
}

/// `content-length: 0` of a request without a body goes on as it came.
fn has_length(headers: &HeaderMap) -> bool {
    headers.contains_key(http::header::CONTENT_LENGTH)
}

/// Over an idle connection if there is one, else, or if that one was dead, over a new one.
async fn converse(
    mut upload: Upload,
    method: &Method,
    endpoint: &Endpoint,
    target: &Target<'_>,
    inbound: &Inbound,
    visit: &mut Visit,
) -> Result<(ResponseHead, Exchange), Reason> {
    let need = if upload.is_safe_to_lose() {
        Need::Likely
    } else {
        Need::Sure
    };
    let owner = owner(target.upstream, inbound);
    if let Some(stream) = endpoint.take(need, inbound.alarm.about_now(), &owner) {
        let mut exchange = begin(stream, upload, target, inbound, visit);
        match exchange.head(method, &inbound.interim).await {
            Ok(head) => return Ok((head, exchange)),
            Err(Reason::UpstreamClosed) if exchange.was_dead() => upload = exchange.into_upload(),
            Err(reason) => return Err(reason),
        }
        if !upload.may_be_repeated() {
            return Err(Reason::UpstreamClosed);
        }
        upload.rewind();
    }
    let began = Instant::now();
    let version = target.upstream.proxy_protocol;
    let introduction = version.map(|version| inbound.ends.introduction(version));
    let bound = target.upstream.timeouts.connect;
    let stream = connect(endpoint, introduction, bound, &inbound.alarm).await?;
    visit.seen.connect = Some(began.elapsed());
    let mut exchange = begin(stream, upload, target, inbound, visit);
    let head = exchange.head(method, &inbound.interim).await?;
    Ok((head, exchange))
}

/// A connection that told the upstream of one client serves no other.
fn owner(upstream: &Upstream, inbound: &Inbound) -> Owner {
    let introduced = upstream.proxy_protocol.is_some();
    introduced.then(|| Rc::clone(&inbound.ends))
}

fn begin(
    stream: Stream,
    upload: Upload,
    target: &Target<'_>,
    inbound: &Inbound,
    visit: &mut Visit,
) -> Exchange {
    visit.seen.attempts += 1;
    let bound = target.upstream.timeouts.response_header;
    Exchange::new(&visit.proxy, &inbound.alarm, stream, upload, bound)
}

fn respond(
    mut head: ResponseHead,
    exchange: Exchange,
    hold: Hold,
    target: &Target<'_>,
    inbound: &Inbound,
) -> Result<Response<Body>, Reason> {
    let headers = std::mem::take(&mut head.headers);
    let body = match &head.kind {
        ResponseKind::Final => {
            let back = Return {
                hold,
                bounds: target.upstream.keepalive,
                owner: owner(target.upstream, inbound),
            };
            Body::Upstream(Box::new(exchange.into_body(&head, back)))
        }
        ResponseKind::Upgrade(protocol) if was_offered(protocol, inbound) => {
            Body::Switched(Box::new(Switched::new(exchange, hold, protocol.clone())?))
        }
        _ => return Err(Reason::UpstreamUpgrade),
    };
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.version_mut() = Version::HTTP_11;
    *response.headers_mut() = headers;
    debug_assert!(
        head.status != StatusCode::CONTINUE,
        "interim responses are passed on before"
    );
    Ok(response)
}

/// Whether the client asked for the protocol that the upstream wants to speak.
fn was_offered(protocol: &HeaderValue, inbound: &Inbound) -> bool {
    let chosen = protocol.as_bytes().trim_ascii();
    let mut offered = inbound
        .upgrade
        .iter()
        .flat_map(|all| all.as_bytes().split(|b| *b == b','));
    offered.any(|one| one.trim_ascii().eq_ignore_ascii_case(chosen))
}
