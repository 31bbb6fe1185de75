//! The configuration, valid by construction: every reference is resolved to an index, every pattern
//! compiles, every default is filled in. Made by one way only (`raw` -> `Config`), and plain data, so
//! that the supervisor can send it to the workers.
//!
//! Not here: how it is written in YAML (`raw`), and how it is looked up per request (`snapshot`).

pub mod balance;
mod health;
mod listener;
pub mod observe;
mod reload;
mod rule;
pub mod tls;
pub mod traffic;

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::proxy_protocol;
use super::secret::Secret;
use super::template::Template;
pub use health::{CheckType, HealthCheck, HttpProbe, Probe};
pub use listener::{
    Hsts, Listener, NameRoute, Protocol, ProxyHeader, ProxyProtocol, RedirectHttps, Tcp, covers,
};
pub use reload::{Comparison, OrphanedStreams, Reload};
pub use rule::{
    HostPattern, Mirror, PathPattern, Rule, ValueMatch, ValuePattern, WeightedUpstream,
};
use traffic::{CircuitBreaker, Traffic};

/// One generation's whole behaviour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Addresses to accept on; never empty, never two alike.
    pub listeners: Vec<Listener>,
    pub workers: Workers,
    /// Ids are unique; rules point here by index.
    pub upstreams: Vec<Upstream>,
    /// Set on every proxied request, in order.
    pub headers: Vec<HeaderSetting>,
    /// The first that matches wins.
    pub rules: Vec<Rule>,
    /// Peers whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Whether `Via` is added to what is proxied, in both directions.
    pub via: bool,
    /// Whether answers made by the proxy itself carry their reason code as `x-sluice-error`.
    pub error_header: bool,
    pub limits: Limits,
    pub http2: Http2,
    pub session_tickets: tls::SessionTickets,
    /// Those that the system trusts; empty where no upstream needs them.
    pub system_authorities: Vec<tls::Der>,
    pub lifecycle: Lifecycle,
    pub drain: Drain,
    pub reload: Reload,
    pub admin: Admin,
    pub log: Log,
    pub worker: Worker,
    pub resolver: Resolver,
    pub metrics: Metrics,
    /// `None` logs no request.
    pub access_log: Option<observe::AccessLog>,
    /// `None` traces nothing, and passes what clients send.
    pub tracing: Option<observe::Tracing>,
}

/// As long as endpoints usually need to go out of the load balancers.
const EDGE_MIN_DELAY: Duration = Duration::from_secs(5);

impl Config {
    /// All that it holds, some perhaps more than once.
    pub fn certificates(&self) -> impl Iterator<Item = &tls::Certificate> {
        let ends = self.listeners.iter().filter_map(|l| l.tls.as_ref());
        let shown = self.upstreams.iter().filter_map(|u| u.tls.as_ref());
        let shown = shown.filter_map(|tls| tls.client.as_ref());
        ends.flat_map(|tls| &tls.certificates).chain(shown)
    }

    /// How long new connections are still taken after TERM.
    pub fn drain_min_delay(&self) -> Duration {
        let by_lifecycle = match self.lifecycle {
            Lifecycle::Edge => EDGE_MIN_DELAY,
            Lifecycle::Sidecar => Duration::ZERO,
        };
        self.drain.min_delay.unwrap_or(by_lifecycle)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Workers {
    /// As many as the container's CPU quota allows.
    Auto,
    Count(NonZeroU16),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub id: String,
    pub target: Target,
    /// There if one of its servers is spoken to by https.
    pub tls: Option<tls::UpstreamTls>,
    pub host_header: HostHeader,
    pub protocol: UpstreamProtocol,
    pub http2: UpstreamHttp2,
    /// gRPC-Web becomes gRPC on the way there.
    pub grpc_web: bool,
    pub keepalive: Keepalive,
    /// Which PROXY protocol header connections to it begin with; `None` is none.
    pub proxy_protocol: Option<proxy_protocol::Version>,
    pub traffic: Traffic,
    /// `None` bounds nothing.
    pub circuit_breaker: Option<CircuitBreaker>,
    pub balancing: balance::Balancing,
    /// `None` checks nothing.
    pub health_check: Option<HealthCheck>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// `builtin://echo`: answers with what it received, as JSON.
    Echo,
    /// Never empty.
    Servers(Vec<Server>),
}

/// One `url` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    pub host: ServerHost,
    /// 0 where the host says it all.
    pub port: u16,
    /// At least 1.
    pub weight: u32,
    pub role: ServerRole,
    /// As the `Host` header names it: without the port where that is the scheme's own.
    pub authority: String,
    pub scheme: Scheme,
    /// Put before the path of every request; empty or starting with `/`, never ending with it.
    pub base_path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerRole {
    Primary,
    /// Gets requests only while no primary is well.
    Backup,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    Http,
    /// Then the upstream has `tls`.
    Https,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerHost {
    Ip(std::net::IpAddr),
    /// With a dot at its end where no search domain may be tried.
    Name(String),
    /// `dns+srv://`: name servers say where it is and on which ports.
    Service(String),
    /// The path of a socket; absolute.
    Unix(String),
}

impl ServerHost {
    /// As metrics, logs and changes name it.
    pub fn with_port(&self, port: u16) -> String {
        match self {
            Self::Ip(ip) => SocketAddr::new(*ip, port).to_string(),
            Self::Name(name) => format!("{name}:{port}"),
            Self::Service(name) => format!("dns+srv://{name}"),
            Self::Unix(path) => format!("unix:{path}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostHeader {
    /// The upstream's own name, as its `url` gives it.
    Upstream,
    /// What the client sent.
    Preserve,
}

/// What is spoken with an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpstreamProtocol {
    /// What TLS agrees on; without it HTTP/1.1.
    Auto,
    Http1,
    /// HTTP/2 by TLS.
    H2,
    /// HTTP/2 with prior knowledge, without TLS.
    H2c,
}

/// HTTP/2 with an upstream: bounds of each endpoint and worker, and of each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamHttp2 {
    /// Requests at once over one connection.
    pub max_concurrent_streams: u32,
    pub max_connections: u32,
    pub initial_stream_window_size: u32,
    pub initial_connection_window_size: u32,
    pub keepalive: Option<Http2Keepalive>,
}

/// Bounds on idle connections to an upstream, per worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keepalive {
    /// Idle connections kept per endpoint; 0 keeps none.
    pub idle_connections: u32,
    pub idle_timeout: Duration,
}

/// A header to set; its value is a template (`$ip`, `$host` ...), secrets already resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderSetting {
    /// A valid header name in lower case.
    pub name: String,
    pub value: Template,
}

/// What a client may ask of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Request line and headers together, in bytes.
    pub header_bytes: u32,
    pub header_count: u32,
    /// In bytes.
    pub request_line_bytes: u32,
    /// In bytes; `None` is unlimited.
    pub body_bytes: Option<u64>,
    /// From a request's first byte to the end of its head.
    pub header_timeout: Duration,
    /// How long a client connection may wait for its next request.
    pub idle_timeout: Duration,
    /// Between two pieces of a request body.
    pub body_timeout: Duration,
    /// How long a client may take none of the bytes that wait for it.
    pub write_timeout: Duration,
    /// In bytes per second; 0 asks for none.
    pub min_body_rate: u32,
    /// In bytes per second; 0 asks for none.
    pub min_response_rate: u32,
    /// Of waiting, before the rates are asked.
    pub rate_grace: Duration,
    /// Per worker.
    pub connections: u32,
    /// From a TLS connection's begin to the end of its handshake.
    pub handshake_timeout: Duration,
    /// TLS handshakes under way at once, per worker.
    pub handshakes: u32,
}

/// HTTP/2 with clients; all of it is of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http2 {
    pub max_concurrent_streams: u32,
    /// Bytes of one request's body that may be on their way.
    pub initial_stream_window_size: u32,
    /// Bytes of all requests' bodies that may be on their way.
    pub initial_connection_window_size: u32,
    pub max_frame_size: u32,
    /// Names, values and 32 bytes for each header, in bytes.
    pub max_header_list_size: u32,
    /// What header compression may remember, in bytes.
    pub header_table_size: u32,
    pub keepalive: Option<Http2Keepalive>,
}

/// A PING after so long without a byte from the peer, and the end if that is not answered either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http2Keepalive {
    pub interval: Duration,
    pub timeout: Duration,
}

/// Whose end the end of the program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifecycle {
    /// Clients are elsewhere and are to go elsewhere: told to close, then no longer accepted.
    Edge,
    /// The client is the application in the same pod, which ends too: served until it has.
    Sidecar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// How long new connections are still taken after TERM; `None` as the lifecycle has it.
    pub min_delay: Option<Duration>,
    /// How long work in flight may take to end after TERM.
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admin {
    pub listen: SocketAddr,
    /// Lets callers other than loopback change state; `None` lets nobody else.
    pub token: Option<Secret>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Json,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// A worker that gives no sign of life for so long is killed and replaced.
    pub hang_timeout: Duration,
}

/// How the host names of upstreams are resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Not above `max_ttl`.
    pub min_ttl: Duration,
    pub max_ttl: Duration,
    /// How long a good answer outlives one that says that there is nothing.
    pub hold_negative: Duration,
    /// For one name server; `None` as the file says.
    pub timeout: Option<Duration>,
    /// At least 1; `None` as the file says.
    pub attempts: Option<u32>,
    /// Instead of those of the file; none has port 0.
    pub nameservers: Vec<SocketAddr>,
    pub resolv_conf: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Time series beyond this many are counted together.
    pub max_series: u32,
}
