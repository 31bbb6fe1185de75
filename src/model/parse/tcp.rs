//! A listener's `protocol`, and where the connections of `protocol: tcp` go.

use std::collections::HashMap;
use std::net::IpAddr;

use rustc_hash::FxHashSet;

use super::upstream::Upstreams;
use super::{Fault, host};
use crate::model::config::{HostPattern, Listener, NameRoute, Protocol, Target, Tcp};
use crate::model::decode::{At, Reader, shortened};
use crate::model::raw::{self, RawListener, RawNameRoute};

pub(super) fn protocol(
    raw: &RawListener<'_>,
    upstreams: &Upstreams<'_>,
    reader: &mut Reader<'_>,
) -> Protocol {
    match raw.protocol() {
        raw::Protocol::Http => {
            refuse_targets(raw, reader);
            Protocol::Http
        }
        raw::Protocol::Tcp => {
            refuse_http(raw, reader);
            Protocol::Tcp(tcp(raw, upstreams, reader))
        }
    }
}

/// Upstreams that connections go to without a rule.
pub(super) fn used(listeners: &[Listener], upstreams: &Upstreams<'_>) -> FxHashSet<u32> {
    let tcp = listeners.iter().filter_map(|one| one.protocol.tcp());
    let named = tcp.flat_map(|tcp| {
        let routes = tcp.routes.iter().map(|route| &route.upstream);
        routes.chain(&tcp.upstream)
    });
    named.filter_map(|id| upstreams.index(id)).collect()
}

fn refuse_targets(raw: &RawListener<'_>, reader: &mut Reader<'_>) {
    let upstream = raw.upstream.map(|at| (at.at, "upstream"));
    let routes = raw.routes.as_ref().map(|at| (at.at, "routes"));
    for (at, key) in upstream.into_iter().chain(routes) {
        let message = format!("`{key}` is for connections that are passed on as they are");
        let help = "add `protocol: tcp`; where requests go is said by `server.rules`";
        reader.error(at, message, help);
    }
}

fn refuse_http(raw: &RawListener<'_>, reader: &mut Reader<'_>) {
    let redirect = raw
        .redirect_https
        .as_ref()
        .map(|at| (at.at, "redirectHttps"));
    let hsts = raw.hsts.as_ref().map(|at| (at.at, "hsts"));
    for (at, key) in redirect.into_iter().chain(hsts) {
        let message = format!("`{key}` is for requests, and `protocol: tcp` sees none");
        reader.error(at, message, "put it at a listener for HTTP, or remove it");
    }
}

fn tcp(raw: &RawListener<'_>, upstreams: &Upstreams<'_>, reader: &mut Reader<'_>) -> Tcp {
    let written = raw.routes.as_ref();
    if let Some(list) = written
        && reader.is_empty_list(list.at)
    {
        reader.error(
            list.at,
            "there is no route",
            "add one, or leave the key out",
        );
    }
    if let (Some(protocol), None, None) = (raw.protocol, raw.upstream, written) {
        let help = "add `upstream: ID`, or `routes:` by server name";
        reader.error(protocol.at, "connections would go nowhere", help);
    }
    let mut lines = HashMap::new();
    let written = written.iter().flat_map(|list| &list.value);
    Tcp {
        routes: written
            .filter_map(|route| name_route(&route.value, &mut lines, upstreams, reader))
            .collect(),
        upstream: raw.upstream.and_then(|id| target(id, upstreams, reader)),
    }
}

fn name_route(
    raw: &RawNameRoute<'_>,
    lines: &mut HashMap<HostPattern, u32>,
    upstreams: &Upstreams<'_>,
    reader: &mut Reader<'_>,
) -> Option<NameRoute> {
    let written = raw.sni.as_ref()?;
    if reader.is_empty_list(written.at) {
        let help = "write the server names that it takes, like `shop.example.com`";
        reader.error(written.at, "the route takes no name", help);
    }
    let mut names = Vec::new();
    for text in &written.value.0 {
        let Some(name) = reader.accept(*text, server_name(text.value)) else {
            continue;
        };
        let line = reader.tree.place(text.at).line;
        if let Some(first) = lines.get(&name) {
            let message = format!(
                "`{}` is routed twice; the first one wins",
                shortened(text.value)
            );
            reader.warn(
                text.at,
                message,
                format!("remove one; the first is on line {first}"),
            );
        } else {
            lines.insert(name.clone(), line);
        }
        names.push(name);
    }
    let upstream = raw.upstream.and_then(|id| target(id, upstreams, reader))?;
    Some(NameRoute { names, upstream })
}

fn server_name(text: &str) -> Result<HostPattern, Fault> {
    if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        let message = format!(
            "`{}` is an address; TLS clients ask for names",
            shortened(text)
        );
        return Err(Fault::new(
            message,
            "leave it to the listener's `upstream`, which takes what no route does",
        ));
    }
    host::pattern(text)
}

fn target(id: At<&str>, upstreams: &Upstreams<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let Some(index) = upstreams.index(id.value) else {
        let message = format!("unknown upstream `{}`", shortened(id.value));
        reader.error(id.at, message, upstreams.help_for(id.value));
        return None;
    };
    if let Some(Target::Echo) = upstreams.target(index) {
        let help = "name an upstream with a server";
        reader.error(id.at, "a builtin answers requests, not connections", help);
    }
    Some(id.value.to_owned())
}
