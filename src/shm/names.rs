//! Which name has which id. The supervisor gives an id to every route, upstream, endpoint and
//! listener of a config, keeps it over reloads, and forgets it a while after the name is gone; the
//! ids travel to the workers beside the config.
//!
//! Pure: time is an argument. Not here: cells (`recorder`).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::layout::ENDPOINTS;
use super::series::{FIRST_NAME, Family, ID_END, Key};
use crate::model::config::{Config, Server, ServerHost, Target};
use crate::model::secret::Secret;

/// How long the series of a name stay after a reload has removed it.
pub const LINGER: Duration = Duration::from_secs(600);

/// What a label names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    Route,
    Upstream,
    Listener,
}

/// The ids of one config, in the config's order; sent with it in `Prepare`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Parallel to `Config::rules`.
    pub routes: Vec<u32>,
    /// Parallel to `Config::upstreams`.
    pub upstreams: Vec<u32>,
    /// Parallel to `Config::upstreams` and their servers: places on the health board; `None` where a
    /// name is looked up, whose endpoints are told apart from the config (`model::resolved`).
    pub endpoints: Vec<Vec<Option<u32>>>,
    /// Parallel to `Config::listeners`.
    pub listeners: Vec<u32>,
    /// Ids that are in no list above but whose series stay for now.
    pub lingering: Vec<(Kind, u32)>,
    /// The key of sticky cookies that have no other.
    pub secret: Option<Secret>,
}

/// The supervisor's book of names.
#[derive(Debug)]
pub struct Names {
    labels: Shelf<(Kind, String)>,
    /// By upstream and address. They count from 0: their ids are places on the health board.
    endpoints: Shelf<(String, String)>,
    /// Made up once, and kept for as long as somebody serves.
    secret: Option<Secret>,
    /// Endpoint ids that were given away and whose places have not been cleared yet.
    fresh: Vec<u32>,
}

/// Ids of things of one sort, each used by one name at a time. A used id is given away again only
/// when all have been used, so that a request of long ago counts nowhere rather than elsewhere.
#[derive(Debug)]
struct Shelf<T> {
    ids: FxHashMap<T, Place>,
    /// Counts the names that have come and gone.
    changes: u64,
    first: u32,
    end: u32,
    /// Ids below this have been used.
    next: u32,
    free: Vec<u32>,
}

/// Whether a name had its id before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tenure {
    Kept,
    New,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    id: u32,
    gone_since: Option<Instant>,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            labels: Shelf::new(FIRST_NAME, ID_END),
            endpoints: Shelf::new(0, ENDPOINTS),
            secret: None,
            fresh: Vec::new(),
        }
    }
}

impl Names {
    /// Ids for every name of `config`. Names of earlier configs that it lacks are gone from `now`
    /// on; those that have been gone for `LINGER` are forgotten, and their ids given away again
    /// once `in_use` denies that a row still has an entry of theirs.
    pub fn assign(&mut self, config: &Config, now: Instant, in_use: &HashSet<u32>) -> Index {
        self.labels.reclaim(now, |id| in_use.contains(&id));
        self.endpoints.reclaim(now, |_| false);
        self.labels.leave_all(now);
        let index = Index {
            routes: config
                .rules
                .iter()
                .map(|rule| self.label(Kind::Route, &rule.name))
                .collect(),
            upstreams: config
                .upstreams
                .iter()
                .map(|up| self.label(Kind::Upstream, &up.id))
                .collect(),
            endpoints: config
                .upstreams
                .iter()
                .map(|up| self.endpoints_of(&up.id, &up.target))
                .collect(),
            listeners: config
                .listeners
                .iter()
                .map(|listener| self.label(Kind::Listener, &listener.address.to_string()))
                .collect(),
            lingering: Vec::new(),
            secret: self.secret.clone(),
        };
        Index {
            lingering: self.lingering(),
            ..index
        }
    }

    /// The id of one endpoint, also of one that a name lookup found later; one beyond the board's end
    /// when there are too many.
    pub fn endpoint(&mut self, upstream: &str, address: &str) -> u32 {
        let (id, tenure) = self
            .endpoints
            .take_new((upstream.to_owned(), address.to_owned()));
        if tenure == Tenure::New && id < ENDPOINTS {
            self.fresh.push(id);
        }
        id
    }

    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    pub fn set_secret(&mut self, secret: Secret) {
        self.secret = Some(secret);
    }

    /// Endpoints with other ids are gone from `now` on.
    pub fn keep_endpoints(&mut self, ids: &HashSet<u32>, now: Instant) {
        self.endpoints.leave_but(ids, now);
    }

    /// Endpoint ids that are new since the last call: their places are to be cleared.
    pub fn take_fresh(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.fresh)
    }

    /// Every endpoint that is not forgotten: id, upstream and address.
    pub fn endpoints(&self) -> impl Iterator<Item = (u32, &str, &str)> {
        let all = self.endpoints.ids.iter();
        all.map(|((upstream, address), place)| (place.id, upstream.as_str(), address.as_str()))
    }

    /// Every label that is not forgotten.
    pub fn labels(&self) -> impl Iterator<Item = (u32, Kind, &str)> {
        self.labels
            .ids
            .iter()
            .map(|((kind, name), place)| (place.id, *kind, name.as_str()))
    }

    /// Another number after each change of what `labels` gives.
    pub fn version(&self) -> u64 {
        self.labels.changes
    }

    /// Puts back what a program before this one had assigned (a replaced binary).
    pub fn restore(&mut self, labels: impl IntoIterator<Item = (u32, Kind, String)>) {
        for (id, kind, name) in labels {
            self.labels.put_back(id, (kind, name));
        }
    }

    /// The same for endpoints, by upstream and address.
    pub fn restore_endpoints(
        &mut self,
        endpoints: impl IntoIterator<Item = (u32, String, String)>,
    ) {
        for (id, upstream, address) in endpoints {
            self.endpoints.put_back(id, (upstream, address));
        }
    }

    fn label(&mut self, kind: Kind, name: &str) -> u32 {
        self.labels.take((kind, name.to_owned()))
    }

    fn endpoints_of(&mut self, upstream: &str, target: &Target) -> Vec<Option<u32>> {
        let servers = match target {
            Target::Echo => &[][..],
            Target::Servers(servers) => servers,
        };
        let id = |server: &Server| match server.host {
            ServerHost::Ip(_) | ServerHost::Unix(_) => {
                let address = endpoint_name(&server.host, server.port);
                Some(self.endpoint(upstream, &address))
            }
            ServerHost::Name(_) | ServerHost::Service(_) => None,
        };
        servers.iter().map(id).collect()
    }

    fn lingering(&self) -> Vec<(Kind, u32)> {
        let gone = self
            .labels
            .ids
            .iter()
            .filter(|(_, place)| place.gone_since.is_some());
        gone.map(|((kind, _), place)| (*kind, place.id)).collect()
    }
}

/// A server as labels, logs and the status name it; one with an address of its own is an endpoint.
pub fn endpoint_name(host: &ServerHost, port: u16) -> String {
    host.with_port(port)
}

impl Place {
    fn taken(id: u32) -> Place {
        Place {
            id,
            gone_since: None,
        }
    }
}

impl<T: Eq + std::hash::Hash> Shelf<T> {
    fn new(first: u32, end: u32) -> Self {
        Shelf {
            ids: FxHashMap::default(),
            changes: 0,
            first,
            end,
            next: first,
            free: Vec::new(),
        }
    }

    fn take(&mut self, name: T) -> u32 {
        self.take_new(name).0
    }

    fn take_new(&mut self, name: T) -> (u32, Tenure) {
        if let Some(place) = self.ids.get_mut(&name) {
            place.gone_since = None;
            return (place.id, Tenure::Kept);
        }
        let id = if self.next < self.end {
            self.next += 1;
            self.next - 1
        } else if let Some(id) = self.free.pop() {
            id
        } else {
            return (self.end, Tenure::New);
        };
        self.changes += 1;
        self.ids.insert(name, Place::taken(id));
        (id, Tenure::New)
    }

    fn put_back(&mut self, id: u32, name: T) {
        self.next = self.next.max(id.saturating_add(1));
        self.changes += 1;
        self.ids.insert(name, Place::taken(id));
    }

    fn leave_but(&mut self, kept: &HashSet<u32>, now: Instant) {
        for place in self.ids.values_mut() {
            match kept.contains(&place.id) {
                true => place.gone_since = None,
                false => drop(place.gone_since.get_or_insert(now)),
            }
        }
    }

    fn leave_all(&mut self, now: Instant) {
        for place in self.ids.values_mut() {
            place.gone_since.get_or_insert(now);
        }
    }

    fn reclaim(&mut self, now: Instant, in_use: impl Fn(u32) -> bool) {
        let before = self.ids.len();
        self.ids.retain(|_, place| {
            place
                .gone_since
                .is_none_or(|since| now.saturating_duration_since(since) < LINGER)
        });
        self.changes += (before - self.ids.len()) as u64;
        if self.next < self.end {
            return;
        }
        let taken: HashSet<u32> = self.ids.values().map(|place| place.id).collect();
        let free = (self.first..self.end)
            .rev()
            .filter(|id| !taken.contains(id) && !in_use(*id));
        self.free = free.collect();
    }
}

impl Index {
    /// Which series a worker keeps: those whose labels are in this index, or linger.
    pub fn known(&self) -> Known {
        let mut ids: HashSet<u32> = (0..FIRST_NAME).collect();
        ids.extend(
            self.routes
                .iter()
                .chain(&self.upstreams)
                .chain(&self.listeners),
        );
        ids.extend(self.lingering.iter().map(|(_, id)| id));
        Known { ids }
    }
}

/// Ids that have a name.
#[derive(Debug)]
pub struct Known {
    ids: HashSet<u32>,
}

impl Known {
    pub fn has(&self, key: Key) -> bool {
        label_ids(key).all(|id| self.ids.contains(&id))
    }
}

/// The ids of a key that stand for names, not for places in a closed list.
pub fn label_ids(key: Key) -> impl Iterator<Item = u32> {
    let named = match key.family() {
        Family::Requests | Family::RequestDuration => 2,
        Family::RequestBytes | Family::ResponseBytes => 2,
        Family::Connections | Family::Accepted | Family::Handshakes => 1,
        Family::TcpConnections | Family::TcpOpened => 2,
        Family::TcpBytes | Family::TcpDuration => 2,
        Family::Tunnels | Family::TunnelsOpened | Family::TunnelBytes => 1,
        Family::UpstreamDuration | Family::UpstreamConnect => 1,
        Family::HealthChecks | Family::HealthChanges => 1,
        Family::UpstreamConnections | Family::Retries => 1,
        Family::Ejections | Family::Mirrored => 1,
        _ => 0,
    };
    [key.first(), key.second()].into_iter().take(named)
}

/// Which name ids the rows still count under: these are not given to other names.
pub fn in_use(totals: &super::totals::Totals) -> HashSet<u32> {
    totals
        .scalars
        .keys()
        .chain(totals.histograms.keys())
        .flat_map(|key| label_ids(*key))
        .collect()
}

/// Names by id, as a scrape needs them.
pub type Labels = FxHashMap<u32, String>;

#[cfg(test)]
mod tests;
