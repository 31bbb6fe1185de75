//! How an upstream is treated that is slow, dead or full, as written: by the upstream, with defaults,
//! and by a rule that says otherwise, without.

use std::time::Duration;

use crate::model::config::traffic::{GrpcStatus, RetryOn};
use crate::model::decode::{At, Bytes, Decode, Number, Reader, Shape, decode_word, section};
use crate::model::yaml::NodeId;

/// Beyond that the client is long gone.
pub(in crate::model) type Attempts = Number<1, 10>;
/// Kept in memory for every request under way.
pub(in crate::model) type ReplayBytes = Bytes<0, 16_777_216>;
/// Of connections, requests and those that wait.
pub(in crate::model) type Most = Number<1, 1_000_000>;

section! {
    /// `timeouts:`
    RawTimeouts {
        /// How long connecting may take; 504 after it.
        "connect" connect: Duration = Duration::from_secs(5),
        /// How long the TLS handshake may take, where it is spoken to over TLS; 504 after it.
        "tls" tls: Duration = Duration::from_secs(5),
        /// How long the response's head may take once the request is sent; 504 after it.
        "responseHeader" response_header: Duration = Duration::from_secs(60),
        /// How long the server may be silent in the middle of a response, which breaks off after it.
        "idle" idle: Duration = Duration::from_secs(300),
        /// How long an upgraded connection, or one of a TCP listener, may be silent; closed after it.
        "tunnel" tunnel: Duration = Duration::from_secs(3600),
        /// How long a request may take in all, from its head to the last byte of the response, with
        /// all its tries; 504 after it, or a response that breaks off. Without it, as long as it takes.
        "request" request: Duration,
        /// How long one try may take, from connecting to the response's head, before the next; 504
        /// when there is none. Without it, as long as it takes.
        "perTry" per_try: Duration,
    }
}

section! {
    /// `retry:`
    RawRetry {
        /// How often a request is sent at most, the first time included; 1 never tries again.
        "attempts" attempts: Attempts = Number(3),
        /// What is worth another try. Without it, `connect-failure`, `refused-stream`, `reset` and
        /// `invalid-response`, and only while there is a server that was not tried.
        "on" on: Vec<At<RetryOn>>,
        /// Methods that may be sent again though a server may have seen them; without it, the
        /// idempotent ones: GET, HEAD, OPTIONS, TRACE, PUT, DELETE.
        "methods" methods: Vec<At<&'t str>>,
        /// How long to wait before the next try.
        "backoff" backoff: RawBackoff<'t>,
        /// What retries may add to the load.
        "budget" budget: RawRetryBudget<'t>,
        /// How much of a request's body is kept so that it can be sent again; a larger one is sent once.
        "bufferBytes" buffer_bytes: ReplayBytes = Bytes(64 * 1024),
    }
}

section! {
    /// `backoff:`
    RawBackoff {
        /// The first wait is a random part of this, every further one of twice the one before.
        "base" base: Duration = Duration::from_millis(25),
        /// No wait is longer.
        "max" max: Duration = Duration::from_millis(250),
    }
}

section! {
    /// `budget:`
    RawRetryBudget {
        /// How many retries there may be for a hundred requests, over the last ten seconds.
        "percent" percent: Number<0, 100> = Number(20),
        /// How many there may be a second beside that, per worker.
        "minPerSecond" min_per_second: Number<0, 10_000> = Number(10),
    }
}

section! {
    /// `hedge:`
    RawHedge {
        /// How long a request goes unanswered before it is sent to another server too.
        "after" after: Duration; require,
        /// To how many others; 0 is to none.
        "max" max: Number<0, 4> = Number(1),
    }
}

section! {
    /// `circuitBreaker:`
    RawCircuitBreaker {
        /// Connections to all its servers, per worker; without it, no bound.
        "maxConnections" max_connections: Most,
        /// Requests in flight to all its servers, over all workers; without it, no bound.
        "maxRequests" max_requests: Most,
        /// Requests that may wait for their turn, per worker; 503 beyond.
        "maxPendingRequests" max_pending: Number<0, 1_000_000> = Number(1_024),
        /// How long a request may wait for its turn; 503 after it.
        "pendingTimeout" pending_timeout: Duration = Duration::from_secs(1),
        /// Bounds on each of its servers: one that is full leaves requests to the others, and to the
        /// queue when all are.
        "endpoint" endpoint: RawEndpointBounds<'t>,
    }
}

section! {
    /// `endpoint:`
    RawEndpointBounds {
        /// Connections to one server, per worker; without it, no bound.
        "maxConnections" max_connections: Most,
        /// Requests in flight to one server, over all workers; without it, no bound.
        "maxRequests" max_requests: Most,
        /// Requests that may wait for a connection to one server, per worker; beyond, it is full.
        "maxPendingRequests" max_pending: Most = Number(1_024),
    }
}

section! {
    /// A rule's `timeouts:`
    RawRuleTimeouts {
        /// Instead of the upstream's.
        "connect" connect: Duration,
        /// Instead of the upstream's.
        "tls" tls: Duration,
        /// Instead of the upstream's.
        "responseHeader" response_header: Duration,
        /// Instead of the upstream's.
        "idle" idle: Duration,
        /// Instead of the upstream's.
        "tunnel" tunnel: Duration,
        /// Instead of the upstream's.
        "request" request: Duration,
        /// Instead of the upstream's.
        "perTry" per_try: Duration,
    }
}

section! {
    /// A rule's `retry:`
    RawRuleRetry {
        /// Instead of the upstream's.
        "attempts" attempts: Attempts,
        /// Instead of the upstream's.
        "on" on: Vec<At<RetryOn>>,
        /// Instead of the upstream's.
        "methods" methods: Vec<At<&'t str>>,
        /// Instead of the upstream's.
        "backoff" backoff: RawRuleBackoff<'t>,
        /// Instead of the upstream's.
        "bufferBytes" buffer_bytes: ReplayBytes,
    }
}

section! {
    /// A rule's `backoff:`
    RawRuleBackoff {
        /// Instead of the upstream's.
        "base" base: Duration,
        /// Instead of the upstream's.
        "max" max: Duration,
    }
}

const WORDS: [(&str, RetryOn); 12] = [
    ("connect-failure", RetryOn::ConnectFailure),
    ("refused-stream", RetryOn::RefusedStream),
    ("reset", RetryOn::Reset),
    ("timeout", RetryOn::Timeout),
    ("invalid-response", RetryOn::InvalidResponse),
    ("5xx", RetryOn::ServerError),
    ("gateway-error", RetryOn::GatewayError),
    ("cancelled", RetryOn::Grpc(GrpcStatus::Cancelled)),
    (
        "deadline-exceeded",
        RetryOn::Grpc(GrpcStatus::DeadlineExceeded),
    ),
    (
        "resource-exhausted",
        RetryOn::Grpc(GrpcStatus::ResourceExhausted),
    ),
    ("internal", RetryOn::Grpc(GrpcStatus::Internal)),
    ("unavailable", RetryOn::Grpc(GrpcStatus::Unavailable)),
];

/// Statuses that can mean that another server would have done better.
const STATUSES: std::ops::RangeInclusive<u16> = 400..=599;

/// A word, or a status.
impl<'t> Decode<'t> for RetryOn {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        let text = reader.tree.text(at).unwrap_or_default();
        match text.parse::<u16>() {
            Ok(status) if STATUSES.contains(&status) => Some(Self::Status(status)),
            Ok(_) => reader.expected(
                at,
                "a status from 400 to 599",
                "only failures can be tried again",
            ),
            Err(_) => decode_word(at, reader, &WORDS),
        }
    }

    fn shape() -> Shape {
        let status = Shape::Number {
            min: u64::from(*STATUSES.start()),
            max: u64::from(*STATUSES.end()),
        };
        let words = WORDS.iter().map(|(word, _)| *word).collect();
        Shape::Either(vec![status, Shape::Words(words)])
    }
}
