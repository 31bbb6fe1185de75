//! Whether a request that failed is sent again: by what went wrong, by its method, by how often it was
//! sent already, and how long to wait before.
//!
//! Not here: where it is sent (`balance`), whether its body is still at hand, and the connections.

pub mod budget;

use std::time::Duration;

use http::{HeaderName, Method, StatusCode};

use super::config::traffic::{Backoff, GrpcStatus, Retry, RetryOn};
use super::fields::Fields;

#[cfg(test)]
mod tests;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// How one try ended, if not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There was no connection.
    Connect,
    /// The server said that it did not look at the request.
    Refused,
    /// The connection ended before the response's head.
    Reset,
    /// `timeouts.perTry` has passed, which ends a try and not the request.
    TryTimeout,
    /// Any other wait for the server was too long.
    Timeout,
    InvalidResponse,
    /// It is a whole response, and passed on if nothing better comes.
    Status(StatusCode),
    /// A response that failed as a call, known from its head.
    Grpc(u32),
}

/// Whether a server may have acted on the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Surely,
    Never,
}

impl Failure {
    pub fn seen(self) -> Seen {
        match self {
            Self::Connect | Self::Refused => Seen::Never,
            _ => Seen::Surely,
        }
    }
}

/// A `retry` section, compiled.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    attempts: u32,
    /// Where the next try may go.
    pub reach: Reach,
    /// A bit for each failure without a number.
    failures: u8,
    /// A bit for each status from 400.
    statuses: [u64; 4],
    /// A bit for each code of a call.
    grpc: u32,
    methods: Methods,
    backoff: Backoff,
    /// How much of a body is kept for another try.
    pub buffer_bytes: usize,
}

#[derive(Debug, Clone)]
enum Methods {
    Idempotent,
    Listed(Box<[Method]>),
}

/// Where another try may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To a server that was not tried.
    Elsewhere,
    /// To any, after a wait where it is one that was tried.
    Anywhere,
}

const FIRST_STATUS: u16 = 400;

/// Where a configuration names nothing: nothing was sent, or nothing came of it but a broken
/// connection. Another server may do better; the same one hardly.
const USUAL: [RetryOn; 4] = [
    RetryOn::ConnectFailure,
    RetryOn::RefusedStream,
    RetryOn::Reset,
    RetryOn::InvalidResponse,
];

impl RetryPolicy {
    /// `None` where a method is none; a valid configuration has no such.
    pub fn build(retry: &Retry) -> Option<Self> {
        let listed = |names: &Vec<String>| {
            let methods = names
                .iter()
                .map(|name| Method::from_bytes(name.as_bytes()).ok());
            methods
                .collect::<Option<Box<[Method]>>>()
                .map(Methods::Listed)
        };
        let mut policy = Self {
            attempts: retry.attempts,
            reach: match retry.on {
                None => Reach::Elsewhere,
                Some(_) => Reach::Anywhere,
            },
            failures: bit(Failure::TryTimeout),
            statuses: [0; 4],
            grpc: 0,
            methods: match &retry.methods {
                None => Methods::Idempotent,
                Some(names) => listed(names)?,
            },
            backoff: retry.backoff,
            buffer_bytes: retry.buffer_bytes as usize,
        };
        let on = retry.on.as_deref().unwrap_or(&USUAL);
        on.iter().for_each(|on| policy.add(*on));
        Some(policy)
    }

    fn add(&mut self, on: RetryOn) {
        match on {
            RetryOn::ConnectFailure => self.failures |= bit(Failure::Connect),
            RetryOn::RefusedStream => self.failures |= bit(Failure::Refused),
            RetryOn::Reset => self.failures |= bit(Failure::Reset),
            RetryOn::Timeout => self.failures |= bit(Failure::Timeout),
            RetryOn::InvalidResponse => self.failures |= bit(Failure::InvalidResponse),
            RetryOn::ServerError => (500..600).for_each(|status| self.add_status(status)),
            RetryOn::GatewayError => (502..505).for_each(|status| self.add_status(status)),
            RetryOn::Status(status) => self.add_status(status),
            RetryOn::Grpc(status) => self.grpc |= 1 << code(status),
        }
    }

    fn add_status(&mut self, status: u16) {
        let place = usize::from(status.saturating_sub(FIRST_STATUS));
        if let Some(word) = self.statuses.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    /// Whether a request that was sent `sent` times, the last time with this failure, may be sent
    /// once more.
    pub fn allows(&self, failure: Failure, method: &Method, sent: u32) -> bool {
        sent < self.attempts
            && self.covers(failure)
            && (failure.seen() == Seen::Never || self.takes(method))
    }

    /// Whether requests with this method may be sent again though a server may have seen them.
    pub fn takes(&self, method: &Method) -> bool {
        match &self.methods {
            Methods::Idempotent => method.is_idempotent(),
            Methods::Listed(methods) => methods.contains(method),
        }
    }

    /// What a response's head is as a failure, if another try may be better.
    pub fn failure_of(&self, status: StatusCode, headers: &Fields) -> Option<Failure> {
        let by_status = Failure::Status(status);
        if self.covers(by_status) {
            return Some(by_status);
        }
        if self.grpc == 0 {
            return None;
        }
        let code = headers.get(&GRPC_STATUS)?;
        let code = str::from_utf8(code).ok()?.parse().ok()?;
        Some(Failure::Grpc(code)).filter(|failure| self.covers(*failure))
    }

    /// Before the try after `retries` others. `random` is any number; the same gives the same.
    pub fn backoff(&self, retries: u32, random: u64) -> Duration {
        let longest = self
            .backoff
            .base
            .saturating_mul(2_u32.saturating_pow(retries))
            .min(self.backoff.max);
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random % millis.saturating_add(1))
    }

    fn covers(&self, failure: Failure) -> bool {
        match failure {
            Failure::Status(status) => {
                let place = usize::from(status.as_u16().wrapping_sub(FIRST_STATUS));
                let word = self.statuses.get(place / 64).copied().unwrap_or(0);
                word >> (place % 64) & 1 == 1
            }
            Failure::Grpc(code) => self.grpc.checked_shr(code).unwrap_or(0) & 1 == 1,
            other => self.failures & bit(other) != 0,
        }
    }
}

fn bit(failure: Failure) -> u8 {
    match failure {
        Failure::Connect => 1,
        Failure::Refused => 2,
        Failure::Reset => 4,
        Failure::TryTimeout => 8,
        Failure::Timeout => 16,
        Failure::InvalidResponse => 32,
        Failure::Status(_) | Failure::Grpc(_) => 0,
    }
}

/// As gRPC numbers them.
fn code(status: GrpcStatus) -> u32 {
    match status {
        GrpcStatus::Cancelled => 1,
        GrpcStatus::DeadlineExceeded => 4,
        GrpcStatus::ResourceExhausted => 8,
        GrpcStatus::Internal => 13,
        GrpcStatus::Unavailable => 14,
    }
}
