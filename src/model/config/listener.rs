//! Where connections are accepted, and what is spoken there.
//!
//! Not here: what becomes of requests (`rule`).

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::HostPattern;
use super::tls;

/// Whether who connects to the narrow address is served by the wide one where that is alone. `[::]` is every
/// address.
pub fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    let is_alike = wide.is_ipv6() || narrow.is_ipv4();
    let is_wider = wide.ip().is_unspecified() && is_alike;
    wide.port() == narrow.port() && (is_wider || wide == narrow)
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    pub address: SocketAddr,
    /// `None` takes connections as they come.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `None` speaks plain HTTP.
    pub tls: Option<tls::ListenerTls>,
    /// Sends whoever asks by http to https.
    pub redirect_https: Option<RedirectHttps>,
    /// What clients that came by https are told to keep to.
    pub hsts: Option<Hsts>,
    pub protocol: Protocol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RedirectHttps {
    pub port: u16,
    /// 301, 302, 307 or 308.
    pub code: u16,
}

/// `Strict-Transport-Security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hsts {
    /// Nothing ends it.
    pub max_age: Duration,
    pub include_subdomains: bool,
    pub preload: bool,
}

/// Who may say for whom a connection was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProxyProtocol {
    /// Never empty.
    pub trusted_sources: Vec<ipnet::IpNet>,
    pub mode: ProxyHeader,
    pub timeout: Duration,
}

/// Whether connections from a trusted source begin with a PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProxyHeader {
    Require,
    Optional,
}

/// What is spoken over a listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// Rules say where requests go.
    Http,
    /// Connections are passed on as they are.
    Tcp(Tcp),
}

impl Protocol {
    pub fn tcp(&self) -> Option<&Tcp> {
        match self {
            Self::Http => None,
            Self::Tcp(tcp) => Some(tcp),
        }
    }
}

/// Where the connections of a listener go. Upstreams are named, since they are few, and since a name
/// means the same in the next configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tcp {
    /// By the server name that a TLS client asks for; the first that takes it wins.
    pub routes: Vec<NameRoute>,
    /// The rest; `None` where routes are all there is.
    pub upstream: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NameRoute {
    /// Never empty, never `Any`.
    pub names: Vec<HostPattern>,
    pub upstream: String,
}
