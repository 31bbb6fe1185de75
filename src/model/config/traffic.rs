//! How an upstream is treated that is slow, dead or full: timeouts, retries, hedging, circuit breaking.
//!
//! Not here: what a failure is and whether it is worth another try (`model::retry`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an upstream says, and a rule may say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub timeouts: Timeouts,
    pub retry: Retry,
    /// `None` never sends a request a second time while the first may still be answered.
    pub hedge: Option<Hedge>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    pub connect: Duration,
    /// Of the handshake, where the upstream is spoken to over TLS.
    pub tls: Duration,
    /// From the request's last byte sent to the response's head.
    pub response_header: Duration,
    /// Between two pieces of a response's body.
    pub idle: Duration,
    /// While no byte goes either way over an upgraded connection, or one of a TCP listener.
    pub tunnel: Duration,
    /// From the request's head to the last byte of its answer, all tries together.
    pub request: Option<Duration>,
    /// From the beginning of one try, connecting included, to the head of its response.
    pub per_try: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How often a request is sent at most, the first time included; at least 1.
    pub attempts: u32,
    /// `None` is what no server will have acted on twice, and then to another server only.
    pub on: Option<Vec<RetryOn>>,
    /// Upper case; `None` is every idempotent one.
    pub methods: Option<Vec<String>>,
    pub backoff: Backoff,
    pub budget: RetryBudget,
    /// How much of a request's body is kept for another try, in bytes.
    pub buffer_bytes: u32,
}

/// What is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RetryOn {
    /// No connection: nothing was sent.
    ConnectFailure,
    /// The server says itself that it did not look at the request.
    RefusedStream,
    /// The connection ended before the response's head.
    Reset,
    /// No head within `timeouts.responseHeader`, or none of the request taken.
    Timeout,
    /// A response that is not HTTP.
    InvalidResponse,
    /// 500 to 599.
    ServerError,
    /// 502, 503 and 504.
    GatewayError,
    Status(u16),
    Grpc(GrpcStatus),
}

/// The states of a gRPC call that may be another's luck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GrpcStatus {
    Cancelled,
    DeadlineExceeded,
    ResourceExhausted,
    Internal,
    Unavailable,
}

/// How long the next try waits: a random part of `base`, twice of that the next time, up to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    pub base: Duration,
    pub max: Duration,
}

/// How many retries an upstream takes from a worker, over the last ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryBudget {
    /// Of the requests.
    pub percent: u32,
    /// Beside that, however few requests there are.
    pub min_per_second: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hedge {
    /// How long a try goes unanswered before the next is sent beside it.
    pub after: Duration,
    /// How many are sent beside the first; at least 1.
    pub max: u32,
}

/// What a rule says otherwise than its upstreams; what it does not say is as they have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficChange {
    pub timeouts: TimeoutsChange,
    pub retry: RetryChange,
    pub hedge: Option<HedgeChange>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutsChange {
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
    pub response_header: Option<Duration>,
    pub idle: Option<Duration>,
    pub tunnel: Option<Duration>,
    pub request: Option<Duration>,
    pub per_try: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryChange {
    pub attempts: Option<u32>,
    pub on: Option<Vec<RetryOn>>,
    pub methods: Option<Vec<String>>,
    pub backoff_base: Option<Duration>,
    pub backoff_max: Option<Duration>,
    pub buffer_bytes: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HedgeChange {
    Off,
    As(Hedge),
}

impl Traffic {
    pub fn changed(&self, change: &TrafficChange) -> Self {
        Self {
            timeouts: self.timeouts.changed(&change.timeouts),
            retry: self.retry.changed(&change.retry),
            hedge: match change.hedge {
                None => self.hedge,
                Some(HedgeChange::Off) => None,
                Some(HedgeChange::As(hedge)) => Some(hedge),
            },
        }
    }
}

impl Timeouts {
    fn changed(&self, change: &TimeoutsChange) -> Self {
        Self {
            connect: change.connect.unwrap_or(self.connect),
            tls: change.tls.unwrap_or(self.tls),
            response_header: change.response_header.unwrap_or(self.response_header),
            idle: change.idle.unwrap_or(self.idle),
            tunnel: change.tunnel.unwrap_or(self.tunnel),
            request: change.request.or(self.request),
            per_try: change.per_try.or(self.per_try),
        }
    }
}

impl Retry {
    fn changed(&self, change: &RetryChange) -> Self {
        let backoff = Backoff {
            base: change.backoff_base.unwrap_or(self.backoff.base),
            max: change.backoff_max.unwrap_or(self.backoff.max),
        };
        Self {
            attempts: change.attempts.unwrap_or(self.attempts),
            on: change.on.as_ref().or(self.on.as_ref()).cloned(),
            methods: change.methods.as_ref().or(self.methods.as_ref()).cloned(),
            backoff,
            budget: self.budget,
            buffer_bytes: change.buffer_bytes.unwrap_or(self.buffer_bytes),
        }
    }
}

/// Bounds on what an upstream is asked at once. What is over waits, within bounds of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitBreaker {
    /// Of all endpoints together.
    pub whole: Bounds,
    /// Of each.
    pub endpoint: Bounds,
    /// How long a request may wait for its turn.
    pub pending_timeout: Duration,
}

impl CircuitBreaker {
    pub fn bounds_connections(&self) -> bool {
        self.whole.connections.is_some() || self.endpoint.connections.is_some()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Per worker; `None` is unbounded.
    pub connections: Option<u32>,
    /// In flight, over all workers; `None` is unbounded.
    pub requests: Option<u32>,
    /// Waiting, per worker: of an upstream for their turn, of an endpoint for a connection.
    pub pending: u32,
}
