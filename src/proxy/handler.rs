//! The life of one request, whatever protocol it came by: who asks, which route, which upstream,
//! what is changed on the way there and on the way back.
//!
//! Not here: how requests arrive and responses leave (`connection`), and what an upstream is sent
//! (`forward`).

use std::net::SocketAddr;
use std::rc::Rc;

use http::header::{HOST, HeaderName, HeaderValue, USER_AGENT, VIA};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, request};

use super::body::Body;
use super::error::Reason;
use super::filters::forwarded::Origin;
use super::filters::{forwarded, hop, settings};
use super::interim::Interim;
use super::respond::{self, Disclosure};
use super::timers::Alarm;
use super::visit::Visit;
use super::{echo, forward};
use crate::model::route::{Route, RouteQuery};
use crate::model::snapshot::{Snapshot, Target, Upstream};
use crate::model::template::Facts;

const VIA_US: HeaderValue = HeaderValue::from_static("1.1 sluice");

/// What is known of a request besides its head and body.
pub(super) struct Inbound {
    pub(super) peer: SocketAddr,
    pub(super) scheme: &'static str,
    /// Whom the request is for, as target or `Host` say.
    pub(super) authority: Option<Authority>,
    /// The protocol that the client offers to change to.
    pub(super) upgrade: Option<HeaderValue>,
    pub(super) interim: Interim,
    pub(super) alarm: Rc<Alarm>,
}

/// Answers every request. May be dropped at any time: an upstream that is at work on it sees its
/// connection closed.
pub(super) async fn handle(
    request: Request<Body>,
    inbound: &Inbound,
    visit: &mut Visit,
) -> Response<Body> {
    match serve(request, inbound, visit).await {
        Ok(response) => response,
        Err(reason) => {
            visit.seen.reason = Some(reason);
            respond::refusal(reason, Disclosure::by(visit.active.snapshot.error_header))
        }
    }
}

async fn serve(
    request: Request<Body>,
    inbound: &Inbound,
    visit: &mut Visit,
) -> Result<Response<Body>, Reason> {
    let (mut head, body) = request.into_parts();
    let active = visit.active.clone();
    let snapshot = &active.snapshot;
    note_head(visit, &head);
    refuse_connect(&head.method)?;

    let origin = forwarded::origin(inbound.peer.ip(), &head.headers, &snapshot.trusted_proxies);
    visit.seen.client = origin.ip;
    let host = host(inbound);
    let route = find_route(snapshot, &head, host)?;
    visit.seen.route = Some(route.index);
    let index = active
        .balance
        .pick_upstream(route)
        .ok_or(Reason::NoAddress)?;
    let upstream = snapshot
        .upstreams
        .get(index as usize)
        .ok_or(Reason::NoAddress)?;
    visit.seen.upstream = Some(index);

    let proxy = Rc::clone(&visit.proxy);
    let request_id = forwarded::request_id(&origin, &head.headers, &proxy.scratch);
    visit.seen.request_id = Some(request_id.clone());
    let values = render_settings(visit, &head, inbound, &origin, upstream, &request_id);
    let client_host = head.headers.get(HOST).cloned();
    hop::strip(&mut head.headers);
    forwarded::tell(
        &mut head.headers,
        &origin,
        inbound.scheme,
        client_host.as_ref(),
        request_id,
        &proxy.scratch,
    );
    settings::set(&mut head.headers, snapshot, values);
    add_via(&mut head.headers, snapshot.via);

    let request = Request::from_parts(head, body);
    let mut response = match &upstream.target {
        Target::Echo => echo::answer(request, inbound, visit, route, upstream).await?,
        Target::Servers(servers) => {
            let target = forward::Target {
                index,
                upstream,
                servers,
            };
            forward::forward(request, &target, inbound, visit).await?
        }
    };
    hop::strip(response.headers_mut());
    add_via(response.headers_mut(), snapshot.via);
    Ok(response)
}

fn note_head(visit: &mut Visit, head: &request::Parts) {
    visit.seen.version = head.version;
    visit.seen.method = head.method.clone();
    visit.seen.target = head.uri.clone();
    visit.seen.host = head.headers.get(HOST).cloned();
    visit.seen.user_agent = head.headers.get(USER_AGENT).cloned();
}

/// A reverse proxy opens no tunnels to places of the client's choice.
fn refuse_connect(method: &Method) -> Result<(), Reason> {
    if *method == Method::CONNECT {
        Err(Reason::ConnectMethod)
    } else {
        Ok(())
    }
}

fn host(inbound: &Inbound) -> &str {
    inbound.authority.as_ref().map_or("", Authority::as_str)
}

fn find_route<'a>(
    snapshot: &'a Snapshot,
    head: &request::Parts,
    host: &str,
) -> Result<&'a Route, Reason> {
    let query = RouteQuery {
        host,
        method: &head.method,
        path: head.uri.path(),
        path_and_query: head
            .uri
            .path_and_query()
            .map_or("/", |whole| whole.as_str()),
        headers: &head.headers,
    };
    snapshot.routes.find(&query).ok_or(Reason::NoRoute)
}

fn render_settings(
    visit: &Visit,
    head: &request::Parts,
    inbound: &Inbound,
    origin: &Origin,
    upstream: &Upstream,
    request_id: &HeaderValue,
) -> Vec<HeaderValue> {
    let (active, scratch) = (&visit.active, &visit.proxy.scratch);
    if active.snapshot.headers.is_empty() {
        return Vec::new();
    }
    let ip = scratch.address(origin.ip);
    let facts = Facts {
        ip: ip.as_str(),
        host: host(inbound),
        scheme: inbound.scheme,
        method: head.method.as_str(),
        path: head.uri.path(),
        request_id: request_id.to_str().unwrap_or_default(),
        upstream: &upstream.id,
        headers: &head.headers,
    };
    settings::render(&active.snapshot, &active.constants, &facts, scratch)
}

fn add_via(headers: &mut HeaderMap, via: bool) {
    const NAME: HeaderName = VIA;
    if via {
        headers.append(NAME, VIA_US);
    }
}
