//! The life of one request, whatever protocol it came by: who asks, which route, which upstream,
//! what is changed on the way there and on the way back.
//!
//! Not here: how requests arrive and responses leave (`connection`), and what an upstream is sent
//! (`forward`).

use std::pin::pin;
use std::rc::Rc;

use http::header::HeaderValue;
use http::uri::Authority;
use http::{Method, Request, Response, request};

use super::body::Body;
use super::ends::Ends;
use super::error::Reason;
use super::grpc::deadline;
use super::grpc::web::{self, Form};
use super::interim::Interim;
use super::respond::{self, Disclosure};
use super::timers::{Alarm, Tick, before};
use super::visit::Visit;
use super::{echo, forward};
use crate::model::grpc::Dialect;
use crate::model::headers::{self, Passage, forwarded};
use crate::model::route::{Route, RouteQuery};
use crate::model::snapshot::{Snapshot, Target};

/// What is known of a request besides its head and body.
pub(super) struct Inbound {
    /// Of the client's connection.
    pub(super) ends: Rc<Ends>,
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
    let call = Call::of(&request, inbound);
    // When the deadline passes, the handling is dropped, and with it what an upstream does for it.
    let served = {
        let serving = pin!(serve(request, inbound, call, visit));
        before(call.due, &inbound.alarm, serving).await
    };
    let served = served.unwrap_or(Err(Reason::GrpcDeadline));
    match served {
        Ok(response) => response,
        Err(reason) => {
            visit.seen.reason = Some(reason);
            let disclosure = Disclosure::by(visit.active.snapshot.error_header);
            respond::refusal(reason, disclosure, call.dialect)
        }
    }
}

/// What gRPC says of a request.
#[derive(Clone, Copy)]
struct Call {
    dialect: Dialect,
    /// Until when all of it may take.
    due: Option<Tick>,
}

impl Call {
    fn of(request: &Request<Body>, inbound: &Inbound) -> Self {
        let dialect = Dialect::of(request.headers());
        let due = match dialect {
            Dialect::Http => None,
            _ => deadline::due(request.headers(), &inbound.alarm),
        };
        Self { dialect, due }
    }
}

async fn serve(
    request: Request<Body>,
    inbound: &Inbound,
    call: Call,
    visit: &mut Visit,
) -> Result<Response<Body>, Reason> {
    let (mut head, body) = request.into_parts();
    let active = visit.active.clone();
    let snapshot = &active.snapshot;
    note_head(visit, &head);
    refuse_connect(&head.method)?;

    let origin = forwarded::origin(
        inbound.ends.peer.ip(),
        &head.headers,
        &snapshot.trusted_proxies,
    );
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

    let traffic = snapshot.traffic(route.index, index, upstream);
    let bound = traffic.timeouts.request;
    let due = bound.map(|bound| inbound.alarm.now().after(bound));
    visit.due = due;

    let proxy = Rc::clone(&visit.proxy);
    let request_id =
        forwarded::request_id(&origin, &head.headers).unwrap_or_else(|| proxy.scratch.request_id());
    visit.seen.request_id = Some(request_id.clone());
    if let Some(trace) = &visit.seen.trace {
        trace.tell(&mut head.headers);
    }
    let passage = Passage {
        snapshot,
        upstream,
        origin,
        scheme: inbound.scheme,
        host,
        method: &head.method,
        path: head.uri.path(),
        request_id,
    };
    passage.rewrite(&mut head.headers, &proxy.scratch.values);

    let mut request = Request::from_parts(head, body);
    let web = Form::of(call.dialect).filter(|_| route.grpc_web || upstream.grpc_web);
    let web = web.and_then(|form| Some((form, web::to_grpc(&mut request, form)?)));
    let answer = pin!(async {
        match &upstream.target {
            Target::Echo => echo::answer(request, inbound, visit, route, upstream).await,
            Target::Servers(servers) => {
                let target = forward::Target {
                    upstream,
                    servers,
                    members: active.members(index).ok_or(Reason::NoAddress)?,
                    traffic,
                };
                forward::forward(request, &target, inbound, visit).await
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
    headers::rewrite_response(response.headers_mut(), snapshot);
    Ok(response)
}

fn note_head(visit: &mut Visit, head: &request::Parts) {
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
