//! What differs between two configurations, in the words of whoever edits them: rules added, removed,
//! moved and changed, upstreams that gain or lose servers.
//!
//! Not here: what a reload does about it. That is always the whole snapshot.

use std::collections::HashSet;
use std::fmt;

use rustc_hash::FxHashMap;

use super::config::{Config, Server, Target, Upstream};

mod rules;

mod listener;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    RuleAdded {
        name: String,
        place: usize,
    },
    RuleRemoved {
        name: String,
    },
    /// Its place among the rules that stay is another.
    RuleMoved {
        name: String,
        from: usize,
        to: usize,
    },
    RuleChanged {
        name: String,
        parts: Vec<&'static str>,
    },
    UpstreamAdded {
        id: String,
    },
    UpstreamRemoved {
        id: String,
    },
    ServersAdded {
        id: String,
        servers: Vec<String>,
    },
    ServersRemoved {
        id: String,
        servers: Vec<String>,
    },
    UpstreamChanged {
        id: String,
        parts: Vec<&'static str>,
    },
    ListenerAdded {
        address: String,
    },
    ListenerRemoved {
        address: String,
    },
    ListenerChanged {
        address: String,
        parts: Vec<&'static str>,
    },
    /// One of the settings that stand once: `limits`, `drain` and so on.
    SettingChanged {
        key: &'static str,
    },
}

/// Everything that differs, rules first; nothing where the two mean the same.
pub fn between(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = rules::between(old, new);
    changes.extend(upstreams(old, new));
    changes.extend(listener::changes(old, new));
    changes.extend(settings(old, new));
    changes
}

fn upstreams(old: &Config, new: &Config) -> Vec<Change> {
    let by_id = |config: &Config| -> HashSet<String> {
        config
            .upstreams
            .iter()
            .map(|upstream| upstream.id.clone())
            .collect()
    };
    let new_ids = by_id(new);
    let gone = old
        .upstreams
        .iter()
        .filter(|upstream| !new_ids.contains(&upstream.id));
    let mut changes: Vec<Change> = gone
        .map(|upstream| Change::UpstreamRemoved {
            id: upstream.id.clone(),
        })
        .collect();
    let old_by_id: FxHashMap<&str, &Upstream> = old
        .upstreams
        .iter()
        .map(|upstream| (upstream.id.as_str(), upstream))
        .collect();
    for upstream in &new.upstreams {
        match old_by_id.get(upstream.id.as_str()) {
            None => changes.push(Change::UpstreamAdded {
                id: upstream.id.clone(),
            }),
            Some(before) => changes.extend(upstream_changes(before, upstream)),
        }
    }
    changes
}

fn upstream_changes(old: &Upstream, new: &Upstream) -> Vec<Change> {
    let (before, after) = (servers(old), servers(new));
    let only_in = |these: &[(String, &Server)], others: &[(String, &Server)]| -> Vec<String> {
        let known: HashSet<&str> = others.iter().map(|(name, _)| name.as_str()).collect();
        let new = these
            .iter()
            .filter(|(name, _)| !known.contains(name.as_str()));
        new.map(|(name, _)| name.clone()).collect()
    };
    let (added, removed) = (only_in(&after, &before), only_in(&before, &after));
    let mut changes = Vec::new();
    let id = &new.id;
    let old_by_name: FxHashMap<&str, &Server> = before
        .iter()
        .map(|(name, server)| (name.as_str(), *server))
        .collect();
    let altered = after.iter().any(|(name, server)| {
        old_by_name
            .get(name.as_str())
            .is_some_and(|before| before != server)
    });
    if !added.is_empty() {
        changes.push(Change::ServersAdded {
            id: id.clone(),
            servers: added,
        });
    }
    if !removed.is_empty() {
        changes.push(Change::ServersRemoved {
            id: id.clone(),
            servers: removed,
        });
    }
    let kind = |upstream: &Upstream| matches!(upstream.target, Target::Echo);
    // Everything beside the servers, whatever it is.
    let rest = |upstream: &Upstream| Upstream {
        target: Target::Echo,
        ..upstream.clone()
    };
    let parts = differing([
        ("url", kind(old) != kind(new)),
        ("servers", altered),
        ("settings", rest(old) != rest(new)),
    ]);
    if !parts.is_empty() {
        changes.push(Change::UpstreamChanged {
            id: id.clone(),
            parts,
        });
    }
    changes
}

fn servers(upstream: &Upstream) -> Vec<(String, &Server)> {
    let servers = match &upstream.target {
        Target::Echo => &[][..],
        Target::Servers(servers) => servers,
    };
    servers
        .iter()
        .map(|server| (server.host.with_port(server.port), server))
        .collect()
}

fn settings(old: &Config, new: &Config) -> Vec<Change> {
    // Taken apart in full, so that a part that is added to `Config` has to be named here too.
    let Config {
        listeners: _,
        upstreams: _,
        rules: _,
        workers,
        headers,
        trusted_proxies,
        via,
        error_header,
        limits,
        http2,
        drain,
        reload,
        admin,
        log,
        worker,
        resolver,
        metrics,
        access_log,
        tracing,
        lifecycle,
        session_tickets,
        system_authorities,
    } = old;
    let compared = [
        ("server.workers", *workers != new.workers),
        ("server.headers", *headers != new.headers),
        (
            "server.trustedProxies",
            *trusted_proxies != new.trusted_proxies,
        ),
        ("server.via", *via != new.via),
        ("server.errorHeader", *error_header != new.error_header),
        ("server.limits", *limits != new.limits),
        ("server.http2", *http2 != new.http2),
        ("drain", *drain != new.drain),
        ("reload", *reload != new.reload),
        ("admin", *admin != new.admin),
        ("log", *log != new.log),
        ("worker", *worker != new.worker),
        ("resolver", *resolver != new.resolver),
        ("metrics", *metrics != new.metrics),
        ("accessLog", *access_log != new.access_log),
        ("tracing", *tracing != new.tracing),
        ("lifecycle", *lifecycle != new.lifecycle),
        (
            "the authorities that the system trusts",
            *system_authorities != new.system_authorities,
        ),
        (
            "server.sessionTickets",
            *session_tickets != new.session_tickets,
        ),
    ];
    differing(compared)
        .into_iter()
        .map(|key| Change::SettingChanged { key })
        .collect()
}

fn differing<const N: usize>(compared: [(&'static str, bool); N]) -> Vec<&'static str> {
    compared
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RuleAdded { name, place } => {
                write!(f, "rule `{name}` added at place {}", place + 1)
            }
            Self::RuleRemoved { name } => write!(f, "rule `{name}` removed"),
            Self::RuleMoved { name, from, to } => {
                write!(
                    f,
                    "rule `{name}` moved from place {} to {}",
                    from + 1,
                    to + 1
                )
            }
            Self::RuleChanged { name, parts } => {
                write!(f, "rule `{name}` changed: {}", parts.join(", "))
            }
            Self::UpstreamAdded { id } => write!(f, "upstream `{id}` added"),
            Self::UpstreamRemoved { id } => write!(f, "upstream `{id}` removed"),
            Self::ServersAdded { id, servers } => {
                write!(f, "upstream `{id}` gains {}", servers.join(", "))
            }
            Self::ServersRemoved { id, servers } => {
                write!(f, "upstream `{id}` loses {}", servers.join(", "))
            }
            Self::UpstreamChanged { id, parts } => {
                write!(f, "upstream `{id}` changed: {}", parts.join(", "))
            }
            Self::ListenerAdded { address } => write!(f, "listens on {address} too"),
            Self::ListenerRemoved { address } => write!(f, "listens on {address} no more"),
            Self::ListenerChanged { address, parts } => {
                write!(f, "listener {address} changed: {}", parts.join(", "))
            }
            Self::SettingChanged { key } => write!(f, "`{key}` changed"),
        }
    }
}

#[cfg(test)]
mod tests;
