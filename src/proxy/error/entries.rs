//! What each reason is to a client and to an operator: code, status, side, text.
//!
//! Not here: the list itself (`error`), and which fault is which reason (`faults`).

use super::{Reason, Side};

pub(super) struct Entry {
    pub(super) code: &'static str,
    pub(super) status: u16,
    pub(super) side: Side,
    /// The body of the answer, and what docs/reasons.md says.
    pub(super) text: &'static str,
}

impl Reason {
    pub(super) fn entry(self) -> Entry {
        use Side::{Client, Proxy, Upstream};
        let (code, status, side, text) = match self {
            Self::MalformedRequest => ("malformed_request", 400, Client, "Malformed request"),
            Self::AmbiguousFraming => (
                "ambiguous_framing",
                400,
                Client,
                "Ambiguous length of the request body",
            ),
            Self::BadTarget => ("bad_target", 400, Client, "Invalid request target"),
            Self::BadHost => ("bad_host", 400, Client, "Invalid or missing Host"),
            Self::PlainHttp => (
                "plain_http",
                400,
                Client,
                "Plain HTTP was sent to a port that speaks TLS",
            ),
            Self::MalformedBody => ("malformed_body", 400, Client, "Malformed request body"),
            Self::NoRoute => ("no_route", 404, Client, "Rule not found"),
            Self::HeaderTimeout => (
                "header_timeout",
                408,
                Client,
                "The request head did not arrive in time",
            ),
            Self::Http2Flood => (
                "http2_flood",
                400,
                Client,
                "HTTP/2 frames or header sections that only cost",
            ),
            Self::BodyTimeout => (
                "body_timeout",
                408,
                Client,
                "The request body did not arrive in time",
            ),
            Self::BodyTooLarge => (
                "body_too_large",
                413,
                Client,
                "The request body is too large",
            ),
            Self::UriTooLong => ("uri_too_long", 414, Client, "The request line is too long"),
            Self::UnknownExpectation => ("unknown_expectation", 417, Client, "Unknown expectation"),
            Self::Misdirected => (
                "misdirected",
                421,
                Client,
                "The connection's certificate is for another host",
            ),
            Self::HeadersTooLarge => (
                "headers_too_large",
                431,
                Client,
                "The request headers are too large",
            ),
            Self::TooManyHeaders => (
                "too_many_headers",
                431,
                Client,
                "The request has too many headers",
            ),
            Self::ProxyHeaderMalformed => (
                "proxy_header_malformed",
                400,
                Client,
                "Malformed PROXY protocol header",
            ),
            Self::ProxyHeaderMissing => (
                "proxy_header_missing",
                400,
                Client,
                "No PROXY protocol header where one is required",
            ),
            Self::ProxyHeaderTimeout => (
                "proxy_header_timeout",
                408,
                Client,
                "The PROXY protocol header did not arrive in time",
            ),
            Self::ClientGone => ("client_gone", 499, Client, "The client went away"),
            Self::ClientStalled => (
                "client_stalled",
                499,
                Client,
                "The client does not take the response",
            ),
            Self::UnsupportedEncoding => (
                "unsupported_encoding",
                501,
                Client,
                "Transfer coding not supported",
            ),
            Self::ConnectMethod => ("connect_method", 501, Client, "CONNECT is not supported"),
            Self::UnsupportedVersion => (
                "unsupported_version",
                505,
                Client,
                "HTTP version not supported",
            ),
            Self::ConnectFailed => (
                "connect_failed",
                502,
                Upstream,
                "The upstream refuses connections",
            ),
            Self::UpstreamTls => ("upstream_tls", 502, Upstream, "No TLS with the upstream"),
            Self::UpstreamClosed => (
                "upstream_closed",
                502,
                Upstream,
                "The upstream closed without an answer",
            ),
            Self::UpstreamRefused => (
                "upstream_refused",
                503,
                Upstream,
                "The upstream took no more requests",
            ),
            Self::UpstreamMalformed => (
                "upstream_malformed",
                502,
                Upstream,
                "The upstream's answer is malformed",
            ),
            Self::UpstreamHeadersTooLarge => (
                "upstream_headers_too_large",
                502,
                Upstream,
                "The headers of the upstream's answer are too large",
            ),
            Self::UpstreamUpgrade => (
                "upstream_upgrade",
                502,
                Upstream,
                "The upstream switched to a protocol that was not asked for",
            ),
            Self::UpstreamBodyBroken => (
                "upstream_body_broken",
                502,
                Upstream,
                "The upstream's answer broke off",
            ),
            Self::TunnelIdle => (
                "tunnel_idle",
                408,
                Client,
                "Nothing was sent either way for too long",
            ),
            Self::UnknownServerName => (
                "unknown_server_name",
                421,
                Client,
                "No route for the server name",
            ),
            Self::ClientHelloTimeout => (
                "client_hello_timeout",
                408,
                Client,
                "The TLS hello did not arrive in time",
            ),
            Self::NoAddress => ("no_address", 503, Upstream, "The upstream has no address"),
            Self::OutOfSockets => ("out_of_sockets", 503, Proxy, "Out of sockets"),
            Self::TooManyConnections => {
                ("too_many_connections", 503, Proxy, "Too many connections")
            }
            Self::Overloaded => ("overloaded", 503, Proxy, "Too many requests at once"),
            Self::DrainDeadline => ("drain_deadline", 503, Proxy, "Shutting down"),
            Self::ConnectTimeout => (
                "connect_timeout",
                504,
                Upstream,
                "Connecting to the upstream took too long",
            ),
            Self::UpstreamTlsTimeout => (
                "upstream_tls_timeout",
                504,
                Upstream,
                "The TLS handshake with the upstream took too long",
            ),
            Self::UpstreamStalled => (
                "upstream_stalled",
                504,
                Upstream,
                "The upstream does not take the request",
            ),
            Self::GrpcDeadline => (
                "grpc_deadline",
                504,
                Upstream,
                "The deadline of the call has passed",
            ),
            Self::UpstreamTimeout => (
                "upstream_timeout",
                504,
                Upstream,
                "The upstream did not answer in time",
            ),
            Self::UpstreamTryTimeout => (
                "upstream_try_timeout",
                504,
                Upstream,
                "No server of the upstream answered in time",
            ),
            Self::UpstreamIdle => (
                "upstream_idle",
                504,
                Upstream,
                "The upstream fell silent in the middle of its answer",
            ),
            Self::RequestTimeout => (
                "request_timeout",
                504,
                Upstream,
                "The request took too long",
            ),
            Self::UpstreamOverflow => (
                "upstream_overflow",
                503,
                Upstream,
                "Too many requests wait for the upstream",
            ),
            Self::UpstreamQueueTimeout => (
                "upstream_queue_timeout",
                503,
                Upstream,
                "The upstream has been at its limit for too long",
            ),
        };
        Entry {
            code,
            status,
            side,
            text,
        }
    }
}
