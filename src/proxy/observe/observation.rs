//! One request as it is counted, logged and traced: filled in by those who serve it, read at its end.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::{Method, StatusCode, Uri, Version};

use super::Watched;
use super::trace::Trace;
use crate::model::fields::Fields;
use crate::model::headers::RequestId;
use crate::model::resolved::Address;
use crate::proxy::error::Reason;
use crate::proxy::tls::secured::Secured;

/// What was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Kind {
    Request,
    /// Passed on as it is: it has no method, no path and no status.
    Connection,
}

/// All that is known of one request. Made without an allocation: names are indices into the
/// snapshot, texts share the bytes that were read.
#[derive(Debug)]
pub struct Observation {
    /// Where its generation counts and logs.
    pub(super) watched: Rc<Watched>,
    pub(in crate::proxy) kind: Kind,
    /// The snapshot that served it.
    pub generation: u64,
    pub started: Instant,
    pub listener: u32,
    pub peer: SocketAddr,
    /// The peer, or whom a trusted proxy spoke for.
    pub client: IpAddr,
    pub version: Version,
    pub method: Method,
    /// As received. It, host and user agent are there only where requests are logged or traced.
    pub target: Uri,
    pub host: Option<Bytes>,
    pub user_agent: Option<Bytes>,
    pub request_id: Option<RequestId>,
    /// Index into the snapshot's routes.
    pub route: Option<u32>,
    /// Index into the snapshot's upstreams.
    pub upstream: Option<u32>,
    /// Index into the upstream's servers.
    pub server: Option<u32>,
    pub endpoint: Option<Address>,
    /// How often the request was sent to the upstream, failed connects included.
    pub attempts: u32,
    /// Of the last new connection, if one was made.
    pub connect: Option<Duration>,
    /// From the start until the head of the upstream's response.
    pub upstream_head: Option<Duration>,
    /// From the start until the last byte of the response was handed to the socket.
    pub duration: Duration,
    /// `None` when nothing was answered.
    pub status: Option<StatusCode>,
    /// What went wrong, if something did; also after the head of the response.
    pub reason: Option<Reason>,
    /// Of bodies, without their framing.
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Those that the access log asks for, in its order.
    pub(super) headers: Vec<Option<Bytes>>,
    /// Of the client's connection.
    pub(in crate::proxy) tls: Option<Rc<Secured>>,
    /// Where requests are traced.
    pub trace: Option<Trace>,
}

impl Observation {
    pub(in crate::proxy) fn begin(watched: Rc<Watched>, listener: u32, peer: SocketAddr) -> Self {
        Self {
            generation: watched.generation,
            watched,
            kind: Kind::Request,
            started: Instant::now(),
            listener,
            peer,
            client: peer.ip(),
            version: Version::HTTP_11,
            method: Method::GET,
            target: Uri::default(),
            host: None,
            user_agent: None,
            request_id: None,
            route: None,
            upstream: None,
            server: None,
            endpoint: None,
            attempts: 0,
            connect: None,
            upstream_head: None,
            duration: Duration::ZERO,
            status: None,
            reason: None,
            request_bytes: 0,
            response_bytes: 0,
            headers: Vec::new(),
            tls: None,
            trace: None,
        }
    }

    #[cfg(test)]
    pub(in crate::proxy) fn watched(&self) -> &Rc<Watched> {
        &self.watched
    }

    /// Takes from the request's head what the configuration asks to know: nothing unless requests
    /// are logged or traced.
    pub(in crate::proxy) fn note(&mut self, target: &Uri, headers: &Fields) {
        if self.watched.lines.is_none() && self.watched.tracing.is_none() {
            return;
        }
        self.target = target.clone();
        self.host = headers.get_shared(&HOST);
        self.user_agent = headers.get_shared(&USER_AGENT);
        if let Some(lines) = &self.watched.lines {
            self.headers = lines.capture(headers);
        }
        if let Some(tracing) = &self.watched.tracing {
            self.trace = Some(tracing.sampler.join(headers));
        }
    }
}
