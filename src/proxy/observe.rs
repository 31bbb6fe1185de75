//! The one place where the facts of the data plane leave it: once per request, when its response has
//! been written or given up, and when connections come and go.
//!
//! Not here: what is done with the facts (counters in shared memory, the access log); this file
//! keeps the worker's own totals only.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, StatusCode, Uri, Version};

use super::error::Reason;

/// All that is known of one request. Made without an allocation: names are indices into the
/// snapshot, texts share the bytes that were read.
#[derive(Debug)]
pub struct Observation {
    /// The snapshot that served it.
    pub generation: u64,
    pub started: Instant,
    pub listener: u32,
    pub peer: SocketAddr,
    /// The peer, or whom a trusted proxy spoke for.
    pub client: IpAddr,
    pub version: Version,
    pub method: Method,
    /// As received.
    pub target: Uri,
    pub host: Option<HeaderValue>,
    pub user_agent: Option<HeaderValue>,
    pub request_id: Option<HeaderValue>,
    /// Index into the snapshot's routes.
    pub route: Option<u32>,
    /// Index into the snapshot's upstreams.
    pub upstream: Option<u32>,
    /// Index into the upstream's servers.
    pub server: Option<u32>,
    pub endpoint: Option<SocketAddr>,
    /// Connections to the upstream that the request was sent over.
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
}

impl Observation {
    pub(super) fn begin(generation: u64, listener: u32, peer: SocketAddr) -> Self {
        Self {
            generation,
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
        }
    }
}

/// One per worker.
#[derive(Debug, Default)]
pub struct Observer {
    requests: Cell<u64>,
    in_flight: Cell<u64>,
    connections: Cell<u64>,
    #[cfg(test)]
    seen: std::cell::RefCell<Vec<Observation>>,
}

impl Observer {
    pub fn connection_opened(&self, _listener: u32) {
        self.connections.set(self.connections.get() + 1);
    }

    pub fn connection_closed(&self, _listener: u32) {
        self.connections.set(self.connections.get() - 1);
    }

    pub fn request_began(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// Once for every request that began, whatever became of it.
    pub fn request_ended(&self, observation: Observation) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.requests.set(self.requests.get() + 1);
        tracing::debug!(
            target: "sluice::request",
            method = %observation.method,
            status = observation.status.map(|status| status.as_u16()),
            reason = observation.reason.map(Reason::code),
            "request"
        );
        #[cfg(test)]
        self.seen.borrow_mut().push(observation);
    }

    /// Requests that have ended.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    pub fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    /// Client connections that are open.
    pub fn connections(&self) -> u64 {
        self.connections.get()
    }

    #[cfg(test)]
    pub(super) fn take_seen(&self) -> Vec<Observation> {
        self.seen.take()
    }
}
