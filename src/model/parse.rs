//! From what is written (`RawConfig`) to what is valid (`Config`): defaults filled in, references
//! resolved, and every value that cannot work refused with what to write instead.
//!
//! Not here: reading YAML (`yaml`, `decode`), and compiling rules into tables (`snapshot`).

mod balance;
mod cookie;
mod environment;
mod header;
mod health;
mod host;
mod listener;
mod name;
mod observe;
mod path;
mod pattern;
mod process;
mod protocol;
mod resolver;
mod rule;
mod rule_names;
mod shadow;
mod sticky;
mod tcp;
mod tls;
mod traffic;
mod upstream;
mod url;

use std::net::SocketAddr;
use std::str::FromStr;

use super::config::tls::Der;
use super::config::{Config, Http2, Http2Keepalive, Limits};
use super::decode::{At, Decode, Reader, shortened};
use super::raw::{RawConfig, RawHttp2, RawHttp2Keepalive, RawLimits, RawServer};
use super::secret::{ReadFile, Resolve};
use super::tls::Timed;
use super::yaml::{NodeId, Tree};

/// What is wrong with a value, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    message: String,
    help: String,
}

impl Fault {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
        }
    }
}

/// A configuration, and where its rules stand, for what only compiling them can find.
pub(super) struct Parsed {
    pub(super) config: Config,
    pub(super) rules: Vec<NodeId>,
    /// Certificates and stapled responses, and where they are named.
    pub(super) timed: Vec<(NodeId, Timed)>,
    /// Those of listeners and of the admin port.
    pub(super) addresses: Vec<(NodeId, SocketAddr)>,
}

/// The files that a configuration names.
struct Files<'a, 'f> {
    read: &'a mut ReadFile<'f>,
    /// Certificates and stapled responses, and where they are named.
    timed: Vec<(NodeId, Timed)>,
    /// Those that the system trusts, once one has asked for them.
    system: Option<Vec<Der>>,
}

impl<'a, 'f> Files<'a, 'f> {
    fn new(read: &'a mut ReadFile<'f>) -> Self {
        Self {
            read,
            timed: Vec::new(),
            system: None,
        }
    }
}

/// Reads the whole document; `None` where the reader has noted an error.
pub(super) fn config(
    reader: &mut Reader<'_>,
    resolve: &mut Resolve<'_>,
    files: &mut ReadFile<'_>,
) -> Option<Parsed> {
    let raw = RawConfig::decode(Tree::ROOT, reader)?;
    let server = raw.server.as_ref()?;
    let mut files = Files::new(files);
    let upstreams = upstream::upstreams(&server.value, reader, resolve, &mut files);
    let listeners = listener::listeners(server, &upstreams, reader, &mut files);
    let mut addresses: Vec<_> = listeners.iter().map(|(at, l)| (*at, l.address)).collect();
    let listeners: Vec<_> = listeners
        .into_iter()
        .map(|(_, listener)| listener)
        .collect();
    let (places, rules) = rule::rules(server, &upstreams, &listeners, reader);
    let config = Config {
        workers: server.value.workers(),
        headers: header::headers(&server.value, reader, resolve),
        trusted_proxies: networks(&server.value.trusted_proxies, reader),
        via: server.value.via(),
        error_header: server.value.error_header(),
        limits: limits(&process::section(&server.value.limits)),
        http2: http2(&server.value),
        system_authorities: files.system.take().unwrap_or_default(),
        session_tickets: tls::session_tickets(&process::section(&server.value.session_tickets)),
        lifecycle: raw.lifecycle(),
        drain: process::drain(&raw),
        reload: process::reload(&raw),
        admin: process::admin(&raw, &listeners, reader, resolve)?,
        log: process::log(&raw),
        worker: process::worker(&raw),
        resolver: resolver::resolver(&raw, reader),
        metrics: process::metrics(&raw),
        access_log: observe::access_log(&raw, reader),
        tracing: observe::tracing(&raw, reader),
        upstreams: upstreams.into_valid(),
        listeners,
        rules,
    };
    addresses.push((process::admin_listen(&raw), config.admin.listen));
    (!reader.has_errors()).then_some(Parsed {
        config,
        rules: places,
        timed: files.timed,
        addresses,
    })
}

impl Reader<'_> {
    /// Notes what is wrong with a value, and gives back one that could be made of it.
    fn accept<T, V>(&mut self, from: At<T>, result: Result<V, Fault>) -> Option<V> {
        result
            .map_err(|Fault { message, help }| self.error(from.at, message, help))
            .ok()
    }
}

fn networks(list: &Option<At<Vec<At<&str>>>>, reader: &mut Reader<'_>) -> Vec<ipnet::IpNet> {
    let written = list.iter().flat_map(|list| &list.value);
    written
        .filter_map(|text| reader.accept(*text, network(text.value)))
        .collect()
}

/// A network, or an address as the network of itself alone.
fn network(text: &str) -> Result<ipnet::IpNet, Fault> {
    let network = ipnet::IpNet::from_str(text).map(|network| network.trunc());
    network
        .or_else(|_| std::net::IpAddr::from_str(text).map(ipnet::IpNet::from))
        .map_err(|_| {
            let message = format!("`{}` is not a network", shortened(text));
            Fault::new(
                message,
                "write it like `10.0.0.0/8` or `fd00::/8`, or a single IP address",
            )
        })
}

fn limits(raw: &RawLimits<'_>) -> Limits {
    Limits {
        header_bytes: raw.header_bytes().0,
        header_count: raw.header_count().0,
        request_line_bytes: raw.request_line_bytes().0,
        body_bytes: raw.body_bytes().0,
        header_timeout: raw.header_timeout(),
        idle_timeout: raw.idle_timeout(),
        body_timeout: raw.body_timeout(),
        write_timeout: raw.write_timeout(),
        min_body_rate: raw.min_body_rate().0,
        min_response_rate: raw.min_response_rate().0,
        rate_grace: raw.rate_grace(),
        connections: raw.connections().0,
        handshake_timeout: raw.handshake_timeout(),
        handshakes: raw.handshakes().0,
    }
}

fn http2(server: &RawServer<'_>) -> Http2 {
    let raw: RawHttp2<'_> = process::section(&server.http2);
    let header_bytes = process::section(&server.limits).header_bytes();
    let list_size = raw.max_header_list_size.map(|given| given.value.0);
    Http2 {
        max_concurrent_streams: raw.max_concurrent_streams().0,
        initial_stream_window_size: raw.initial_stream_window_size().0,
        initial_connection_window_size: raw.initial_connection_window_size().0,
        max_frame_size: raw.max_frame_size().0,
        max_header_list_size: list_size.unwrap_or(header_bytes.0),
        header_table_size: raw.header_table_size().0,
        keepalive: raw.keepalive.map(|given| keepalive(&given.value)),
    }
}

fn keepalive(raw: &RawHttp2Keepalive<'_>) -> Http2Keepalive {
    Http2Keepalive {
        interval: raw.interval(),
        timeout: raw.timeout(),
    }
}
