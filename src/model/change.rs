//! What differs between two configurations, in the words of whoever edits them: rules added, removed,
//! moved and changed, upstreams that gain or lose servers.
//!
//! Not here: what a reload does about it. That is always the whole snapshot.

use std::collections::HashSet;
use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};

use super::config::{Config, Rule, Server, ServerHost, Target, Upstream};

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
    },
    /// One of the settings that stand once: `limits`, `drain` and so on.
    SettingChanged {
        key: &'static str,
    },
}

/// Everything that differs, rules first; nothing where the two mean the same.
pub fn between(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = rules(old, new);
    changes.extend(upstreams(old, new));
    changes.extend(listener::changes(old, new));
    changes.extend(settings(old, new));
    changes
}

fn rules(old: &Config, new: &Config) -> Vec<Change> {
    let (before, after) = middles(&old.rules, &new.rules);
    let (old_places, new_places) = (before.places(), after.places());
    let gone = before
        .rules
        .iter()
        .filter(|rule| !new_places.contains_key(rule.name.as_str()));
    let mut changes: Vec<Change> = gone
        .map(|rule| Change::RuleRemoved {
            name: rule.name.clone(),
        })
        .collect();
    let moved = moved(&old_places, after.rules);
    for (place, rule) in new.rules.iter().enumerate() {
        let from = match after.holds(place) {
            true => old_places.get(rule.name.as_str()).copied(),
            // From the end both count alike.
            false if place < after.first => Some(place),
            false => (place + old.rules.len()).checked_sub(new.rules.len()),
        };
        let Some(from) = from else {
            let name = rule.name.clone();
            changes.push(Change::RuleAdded { name, place });
            continue;
        };
        if moved.contains(rule.name.as_str()) {
            changes.push(Change::RuleMoved {
                name: rule.name.clone(),
                from,
                to: place,
            });
        }
        let before = old.rules.get(from);
        let parts = before.map_or_else(Vec::new, |before| rule_parts((old, before), (new, rule)));
        if !parts.is_empty() {
            let name = rule.name.clone();
            changes.push(Change::RuleChanged { name, parts });
        }
    }
    changes
}

/// Some of the rules, from a place on.
struct Middle<'c> {
    first: usize,
    rules: &'c [Rule],
}

impl<'c> Middle<'c> {
    fn places(&self) -> FxHashMap<&'c str, usize> {
        let rules = (self.first..).zip(self.rules);
        rules
            .map(|(place, rule)| (rule.name.as_str(), place))
            .collect()
    }

    fn holds(&self, place: usize) -> bool {
        (self.first..self.first + self.rules.len()).contains(&place)
    }
}

/// What is left of both without the rules at their beginnings and ends that have the same names in
/// the same order: after an ordinary edit not much.
fn middles<'c>(old: &'c [Rule], new: &'c [Rule]) -> (Middle<'c>, Middle<'c>) {
    let alike = |pair: &(&Rule, &Rule)| pair.0.name == pair.1.name;
    let first = old.iter().zip(new).take_while(alike).count();
    let (old, new) = (
        old.get(first..).unwrap_or_default(),
        new.get(first..).unwrap_or_default(),
    );
    let last = old.iter().rev().zip(new.iter().rev());
    let last = last.take_while(alike).count();
    let middle = |rules: &'c [Rule]| Middle {
        first,
        rules: rules.get(..rules.len() - last).unwrap_or_default(),
    };
    (middle(old), middle(new))
}

/// Those that are out of order against the longest run of rules that kept theirs: a rule that is
/// dragged to the top has moved, not all the others.
fn moved<'c>(old_places: &FxHashMap<&str, usize>, new: &'c [Rule]) -> FxHashSet<&'c str> {
    let common: Vec<(&str, usize)> = new
        .iter()
        .filter_map(|rule| Some((rule.name.as_str(), *old_places.get(rule.name.as_str())?)))
        .collect();
    let kept = longest_rising(&common.iter().map(|(_, place)| *place).collect::<Vec<_>>());
    let common = common.iter().enumerate();
    common
        .filter(|(index, _)| !kept.contains(index))
        .map(|(_, (name, _))| *name)
        .collect()
}

/// The indices of a longest rising subsequence, by patience sorting.
fn longest_rising(values: &[usize]) -> FxHashSet<usize> {
    // For every length the index at which the lowest end of such a run stands.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let lower = |end: &usize| values.get(*end).is_some_and(|at| at < value);
        let length = ends.partition_point(lower);
        before.push(
            length
                .checked_sub(1)
                .and_then(|shorter| ends.get(shorter).copied()),
        );
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let last = ends.last().copied();
    std::iter::successors(last, |index| before.get(*index).copied().flatten()).collect()
}

fn rule_parts(old: (&Config, &Rule), new: (&Config, &Rule)) -> Vec<&'static str> {
    let ((old_config, old), (new_config, new)) = (old, new);
    let compared = [
        ("host", old.host != new.host),
        ("path", old.path != new.path),
        ("methods", old.methods != new.methods),
        ("headers", old.headers != new.headers),
        ("query", old.query != new.query),
        (
            "upstreams",
            !targets(old_config, old).eq(targets(new_config, new)),
        ),
    ];
    differing(compared)
}

/// By name: an index means something else in another configuration.
fn targets<'c>(config: &'c Config, rule: &'c Rule) -> impl Iterator<Item = (Option<&'c str>, u32)> {
    let id = |index: u32| {
        let upstream = config.upstreams.get(usize::try_from(index).ok()?)?;
        Some(upstream.id.as_str())
    };
    rule.upstreams
        .iter()
        .map(move |choice| (id(choice.upstream), choice.weight))
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
        .map(|server| (server_name(server), server))
        .collect()
}

fn server_name(server: &Server) -> String {
    match &server.host {
        ServerHost::Ip(ip) => std::net::SocketAddr::new(*ip, server.port).to_string(),
        ServerHost::Name(name) => format!("{name}:{}", server.port),
    }
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
        drain,
        reload,
        admin,
        log,
        worker,
        metrics,
        access_log,
        tracing,
        lifecycle,
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
        ("drain", *drain != new.drain),
        ("reload", *reload != new.reload),
        ("admin", *admin != new.admin),
        ("log", *log != new.log),
        ("worker", *worker != new.worker),
        ("metrics", *metrics != new.metrics),
        ("accessLog", *access_log != new.access_log),
        ("tracing", *tracing != new.tracing),
        ("lifecycle", *lifecycle != new.lifecycle),
    ];
    differing(compared)
        .into_iter()
        .map(|key| Change::SettingChanged { key })
        .collect()
}

fn differing<const N: usize>(compared: [(&'static str, bool); N]) -> Vec<&'static str> {
    compared
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| name)
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
            Self::ListenerChanged { address } => write!(f, "listener {address} changed"),
            Self::SettingChanged { key } => write!(f, "`{key}` changed"),
        }
    }
}

#[cfg(test)]
mod tests;
