//! `server:` as it is written: listeners, upstreams, headers, rules and limits.

use std::time::Duration;

use super::balance::{BalanceForm, RawOutliers, RawSticky};
use super::health::RawHealthCheck;
use super::tls::{RawHsts, RawListenerTls, RawRedirectHttps, RawSessionTickets, RawUpstreamTls};
use super::traffic::{
    RawCircuitBreaker, RawHedge, RawRetry, RawRuleRetry, RawRuleTimeouts, RawTimeouts,
};
use super::words::{PathType, Protocol};
use crate::model::config::{HostHeader, ProxyHeader, UpstreamProtocol, Workers};
use crate::model::decode::{
    At, Bytes, FromText, Number, OneOrMany, Short, Switch, Unlimited, section,
};
use crate::model::proxy_protocol::Version;

/// A weight against which others are weighed.
pub(in crate::model) type Weight<const MIN: u64> = Number<MIN, 1_000_000>;

section! {
    /// `server:`
    RawServer {
        /// Where to accept connections: a port, an address with its port, or a list of them; without it, 8080.
        "listen" listen: OneOrMany<Short<RawListener<'t>>>,
        /// How many worker processes; `auto` follows the CPU quota of the container.
        "workers" workers: Workers = Workers::Auto,
        /// Where requests can go.
        "upstreams" upstreams: Vec<At<RawUpstream<'t>>>,
        /// Headers set on every proxied request.
        "headers" headers: Vec<At<RawHeader<'t>>>,
        /// Which request goes where; the first rule that matches wins.
        "rules" rules: Vec<At<RawRule<'t>>>,
        /// Networks whose `X-Forwarded-*` headers are believed and continued.
        "trustedProxies" trusted_proxies: Vec<At<&'t str>>,
        /// Which `Host` upstreams see unless they say otherwise: their own name, or the client's.
        "hostHeader" host_header: HostHeader = HostHeader::Upstream,
        /// Whether `Via` is added to requests and responses.
        "via" via: bool = false,
        /// Whether answers of the proxy's own carry their reason code as `x-sluice-error`.
        "errorHeader" error_header: bool = false,
        /// What one client may ask for.
        "limits" limits: RawLimits<'t>,
        /// HTTP/2 with clients; what it says holds for each connection.
        "http2" http2: RawHttp2<'t>,
        /// How TLS sessions are resumed.
        "sessionTickets" session_tickets: RawSessionTickets<'t>,
    }
}

section! {
    /// One of `listen`.
    RawListener {
        /// An IP address with a port, or a port alone for every IPv4 address.
        "address" address: &'t str; require,
        /// What is spoken over it: `http`, or `tcp` for connections that are passed on as they are.
        "protocol" protocol: Protocol = Protocol::Http,
        /// With `protocol: tcp`: the id of the upstream that connections go to, beside `routes` those that
        /// no route takes.
        "upstream" upstream: &'t str,
        /// With `protocol: tcp`: which upstream TLS connections go to by the server name that they ask
        /// for; they are not decrypted, unless the listener has `tls`. The first route that takes the name
        /// wins.
        "routes" routes: Vec<At<RawNameRoute<'t>>>,
        /// Load balancers in front of it say by the PROXY protocol (version 1 or 2) whom they speak for.
        /// Off without the section.
        "proxyProtocol" proxy_protocol: RawProxyProtocol<'t>,
        /// Ends TLS; without it, plain HTTP is spoken, or with `protocol: tcp` connections are passed on as
        /// they are.
        "tls" tls: RawListenerTls<'t>,
        /// Sends requests that come by http to https: `true`, or where to.
        "redirectHttps" redirect_https: Switch<RawRedirectHttps<'t>>,
        /// Tells clients that came by https to use nothing else (`Strict-Transport-Security`).
        "hsts" hsts: RawHsts<'t>,
    }
}

section! {
    /// One of a listener's `routes`.
    RawNameRoute {
        /// Server names, exact or `*.example.com` for every name below it.
        "sni" sni: OneOrMany<&'t str>; require,
        /// The id of the upstream.
        "upstream" upstream: &'t str; require,
    }
}

section! {
    /// `proxyProtocol:` of a listener.
    RawProxyProtocol {
        /// Networks whose connections begin with a header; all others are served as they are.
        "trustedSources" trusted_sources: Vec<At<&'t str>>; require,
        /// Whether connections from there must begin with one, or may.
        "mode" mode: ProxyHeader = ProxyHeader::Require,
        /// How long the header may take; closed after it.
        "timeout" timeout: Duration = Duration::from_secs(5),
    }
}

section! {
    /// One of `upstreams`.
    RawUpstream {
        /// The name that rules, metrics and logs know it by.
        "id" id: &'t str; require,
        /// Its only server: a host, `http://host:port/base`, `https://host:port/base`, `dns+srv://name`, `unix:/path`, or `builtin://echo`.
        "url" url: &'t str,
        /// Its servers, where it has several.
        "servers" servers: Vec<At<Short<RawServerEntry<'t>>>>,
        /// How TLS is spoken to servers with an `https://` url.
        "tls" tls: RawUpstreamTls<'t>,
        /// Which `Host` it sees: its own name, or the client's. Without it, `server.hostHeader`.
        "hostHeader" host_header: HostHeader,
        /// What is spoken with it: `http1`, `h2c` (HTTP/2 without TLS), `h2` (HTTP/2 over TLS), or `auto`,
        /// what TLS agrees on, and HTTP/1.1 without it.
        "protocol" protocol: UpstreamProtocol = UpstreamProtocol::Auto,
        /// HTTP/2 with it.
        "http2" http2: RawUpstreamHttp2<'t>,
        /// Whether gRPC-Web becomes gRPC on the way there.
        "grpcWeb" grpc_web: bool = false,
        /// Bounds on idle connections to it.
        "keepalive" keepalive: RawKeepalive<'t>,
        /// How long it may take.
        "timeouts" timeouts: RawTimeouts<'t>,
        /// Asks its endpoints whether they are well, and keeps requests from those that are not.
        "healthCheck" health_check: RawHealthCheck<'t>,
        /// Connections to it begin with a PROXY protocol header that tells whose they are; each
        /// serves one client. Without it, none.
        "proxyProtocol" proxy_protocol: Version,
        /// When a request that failed is sent again.
        "retry" retry: RawRetry<'t>,
        /// Sends idempotent requests that take long to another server too, and takes the first answer.
        /// Off without the section.
        "hedge" hedge: RawHedge<'t>,
        /// Bounds on what it is asked at once. None without the section.
        "circuitBreaker" circuit_breaker: RawCircuitBreaker<'t>,
        /// How one of several endpoints is chosen. Without it, `least-connections`.
        "balance" balance: BalanceForm<'t>,
        /// Keeps a client with the endpoint that it was first sent to, by a cookie.
        "sticky" sticky: RawSticky<'t>,
        /// For how long an endpoint that is new or comes back gets less than its share, first a tenth and
        /// then more and more. Without it, its whole share at once.
        "slowStart" slow_start: Duration,
        /// Where a smaller share of the endpoints is well, in percent, all of them get requests.
        "panicThreshold" panic_threshold: Number<0, 100> = Number(10),
        /// When an endpoint that fails in live traffic is left out for a while.
        "outlierDetection" outlier_detection: RawOutliers<'t>,
    }
}

section! {
    /// One of `servers`.
    RawServerEntry {
        /// A host, `http://host:port/base`, `https://host:port/base`, `dns+srv://name`, or `unix:/path`.
        "url" url: &'t str; require,
        /// Its share of the requests, against the other servers' weights.
        "weight" weight: Weight<1> = Number(1),
        /// Whether it gets requests only while no other server is well.
        "backup" backup: bool = false,
    }
}

section! {
    /// `keepalive:`
    RawKeepalive {
        /// Idle connections kept per endpoint and worker; 0 keeps none.
        "idleConnections" idle_connections: Number<0, 65_536> = Number(128),
        /// How long a connection may stay idle before it is closed.
        "idleTimeout" idle_timeout: Duration = Duration::from_secs(60),
    }
}

section! {
    /// One of `headers`.
    RawHeader {
        /// The header's name.
        "key" key: &'t str; require,
        /// Its value, with variables like `$ip` and secrets like `env:NAME`.
        "value" value: &'t str; require,
    }
}

section! {
    /// One of `rules`.
    RawRule {
        /// The name that metrics and logs know it by; without it, made from host and path.
        "name" name: &'t str,
        /// A host name, or `*.example.com` for every name below it; without it, any.
        "host" host: &'t str,
        /// Which paths; without it, any.
        "path" path: &'t str,
        /// How `path` is read: a regular expression anchored at the start of path and query, the
        /// whole path, or a prefix of whole path elements.
        "pathType" path_type: PathType = PathType::Regex,
        /// Which methods; without it, any.
        "methods" methods: Vec<At<&'t str>>,
        /// Request headers that must all match.
        "headers" headers: Vec<At<RawMatch<'t>>>,
        /// Query parameters that must all match.
        "query" query: Vec<At<RawMatch<'t>>>,
        /// Cookies that must all match.
        "cookies" cookies: Vec<At<RawMatch<'t>>>,
        /// Whether gRPC-Web becomes gRPC, whichever upstream it goes to.
        "grpcWeb" grpc_web: bool = false,
        /// Ids of the upstreams that requests are balanced over.
        "upstreams" upstreams: Vec<At<Short<RawTarget<'t>>>>; require,
        /// Copies requests to another upstream, for whose answers nobody waits.
        "mirror" mirror: RawMirror<'t>,
        /// How long its requests may take, where that differs from what the upstream says.
        "timeouts" timeouts: RawRuleTimeouts<'t>,
        /// When its requests are sent again, where that differs from what the upstream says.
        "retry" retry: RawRuleRetry<'t>,
        /// As for an upstream, and instead of it; with `max: 0` not at all.
        "hedge" hedge: RawHedge<'t>,
    }
}

section! {
    /// `mirror:`
    RawMirror {
        /// The id of the upstream that gets the copies.
        "upstream" upstream: &'t str; require,
        /// How many of a hundred requests are copied.
        "percent" percent: Number<0, 100> = Number(100),
        /// Copies of the rule that may be under way in a worker; more are not made.
        "maxInFlight" max_in_flight: Number<1, 65_536> = Number(128),
        /// A request with a longer body is not copied.
        "maxBody" max_body: Bytes<0, 16_777_216> = Bytes(64 * 1024),
    }
}

section! {
    /// A condition on a header, a query parameter or a cookie: one of `value`, `regex` and `present`.
    RawMatch {
        /// The name of the header, parameter or cookie.
        "name" name: &'t str; require,
        /// It has exactly this value.
        "value" value: &'t str,
        /// Its whole value matches this regular expression.
        "regex" regex: &'t str,
        /// It is there, whatever its value: `true`.
        "present" present: bool,
    }
}

section! {
    /// One of a rule's `upstreams`.
    RawTarget {
        /// The upstream's id.
        "id" id: &'t str; require,
        /// Its share of the requests, against the rule's other upstreams; 0 sends none.
        "weight" weight: Weight<0> = Number(1),
    }
}

section! {
    /// `limits:`
    RawLimits {
        /// Request line and headers together; 431 beyond.
        "headerBytes" header_bytes: Bytes<1_024, 1_048_576> = Bytes(32 * 1024),
        /// How many headers; 431 beyond.
        "headerCount" header_count: Number<1, 4_096> = Number(100),
        /// The request line alone; 414 beyond.
        "requestLineBytes" request_line_bytes: Bytes<64, 1_048_576> = Bytes(16 * 1024),
        /// The request's body; 413 beyond.
        "bodyBytes" body_bytes: Unlimited = Unlimited(None),
        /// From a request's first byte to the end of its headers; 408 after it.
        "headerTimeout" header_timeout: Duration = Duration::from_secs(10),
        /// How long a client's connection may wait for its next request; closed after it.
        "idleTimeout" idle_timeout: Duration = Duration::from_secs(75),
        /// Between two pieces of a request's body; 408 after it.
        "bodyTimeout" body_timeout: Duration = Duration::from_secs(60),
        /// How long a client may take none of the bytes that wait for it; closed after it.
        "writeTimeout" write_timeout: Duration = Duration::from_secs(60),
        /// Bytes per second that a client must send of a request's body whose length it has declared, on average
        /// over the time that it is waited for; 408 below. 0 asks for none.
        "minBodyRate" min_body_rate: Bytes<0, 1_048_576> = Bytes(240),
        /// Bytes per second that a client must take of a response, on average over the time that it is
        /// waited for; closed below. 0 asks for none.
        "minResponseRate" min_response_rate: Bytes<0, 1_048_576> = Bytes(240),
        /// How long a client may be waited for before the rates are asked of it.
        "rateGrace" rate_grace: Duration = Duration::from_secs(10),
        /// Client connections per worker; 503 beyond.
        "connections" connections: Number<1, 1_000_000> = Number(65_536),
        /// From the begin of a TLS connection to the end of its handshake; closed after it.
        "handshakeTimeout" handshake_timeout: Duration = Duration::from_secs(10),
        /// TLS handshakes under way at once, per worker; with one more the oldest is let go.
        "handshakes" handshakes: Number<1, 65_536> = Number(1_024),
    }
}

section! {
    /// `http2:`
    RawHttp2 {
        /// Requests at once over one connection; more are refused so that the client repeats them.
        "maxConcurrentStreams" max_concurrent_streams: Number<1, 65_536> = Number(128),
        /// How much of one request's body may be on its way before the upstream takes it.
        "initialStreamWindowSize" initial_stream_window_size: Bytes<1_024, 1_073_741_824> = Bytes(256 * 1024),
        /// The same of all requests of a connection together.
        "initialConnectionWindowSize" initial_connection_window_size: Bytes<65_536, 1_073_741_824> = Bytes(1024 * 1024),
        /// The largest frame that clients may send.
        "maxFrameSize" max_frame_size: Bytes<16_384, 16_777_215> = Bytes(16 * 1024),
        /// All headers of a request, with 32 bytes for each; 431 beyond. Without it, `limits.headerBytes`.
        "maxHeaderListSize" max_header_list_size: Bytes<1_024, 1_048_576>,
        /// What the compression of headers may remember.
        "headerTableSize" header_table_size: Bytes<0, 65_536> = Bytes(4 * 1024),
        /// Asks silent clients whether they are there. Off without the section.
        "keepalive" keepalive: RawHttp2Keepalive<'t>,
    }
}

section! {
    /// `http2:` of an upstream
    RawUpstreamHttp2 {
        /// Requests at once over one connection; the upstream may allow fewer.
        "maxConcurrentStreams" max_concurrent_streams: Number<1, 65_536> = Number(128),
        /// Connections per endpoint and worker; another is opened when all are full.
        "maxConnections" max_connections: Number<1, 1_024> = Number(8),
        /// How much of one answer's body may be on its way before the client takes it.
        "initialStreamWindowSize" initial_stream_window_size: Bytes<1_024, 1_073_741_824> = Bytes(256 * 1024),
        /// The same of all answers of a connection together.
        "initialConnectionWindowSize" initial_connection_window_size: Bytes<65_536, 1_073_741_824> = Bytes(1024 * 1024),
        /// Asks a silent upstream whether it is there. Off without the section.
        "keepalive" keepalive: RawHttp2Keepalive<'t>,
    }
}

section! {
    /// `http2.keepalive:`
    RawHttp2Keepalive {
        /// After so long without a byte from it, the peer is sent a PING.
        "interval" interval: Duration = Duration::from_secs(60),
        /// How long it may take to answer; the connection is closed after it.
        "timeout" timeout: Duration = Duration::from_secs(20),
    }
}

impl<'t> FromText<'t> for RawListener<'t> {
    fn from_text(text: At<&'t str>) -> Self {
        Self {
            address: Some(text),
            ..Self::default()
        }
    }
}

impl<'t> FromText<'t> for RawServerEntry<'t> {
    fn from_text(text: At<&'t str>) -> Self {
        Self {
            url: Some(text),
            ..Self::default()
        }
    }
}

impl<'t> FromText<'t> for RawTarget<'t> {
    fn from_text(text: At<&'t str>) -> Self {
        Self {
            id: Some(text),
            ..Self::default()
        }
    }
}
