//! What the machine says about names: resolv.conf and the hosts file, read again when they change.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Hosts, TokioResolver};

use super::search::Search;
use crate::model::config::Resolver as Settings;

const HOSTS: &str = "/etc/hosts";
const DNS_PORT: u16 = 53;
/// Questions that one name server is asked at once over one connection.
const ACTIVE: usize = 256;

/// Everything that a lookup needs to know beside its name.
pub(super) struct System {
    /// Or why nobody can be asked.
    pub(super) resolvers: Result<Resolvers, String>,
    pub(super) hosts: Hosts,
    pub(super) search: Search,
    files: [(PathBuf, Option<SystemTime>); 2],
}

/// The same name servers in two ways.
pub(super) struct Resolvers {
    /// With EDNS, which lets long answers come in one datagram.
    pub(super) extended: TokioResolver,
    /// As it was in 1987, for servers that do not understand the other.
    pub(super) plain: TokioResolver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Extended,
    Plain,
}

/// Of resolv.conf, what is used.
#[derive(Debug, PartialEq, Eq)]
struct Conf {
    nameservers: Vec<SocketAddr>,
    search: Search,
    timeout: Duration,
    attempts: u32,
}

impl System {
    /// Both files are small and local. One that is not there says nothing, as for the C library.
    pub(super) fn read(settings: &Settings) -> System {
        let path = PathBuf::from(&settings.resolv_conf);
        let hosts = PathBuf::from(HOSTS);
        let files = [modified(path), modified(hosts)];
        let text = fs::read(&settings.resolv_conf).unwrap_or_else(|error| {
            let path = &settings.resolv_conf;
            tracing::warn!(path, %error, "no resolv.conf");
            Vec::new()
        });
        let conf = Conf::of(&text, settings);
        let hosts = fs::read(HOSTS).unwrap_or_default();
        System {
            resolvers: conf.open(),
            hosts: parse_hosts(&hosts),
            search: conf.search,
            files,
        }
    }

    pub(super) fn is_stale(&self) -> bool {
        let [conf, hosts] = &self.files;
        [conf, hosts]
            .into_iter()
            .any(|(path, then)| modified_at(path) != *then)
    }
}

impl Conf {
    fn of(text: &[u8], settings: &Settings) -> Conf {
        let (parsed, errors) = resolv_conf::Config::parse_with_errors(text);
        for error in errors {
            tracing::warn!(path = settings.resolv_conf, %error, "a line of resolv.conf is not understood");
        }
        let listed = parsed.nameservers.iter();
        let listed = listed
            .map(|ip| SocketAddr::new(ip.into(), DNS_PORT))
            .collect();
        let nameservers = match settings.nameservers.is_empty() {
            true => listed,
            false => settings.nameservers.clone(),
        };
        let domains = parsed.get_last_search_or_domain();
        Conf {
            nameservers,
            search: Search {
                domains: domains.cloned().collect(),
                ndots: parsed.ndots,
            },
            timeout: settings
                .timeout
                .unwrap_or(Duration::from_secs(u64::from(parsed.timeout.max(1)))),
            attempts: settings.attempts.unwrap_or(parsed.attempts.max(1)),
        }
    }

    fn open(&self) -> Result<Resolvers, String> {
        Ok(Resolvers {
            extended: self.open_as(Dialect::Extended)?,
            plain: self.open_as(Dialect::Plain)?,
        })
    }

    fn open_as(&self, dialect: Dialect) -> Result<TokioResolver, String> {
        if self.nameservers.is_empty() {
            return Err("no name server is configured".to_owned());
        }
        let servers = self.nameservers.iter().map(name_server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = self.timeout;
        options.attempts = (self.attempts as usize).saturating_sub(1);
        options.cache_size = 0;
        options.edns0 = dialect == Dialect::Extended;
        options.max_active_requests = ACTIVE;
        options.use_hosts_file = ResolveHosts::Never;
        builder.build().map_err(|error| error.to_string())
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![
        with_port(ConnectionConfig::udp()),
        with_port(ConnectionConfig::tcp()),
    ];
    NameServerConfig::new(address.ip(), true, connections)
}

fn parse_hosts(text: &[u8]) -> Hosts {
    let mut hosts = Hosts::default();
    if let Err(error) = hosts.read_hosts_conf(text) {
        tracing::warn!(path = HOSTS, %error, "the hosts file is not understood");
    }
    hosts
}

fn modified(path: PathBuf) -> (PathBuf, Option<SystemTime>) {
    let at = modified_at(&path);
    (path, at)
}

fn modified_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
