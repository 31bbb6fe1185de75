//! The closed list of what can go wrong with a request: its reason code, the status that it becomes
//! and whose fault it is. This is the only place where an error becomes an HTTP status.
//!
//! The code is a metric label, a field of the access log and, with `errorHeader`, a response header.
//! docs/reasons.md says the same to operators; a test compares the two. Not here: when they arise.

mod entries;
mod faults;

use std::fmt;

use http::StatusCode;

use crate::model::retry::Failure;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    Client,
    Upstream,
    Proxy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    MalformedRequest,
    AmbiguousFraming,
    BadTarget,
    BadHost,
    PlainHttp,
    MalformedBody,
    NoRoute,
    HeaderTimeout,
    Http2Flood,
    BodyTimeout,
    BodyTooLarge,
    UriTooLong,
    UnknownExpectation,
    Misdirected,
    HeadersTooLarge,
    TooManyHeaders,
    ProxyHeaderMalformed,
    ProxyHeaderMissing,
    ProxyHeaderTimeout,
    ClientGone,
    ClientStalled,
    UnsupportedEncoding,
    ConnectMethod,
    UnsupportedVersion,
    ConnectFailed,
    UpstreamTls,
    UpstreamClosed,
    UpstreamRefused,
    UpstreamMalformed,
    UpstreamHeadersTooLarge,
    UpstreamUpgrade,
    UpstreamBodyBroken,
    TunnelIdle,
    UnknownServerName,
    ClientHelloTimeout,
    ConnectTimeout,
    UpstreamTlsTimeout,
    UpstreamStalled,
    UpstreamTimeout,
    UpstreamTryTimeout,
    UpstreamIdle,
    RequestTimeout,
    UpstreamOverflow,
    UpstreamQueueTimeout,
    GrpcDeadline,
    NoAddress,
    OutOfSockets,
    TooManyConnections,
    Overloaded,
    DrainDeadline,
}

impl Reason {
    pub const ALL: [Self; 50] = [
        Self::MalformedRequest,
        Self::AmbiguousFraming,
        Self::BadTarget,
        Self::BadHost,
        Self::PlainHttp,
        Self::MalformedBody,
        Self::NoRoute,
        Self::HeaderTimeout,
        Self::Http2Flood,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::UnknownExpectation,
        Self::Misdirected,
        Self::HeadersTooLarge,
        Self::TooManyHeaders,
        Self::ProxyHeaderMalformed,
        Self::ProxyHeaderMissing,
        Self::ProxyHeaderTimeout,
        Self::ClientGone,
        Self::ClientStalled,
        Self::UnsupportedEncoding,
        Self::ConnectMethod,
        Self::UnsupportedVersion,
        Self::ConnectFailed,
        Self::UpstreamTls,
        Self::UpstreamClosed,
        Self::UpstreamRefused,
        Self::UpstreamMalformed,
        Self::UpstreamHeadersTooLarge,
        Self::UpstreamUpgrade,
        Self::UpstreamBodyBroken,
        Self::TunnelIdle,
        Self::UnknownServerName,
        Self::ClientHelloTimeout,
        Self::ConnectTimeout,
        Self::UpstreamTlsTimeout,
        Self::UpstreamStalled,
        Self::UpstreamTimeout,
        Self::UpstreamTryTimeout,
        Self::UpstreamIdle,
        Self::RequestTimeout,
        Self::UpstreamOverflow,
        Self::UpstreamQueueTimeout,
        Self::GrpcDeadline,
        Self::NoAddress,
        Self::OutOfSockets,
        Self::TooManyConnections,
        Self::Overloaded,
        Self::DrainDeadline,
    ];

    /// In snake case, from a closed set.
    pub fn code(self) -> &'static str {
        self.entry().code
    }

    /// What the client is answered, where the head of the response has not been sent yet.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.entry().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub fn side(self) -> Side {
        self.entry().side
    }

    /// One short line, safe to show to anybody.
    pub fn text(self) -> &'static str {
        self.entry().text
    }

    /// Its place in `ALL`: what counts by reason finds its cell without a lookup.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Whether it is likely to be over in a moment: the client is told to come again.
    pub fn passes_soon(self) -> bool {
        matches!(self, Self::UpstreamOverflow | Self::UpstreamQueueTimeout)
    }

    /// What it is for the one who may send the request again; `None` where no other try can help.
    pub fn failure(self) -> Option<Failure> {
        match self {
            Self::ConnectFailed | Self::ConnectTimeout => Some(Failure::Connect),
            Self::UpstreamRefused => Some(Failure::Refused),
            Self::UpstreamClosed => Some(Failure::Reset),
            Self::UpstreamMalformed | Self::UpstreamHeadersTooLarge => {
                Some(Failure::InvalidResponse)
            }
            Self::UpstreamTimeout | Self::UpstreamStalled => Some(Failure::Timeout),
            Self::UpstreamTryTimeout => Some(Failure::TryTimeout),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests;
