//! `upstreams`: where requests can go.

use rustc_hash::FxHashMap;

use super::url::{self, Address, Url};
use super::{Files, balance, health, name, protocol, tls, traffic};
use crate::model::config::{
    HealthCheck, Keepalive, Server, ServerRole, Target, Upstream, UpstreamHttp2, UpstreamProtocol,
};
use crate::model::decode::{At, Number, Reader, Short, nearest, shortened};
use crate::model::raw::{RawServer, RawServerEntry, RawUpstream, RawUpstreamHttp2, Weight};
use crate::model::secret::Resolve;
use crate::model::yaml::NodeId;

/// The upstreams as rules can name them. One that is not valid keeps its index and its id, so that
/// the rules that name it are not called wrong as well.
pub(super) struct Upstreams<'t> {
    indexes: FxHashMap<&'t str, u32>,
    entries: Vec<Entry>,
}

struct Entry {
    at: NodeId,
    upstream: Option<Upstream>,
}

impl<'t> Upstreams<'t> {
    pub(super) fn index(&self, id: &str) -> Option<u32> {
        self.indexes.get(id).copied()
    }

    /// `None` where it is not valid.
    pub(super) fn target(&self, index: u32) -> Option<&Target> {
        let entry = self.entries.get(usize::try_from(index).ok()?)?;
        Some(&entry.upstream.as_ref()?.target)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn place_of(&self, index: usize) -> Option<NodeId> {
        self.entries.get(index).map(|entry| entry.at)
    }

    /// What to write instead of an id that is not there.
    pub(super) fn help_for(&self, id: &str) -> String {
        const SHOWN: usize = 10;
        if let Some(near) = nearest(id, self.indexes.keys().copied()) {
            return format!("did you mean `{near}`?");
        }
        let mut ids: Vec<_> = self
            .indexes
            .iter()
            .map(|(id, index)| (index, *id))
            .collect();
        ids.sort_unstable();
        let shown: Vec<_> = ids.iter().take(SHOWN).map(|(_, id)| *id).collect();
        match shown.as_slice() {
            [] => "define it under `server.upstreams`".to_owned(),
            shown => format!(
                "define it under `server.upstreams`; known: {}",
                shown.join(", ")
            ),
        }
    }

    /// All of them where none is at fault.
    pub(super) fn into_valid(self) -> Vec<Upstream> {
        self.entries
            .into_iter()
            .filter_map(|entry| entry.upstream)
            .collect()
    }
}

pub(super) fn upstreams<'t>(
    server: &RawServer<'t>,
    reader: &mut Reader<'t>,
    resolve: &mut Resolve<'_>,
    files: &mut Files<'_, '_>,
) -> Upstreams<'t> {
    let mut all = Upstreams {
        indexes: FxHashMap::default(),
        entries: Vec::new(),
    };
    for raw in server.upstreams.iter().flat_map(|list| &list.value) {
        let upstream = upstream(raw, server, reader, resolve, files);
        let Some(id) = raw.value.id else { continue };
        let index = u32::try_from(all.entries.len()).unwrap_or(u32::MAX);
        if let Some(first) = all.indexes.get(id.value) {
            let first = all
                .place_of(*first as usize)
                .map_or(0, |at| reader.tree.place(at).line);
            let message = format!("the upstream `{}` is defined twice", shortened(id.value));
            let help =
                format!("give one another id, or join their servers; the first is on line {first}");
            reader.error(id.at, message, help);
            continue;
        }
        all.indexes.insert(id.value, index);
        all.entries.push(Entry {
            at: id.at,
            upstream,
        });
    }
    all
}

fn upstream<'t>(
    raw: &At<RawUpstream<'t>>,
    server: &RawServer<'t>,
    reader: &mut Reader<'t>,
    resolve: &mut Resolve<'_>,
    files: &mut Files<'_, '_>,
) -> Option<Upstream> {
    let keepalive = raw
        .value
        .keepalive
        .clone()
        .map(|at| at.value)
        .unwrap_or_default();
    let traffic = traffic::of_upstream(&raw.value, reader);
    let balancing = balance::balancing(&raw.value, reader, resolve);
    let health_check = health_check(raw, reader, resolve);
    let target = target(raw, reader);
    if let (Some(Target::Echo), Some(version)) = (&target, raw.value.proxy_protocol) {
        let help = "remove it, or give the upstream a `url` of a server";
        reader.error(version.at, "a builtin has no connections", help);
    }
    if let (UpstreamProtocol::H2 | UpstreamProtocol::H2c, Some(version)) =
        (raw.value.protocol(), raw.value.proxy_protocol)
    {
        protocol::sharing(version.at, "write `protocol: http1`", reader);
    }
    if let (Some(check), Some(target)) = (&raw.value.health_check, &target) {
        health::refuse_tls_without_settings(check, target, reader);
    }
    let id = raw.value.id?;
    let id = reader.accept(id, name::check("an upstream's id", id.value))?;
    let target = target?;
    let protocol = protocol::protocol(raw, &target, reader);
    Some(Upstream {
        id,
        tls: tls::upstream(raw, &target, reader, files)?,
        target,
        host_header: raw
            .value
            .host_header
            .map_or_else(|| server.host_header(), |at| at.value),
        protocol: protocol?,
        http2: http2(raw.value.http2.as_ref()),
        grpc_web: raw.value.grpc_web(),
        keepalive: Keepalive {
            idle_connections: keepalive.idle_connections().0,
            idle_timeout: keepalive.idle_timeout(),
        },
        proxy_protocol: raw.value.proxy_protocol.map(|at| at.value),
        traffic,
        circuit_breaker: traffic::breaker(&raw.value),
        balancing,
        health_check,
    })
}

fn health_check(
    raw: &At<RawUpstream<'_>>,
    reader: &mut Reader<'_>,
    resolve: &mut Resolve<'_>,
) -> Option<HealthCheck> {
    let written = raw.value.health_check.as_ref()?;
    let check = health::health_check(written, reader, resolve);
    if raw
        .value
        .url
        .is_some_and(|url| url.value.starts_with("builtin:"))
    {
        let help = "remove it, or give the upstream a `url` of a server";
        reader.error(written.at, "a builtin has nothing to check", help);
    }
    check
}

fn target(raw: &At<RawUpstream<'_>>, reader: &mut Reader<'_>) -> Option<Target> {
    match (raw.value.url, &raw.value.servers) {
        (Some(url), None) => match reader.accept(url, url::parse(url.value))? {
            Url::Echo => Some(Target::Echo),
            Url::Http(address) => Some(Target::Servers(vec![server(
                address,
                Number(1),
                ServerRole::Primary,
            )])),
        },
        (None, Some(list)) => servers(list, reader).map(Target::Servers),
        (Some(_), Some(servers)) => {
            let help = "keep one: `url` for a single server, `servers` for several";
            reader.error(
                servers.at,
                "the upstream has both `url` and `servers`",
                help,
            );
            None
        }
        (None, None) => {
            if !reader.is_given(raw.at, "url") && !reader.is_given(raw.at, "servers") {
                let help = "add `url: http://host:port`, or `servers:` with several";
                reader.error(raw.at, "the upstream has neither `url` nor `servers`", help);
            }
            None
        }
    }
}

fn servers(
    list: &At<Vec<At<Short<RawServerEntry<'_>>>>>,
    reader: &mut Reader<'_>,
) -> Option<Vec<Server>> {
    if reader.is_empty_list(list.at) {
        let help = "add one: `- url: http://host:port`";
        reader.error(list.at, "the upstream has no server", help);
    }
    list.value
        .iter()
        .map(|entry| server_entry(&entry.value.0, reader))
        .collect()
}

fn server_entry(raw: &RawServerEntry<'_>, reader: &mut Reader<'_>) -> Option<Server> {
    let url = raw.url?;
    match reader.accept(url, url::parse(url.value))? {
        Url::Http(address) => Some(server(address, raw.weight(), role(raw))),
        Url::Echo => {
            let help = "give the upstream `url: builtin://echo` and no servers";
            reader.error(url.at, "a builtin cannot be one of several servers", help);
            None
        }
    }
}

fn role(raw: &RawServerEntry<'_>) -> ServerRole {
    match raw.backup() {
        true => ServerRole::Backup,
        false => ServerRole::Primary,
    }
}

fn server(address: Address, weight: Weight<1>, role: ServerRole) -> Server {
    let Address {
        host,
        port,
        authority,
        scheme,
        base_path,
    } = address;
    Server {
        host,
        port,
        weight: weight.0,
        role,
        authority,
        scheme,
        base_path,
    }
}

fn http2(written: Option<&At<RawUpstreamHttp2<'_>>>) -> UpstreamHttp2 {
    let raw = written.map(|at| at.value.clone()).unwrap_or_default();
    UpstreamHttp2 {
        max_concurrent_streams: raw.max_concurrent_streams().0,
        max_connections: raw.max_connections().0,
        initial_stream_window_size: raw.initial_stream_window_size().0,
        initial_connection_window_size: raw.initial_connection_window_size().0,
        keepalive: raw.keepalive.map(|given| super::keepalive(&given.value)),
    }
}
