//! A configuration compiled for serving: everything that can be worked out before a request comes is
//! worked out here, so that the request finds header values, tables and ranges ready.
//!
//! Not here: connections, resolved addresses, balancing state and anything else that changes while
//! the snapshot is in use.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use rustls::RootCertStore;

use super::config::balance::Balancing;
use super::config::traffic::TrafficChange;
use super::config::{self, Config};
use super::headers::{self, settings, told};
use super::proxy_protocol;
use super::route::{RouteError, RouteTable};
use super::template::Template;
use super::traffic::Traffic;

mod networks;
mod tcp;
pub mod tls;

pub use networks::Networks;
pub use tcp::{Destination, Tcp};

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("rule {rule} points to upstream {upstream}, and there are {count}")]
    UpstreamIndex {
        rule: String,
        upstream: u32,
        count: usize,
    },
    #[error("a listener points to upstream {0}, which is not there")]
    ListenerUpstream(String),
    #[error("upstream {upstream}: {authority:?} cannot be sent as Host")]
    Authority { upstream: String, authority: String },
    #[error("{0:?} is not a header name")]
    HeaderName(String),
    #[error("upstream {0}: a method to retry is none")]
    Method(String),
    #[error("TLS to upstream {upstream}: {fault}")]
    UpstreamTls {
        upstream: String,
        fault: tls::InvalidTls,
    },
    #[error("TLS at {address}: {fault}")]
    Tls {
        address: SocketAddr,
        fault: tls::InvalidTls,
    },
}

#[derive(Debug)]
pub struct Snapshot {
    pub generation: u64,
    pub routes: RouteTable,
    pub upstreams: Vec<Upstream>,
    /// As in the configuration. Shared with whoever accepts, who needs the last one also when the
    /// next snapshot has it no more.
    pub listeners: Vec<Arc<Listener>>,
    /// By route and upstream, where the route's rule says otherwise than the upstream.
    changed: HashMap<(u32, u32), Traffic>,
    /// Set on every proxied request, in order.
    pub headers: Vec<HeaderSetting>,
    /// Whether one of them is among what an upstream is told anyway.
    pub sets_told: bool,
    pub trusted_proxies: Networks,
    pub limits: config::Limits,
    pub http2: config::Http2,
    pub drain: config::Drain,
    pub via: bool,
    pub error_header: bool,
}

/// What is to be known of a connection to serve it.
#[derive(Debug, Default)]
pub struct Listener {
    pub proxy_protocol: Option<ProxyProtocol>,
    pub tls: Option<tls::ListenerTls>,
    pub redirect_https: Option<config::RedirectHttps>,
    /// The header that says it.
    pub hsts: Option<HeaderValue>,
    /// `None` speaks HTTP.
    pub tcp: Option<Tcp>,
}

/// Who may say for whom a connection was made.
#[derive(Debug)]
pub struct ProxyProtocol {
    pub trusted_sources: Networks,
    pub mode: config::ProxyHeader,
    pub timeout: Duration,
}

#[derive(Debug)]
pub struct Upstream {
    pub id: Box<str>,
    pub target: Target,
    pub host_header: config::HostHeader,
    pub protocol: config::UpstreamProtocol,
    pub http2: config::UpstreamHttp2,
    pub grpc_web: bool,
    pub keepalive: config::Keepalive,
    pub proxy_protocol: Option<proxy_protocol::Version>,
    pub traffic: Traffic,
    pub circuit_breaker: Option<config::traffic::CircuitBreaker>,
    /// Shared with other upstreams that have the same.
    pub balancing: Arc<Balancing>,
}

#[derive(Debug)]
pub enum Target {
    /// Answered inside the program.
    Echo,
    /// Never empty.
    Servers(Box<[Server]>),
}

#[derive(Debug)]
pub struct Server {
    pub host: config::ServerHost,
    pub port: u16,
    pub weight: u32,
    pub role: config::ServerRole,
    /// The `Host` header to send, unless the client's is preserved.
    pub authority: HeaderValue,
    /// Where it is spoken to by https.
    pub tls: Option<tls::ServerTls>,
    /// Put before the path of every request; empty or starting with `/`, never ending with it.
    pub base_path: Box<str>,
}

#[derive(Debug)]
pub struct HeaderSetting {
    pub name: HeaderName,
    /// Secrets already resolved.
    pub value: Template,
    /// The value, where it is the same for every request.
    pub constant: Option<HeaderValue>,
}

impl Snapshot {
    pub fn build(config: &Config, generation: u64) -> Result<Self, SnapshotError> {
        check_references(config)?;
        let system = tls::usable_roots(&config.system_authorities);
        let headers: Vec<HeaderSetting> = config
            .headers
            .iter()
            .map(header)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            generation,
            routes: RouteTable::build(&config.rules)?,
            listeners: config
                .listeners
                .iter()
                .map(|one| listener(config, one))
                .collect::<Result<_, _>>()?,
            upstreams: upstreams(config, &system)?,
            changed: changed(config)?,
            sets_told: headers.iter().any(|one| told::depends_on(&one.name)),
            headers,
            trusted_proxies: Networks::new(&config.trusted_proxies),
            limits: config.limits,
            http2: config.http2,
            drain: config.drain,
            via: config.via,
            error_header: config.error_header,
        })
    }

    /// How requests that come by a route are treated on their way to an upstream, one of these.
    pub fn traffic<'s>(&'s self, route: u32, index: u32, upstream: &'s Upstream) -> &'s Traffic {
        if self.changed.is_empty() {
            return &upstream.traffic;
        }
        let changed = self.changed.get(&(route, index));
        changed.unwrap_or(&upstream.traffic)
    }
}

impl Upstream {
    pub fn build(upstream: &config::Upstream) -> Result<Self, SnapshotError> {
        let target = match &upstream.target {
            config::Target::Echo => Target::Echo,
            config::Target::Servers(servers) => Target::Servers(
                servers
                    .iter()
                    .map(|one| server(&upstream.id, one))
                    .collect::<Result<_, _>>()?,
            ),
        };
        Ok(Self {
            id: upstream.id.as_str().into(),
            target,
            host_header: upstream.host_header,
            protocol: upstream.protocol,
            http2: upstream.http2,
            grpc_web: upstream.grpc_web,
            keepalive: upstream.keepalive,
            proxy_protocol: upstream.proxy_protocol,
            traffic: traffic(upstream, &TrafficChange::default())?,
            circuit_breaker: upstream.circuit_breaker,
            balancing: Arc::new(upstream.balancing.clone()),
        })
    }
}

impl Upstream {
    fn with_tls(
        mut self,
        upstream: &config::Upstream,
        system: &Arc<RootCertStore>,
    ) -> Result<Self, SnapshotError> {
        let fault = |fault| SnapshotError::UpstreamTls {
            upstream: upstream.id.clone(),
            fault,
        };
        let (Target::Servers(servers), config::Target::Servers(written), Some(settings)) =
            (&mut self.target, &upstream.target, &upstream.tls)
        else {
            return Ok(self);
        };
        let common = tls::UpstreamTls::build(settings, system).map_err(fault)?;
        for (server, written) in servers.iter_mut().zip(written) {
            server.tls = common.of(written, settings).map_err(fault)?;
        }
        Ok(self)
    }
}

fn listener(config: &Config, listener: &config::Listener) -> Result<Arc<Listener>, SnapshotError> {
    let address = listener.address;
    let proxy_protocol = listener.proxy_protocol.as_ref();
    let tls = listener.tls.as_ref().map(tls::ListenerTls::build);
    let tls = tls.transpose();
    Ok(Arc::new(Listener {
        redirect_https: listener.redirect_https,
        hsts: listener
            .hsts
            .as_ref()
            .map(headers::secure::strict_transport),
        tls: tls.map_err(|fault| SnapshotError::Tls { address, fault })?,
        tcp: match &listener.protocol {
            config::Protocol::Http => None,
            config::Protocol::Tcp(tcp) => Some(Tcp::build(config, tcp)?),
        },
        proxy_protocol: proxy_protocol.map(|settings| ProxyProtocol {
            trusted_sources: Networks::new(&settings.trusted_sources),
            mode: settings.mode,
            timeout: settings.timeout,
        }),
    }))
}

fn traffic(upstream: &config::Upstream, change: &TrafficChange) -> Result<Traffic, SnapshotError> {
    Traffic::build(&upstream.traffic.changed(change))
        .ok_or_else(|| SnapshotError::Method(upstream.id.clone()))
}

fn changed(config: &Config) -> Result<HashMap<(u32, u32), Traffic>, SnapshotError> {
    let mut all = HashMap::new();
    for (route, rule) in (0..).zip(&config.rules) {
        let Some(change) = &rule.traffic else {
            continue;
        };
        for choice in &rule.upstreams {
            if let Some(upstream) = config.upstreams.get(choice.upstream as usize) {
                let changed = traffic(upstream, change)?;
                all.insert((route, choice.upstream), changed);
            }
        }
    }
    Ok(all)
}

/// Most upstreams are balanced alike.
fn upstreams(config: &Config, system: &Arc<RootCertStore>) -> Result<Vec<Upstream>, SnapshotError> {
    let mut last: Option<Arc<Balancing>> = None;
    let build = |upstream: &config::Upstream| {
        let mut built = Upstream::build(upstream)?.with_tls(upstream, system)?;
        match &last {
            Some(last) if *last == built.balancing => built.balancing = Arc::clone(last),
            _ => last = Some(Arc::clone(&built.balancing)),
        }
        Ok(built)
    };
    config.upstreams.iter().map(build).collect()
}

/// A `Config` that came through a channel is believed only as far as it can be looked up.
fn check_references(config: &Config) -> Result<(), SnapshotError> {
    let count = config.upstreams.len();
    for rule in &config.rules {
        let mirror = rule.mirror.map(|mirror| mirror.upstream);
        let named = rule.upstreams.iter().map(|choice| choice.upstream);
        for upstream in named.chain(mirror) {
            let known = usize::try_from(upstream).is_ok_and(|index| index < count);
            if !known {
                let rule = rule.name.clone();
                return Err(SnapshotError::UpstreamIndex {
                    rule,
                    upstream,
                    count,
                });
            }
        }
    }
    Ok(())
}

fn server(upstream: &str, server: &config::Server) -> Result<Server, SnapshotError> {
    let authority =
        HeaderValue::from_str(&server.authority).map_err(|_| SnapshotError::Authority {
            upstream: upstream.to_owned(),
            authority: server.authority.clone(),
        })?;
    Ok(Server {
        host: server.host.clone(),
        port: server.port,
        weight: server.weight,
        role: server.role,
        authority,
        tls: None,
        base_path: server.base_path.as_str().into(),
    })
}

fn header(setting: &config::HeaderSetting) -> Result<HeaderSetting, SnapshotError> {
    let name = HeaderName::from_bytes(setting.name.as_bytes())
        .map_err(|_| SnapshotError::HeaderName(setting.name.clone()))?;
    Ok(HeaderSetting {
        name,
        constant: settings::constant(&setting.value),
        value: setting.value.clone(),
    })
}
