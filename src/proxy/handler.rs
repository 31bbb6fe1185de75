//! The life of one request, whatever protocol it came by: who asks, which route, which upstream,
//! what is changed on the way there and on the way back.
//!
//! Not here: how requests arrive and responses leave (`connection`), and what an upstream is sent
//! (`forward`).

use std::pin::pin;
use std::rc::Rc;

use http::Method;
use http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use http::uri::Authority;

use super::body::Body;
use super::error::Reason;
use super::grpc::deadline;
use super::grpc::web::{self, Form};
use super::interim::Interim;
use super::line::Line;
use super::message::{Request, Response};
use super::respond::{self, Disclosure};
use super::timers::{Alarm, Tick, before};
use super::visit::Visit;
use super::{echo, forward, mirror};
use crate::model::grpc::Dialect;
use crate::model::headers::{self, Origin, Passage, RequestId, forwarded, secure};
use crate::model::route::{Route, RouteQuery};
use crate::model::snapshot::{Snapshot, Target};

/// What is known of a request besides its head and body.
pub(super) struct Inbound {
    pub(super) line: Rc<Line>,
    /// Whom the request is for, as target or `Host` say.
    pub(super) authority: Option<Authority>,
    /// The protocol that the client offers to change to.
    pub(super) upgrade: Option<HeaderValue>,
    pub(super) interim: Interim,
    pub(super) alarm: Rc<Alarm>,
}

/// Answers every request. May be dropped at any time: an upstream that is at work on it sees its
/// connection closed.
///
/// The head stays where it is: large as it is, it would be moved from hand to hand.
pub(super) async fn handle(
    head: &mut Request,
    body: Body,
    inbound: &Inbound,
    visit: &mut Visit,
) -> Box<Response> {
    let hsts = strict_transport(head, inbound, visit);
    let call = Call::of(head, inbound);
    // When the deadline passes, the handling is dropped, and with it what an upstream does for it.
    let served = {
        let serving = pin!(serve(head, body, inbound, call, visit));
        before(call.due, &inbound.alarm, serving).await
    };
    let served = served.unwrap_or(Err(Reason::GrpcDeadline));
    let mut response = served.unwrap_or_else(|reason| {
        visit.seen.reason = Some(reason);
        let disclosure = Disclosure::by(visit.active.snapshot.error_header);
        respond::refusal(reason, disclosure, call.dialect)
    });
    if let Some(hsts) = hsts {
        response.headers.insert(&STRICT_TRANSPORT_SECURITY, &hsts);
    }
    response
}

/// What the listener tells those who come by https, of us or of a trusted proxy before us.
fn strict_transport(head: &Request, inbound: &Inbound, visit: &Visit) -> Option<HeaderValue> {
    let entrance = visit.active.entrance(visit.seen.listener)?;
    let hsts = entrance.settings.hsts.as_ref()?;
    let trusted = &visit.active.snapshot.trusted_proxies;
    let by_https = || {
        let peer = inbound.line.ends.peer.ip();
        let origin = forwarded::origin(peer, &head.headers, trusted);
        secure::came_by_https(&origin, &head.headers)
    };
    (inbound.line.tls.is_some() || by_https()).then(|| hsts.clone())
}

/// Where a request that came by http is sent, if the listener does that.
fn redirect(
    head: &Request,
    origin: &Origin,
    inbound: &Inbound,
    visit: &Visit,
) -> Result<Option<Box<Response>>, Reason> {
    let entrance = visit.active.entrance(visit.seen.listener);
    let Some(redirect) = entrance.and_then(|entrance| entrance.settings.redirect_https) else {
        return Ok(None);
    };
    if inbound.line.tls.is_some() || secure::came_by_https(origin, &head.headers) {
        return Ok(None);
    }
    let path = head.uri.path_and_query();
    let path = path.map_or("/", |whole| whole.as_str());
    let location = secure::location(redirect, inbound.authority.as_ref(), path);
    let location = location.ok_or(Reason::BadHost)?;
    Ok(Some(respond::redirect(redirect.code, location)))
}

/// What gRPC says of a request.
#[derive(Clone, Copy)]
struct Call {
    dialect: Dialect,
    /// Until when all of it may take.
    due: Option<Tick>,
}

impl Call {
    fn of(head: &Request, inbound: &Inbound) -> Self {
        let dialect = Dialect::of(&head.headers);
        let due = match dialect {
            Dialect::Http => None,
            _ => deadline::due(&head.headers, &inbound.alarm),
        };
        Self { dialect, due }
    }
}

async fn serve(
    head: &mut Request,
    mut body: Body,
    inbound: &Inbound,
    call: Call,
    visit: &mut Visit,
) -> Result<Box<Response>, Reason> {
    let active = visit.active.clone();
    let snapshot = &active.snapshot;
    note_head(visit, head);
    refuse_connect(&head.method)?;

    let origin = forwarded::origin(
        inbound.line.ends.peer.ip(),
        &head.headers,
        &snapshot.trusted_proxies,
    );
    visit.seen.client = origin.ip;
    if let Some(elsewhere) = redirect(head, &origin, inbound, visit)? {
        return Ok(elsewhere);
    }
    let host = host(inbound);
    refuse_misdirected(inbound)?;
    let route = find_route(snapshot, head, host)?;
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

    let traffic = snapshot.traffic(route.index, index, upstream);
    let bound = traffic.timeouts.request;
    let due = bound.map(|bound| inbound.alarm.now().after(bound));
    visit.due = due;

    let proxy = Rc::clone(&visit.proxy);
    let request_id = forwarded::request_id(&origin, &head.headers);
    let request_id = request_id.unwrap_or_else(|| RequestId::Made(proxy.scratch.request_id()));
    visit.seen.request_id = Some(request_id.clone());
    if let Some(trace) = &visit.seen.trace {
        trace.tell(&mut head.headers);
    }
    let passage = Passage {
        snapshot,
        upstream,
        origin,
        scheme: inbound.line.scheme(),
        host,
        method: &head.method,
        path: head.uri.path(),
        request_id,
        tls: inbound
            .line
            .tls
            .as_ref()
            .map(|tls| tls.facts())
            .unwrap_or_default(),
    };
    let told = passage.rewrite(&mut head.headers, &proxy.scratch.values);
    let all_are_seen = route.mirror.is_some() || matches!(upstream.target, Target::Echo);
    let told = match told {
        Some(told) if all_are_seen => {
            told.put_into(&mut head.headers, &proxy.scratch.values);
            None
        }
        told => told,
    };

    let web = Form::of(call.dialect).filter(|_| route.grpc_web || upstream.grpc_web);
    let web = web.and_then(|form| Some((form, web::to_grpc(&mut head.headers, &mut body, form)?)));
    if route.mirror.is_some() {
        body = mirror::split(head, body, route, inbound, visit);
    }
    let answer = pin!(async {
        match &upstream.target {
            Target::Echo => echo::answer(head, body, inbound, visit, route, upstream).await,
            Target::Servers(servers) => {
                let target = forward::Target {
                    upstream,
                    servers,
                    members: active.members(index).ok_or(Reason::NoAddress)?,
                    traffic,
                };
                forward::forward(head, body, told, &target, inbound, visit).await
            }
        }
    });
    let mut response = before(due, &inbound.alarm, answer)
        .await
        .unwrap_or(Err(Reason::RequestTimeout))?;
    if let Some(due) = call.due {
        deadline::bound(&mut response, due, &inbound.alarm);
    }
    if let Some((form, asked)) = web {
        web::from_grpc(&mut response, form, asked);
    }
    headers::rewrite_response(&mut response.headers, snapshot);
    Ok(response)
}

fn note_head(visit: &mut Visit, head: &Request) {
    visit.seen.version = head.version;
    visit.seen.method = head.method.clone();
    visit.seen.note(&head.uri, &head.headers);
}

/// A reverse proxy opens no tunnels to places of the client's choice.
fn refuse_connect(method: &Method) -> Result<(), Reason> {
    if *method == Method::CONNECT {
        Err(Reason::ConnectMethod)
    } else {
        Ok(())
    }
}

/// Clients use a connection for several hosts where its certificate is for all of them, and some
/// where it is not.
fn refuse_misdirected(inbound: &Inbound) -> Result<(), Reason> {
    let host = || inbound.authority.as_ref().map_or("", Authority::host);
    match &inbound.line.tls {
        Some(tls) if tls.is_misdirected(host()) => Err(Reason::Misdirected),
        _ => Ok(()),
    }
}

fn host(inbound: &Inbound) -> &str {
    inbound.authority.as_ref().map_or("", Authority::as_str)
}

fn find_route<'a>(snapshot: &'a Snapshot, head: &Request, host: &str) -> Result<&'a Route, Reason> {
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
