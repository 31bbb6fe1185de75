//! Which endpoints the servers of all generations at work have right now, each with its place on the
//! health board. What has changed is to be told to the workers.
//!
//! Not here: looking names up (`resolver`), and servers that are an address as they stand: they are in
//! the index of their generation.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::resolver::Found;
use crate::model::config::{Config, ServerHost, Target};
use crate::model::resolved::{Resolved, ResolvedEndpoint, Standing};
use crate::shm::names::{Index, Names, endpoint_name};

/// By upstream and server.
type Table = BTreeMap<(String, String), Vec<ResolvedEndpoint>>;

#[derive(Debug, Default)]
pub(super) struct Roster {
    told: Table,
}

/// A generation that serves or is about to.
pub(super) struct AtWork {
    pub(super) config: Arc<Config>,
    pub(super) index: Arc<Index>,
}

impl Roster {
    /// Works it out anew. What is returned differs from what was told before; servers that no
    /// generation has any more come without an endpoint.
    pub(super) fn update(
        &mut self,
        at_work: &[AtWork],
        found: &dyn Fn(&ServerHost) -> Vec<Found>,
        names: &mut Names,
        now: Instant,
    ) -> Vec<Resolved> {
        let mut table = Table::new();
        for config in at_work.iter().map(|one| &one.config) {
            self.add_config(&mut table, config, found, names);
        }
        names.keep_endpoints(&ids(&table, at_work), now);
        let changed = differences(&self.told, &table);
        self.told = table;
        changed
    }

    fn add_config(
        &self,
        table: &mut Table,
        config: &Config,
        found: &dyn Fn(&ServerHost) -> Vec<Found>,
        names: &mut Names,
    ) {
        for upstream in &config.upstreams {
            let Target::Servers(servers) = &upstream.target else {
                continue;
            };
            for server in servers {
                let found = found(&server.host);
                let name = endpoint_name(&server.host, server.port);
                let key = (upstream.id.clone(), name);
                // One that had addresses and has none any more is told of, one that never had is not.
                if !found.is_empty() || self.told.contains_key(&key) {
                    let with_id = |found| with_id(&upstream.id, server.port, &found, names);
                    table.insert(key, found.into_iter().map(with_id).collect());
                }
            }
        }
    }

    /// What a server stands for now.
    pub(super) fn find(&self, upstream: &str, server: &str) -> &[ResolvedEndpoint] {
        let key = (upstream.to_owned(), server.to_owned());
        self.told.get(&key).map_or(&[], Vec::as_slice)
    }

    /// For a worker that starts, and for the admin port.
    pub(super) fn all(&self) -> Vec<Resolved> {
        self.told.iter().map(resolved).collect()
    }
}

fn with_id(upstream: &str, port: u16, found: &Found, names: &mut Names) -> ResolvedEndpoint {
    let address = SocketAddr::new(found.ip, found.port.unwrap_or(port));
    ResolvedEndpoint {
        id: names.endpoint(upstream, &address.to_string()),
        address: address.into(),
        weight: found.weight,
        priority: found.priority,
    }
}

fn ids(table: &Table, at_work: &[AtWork]) -> HashSet<u32> {
    let found = table.values().flatten().map(|endpoint| endpoint.id);
    let fixed = at_work.iter().flat_map(|one| &one.index.endpoints);
    found.chain(fixed.flatten().flatten().copied()).collect()
}

fn differences(before: &Table, after: &Table) -> Vec<Resolved> {
    let new = after.iter();
    let new = new.filter(|(key, endpoints)| before.get(key) != Some(endpoints));
    let gone = before.keys().filter(|key| !after.contains_key(key));
    let gone = gone.map(|(upstream, server)| Resolved {
        upstream: upstream.clone(),
        server: server.clone(),
        standing: Standing::Removed,
        endpoints: Vec::new(),
    });
    new.map(resolved).chain(gone).collect()
}

fn resolved(
    ((upstream, server), endpoints): (&(String, String), &Vec<ResolvedEndpoint>),
) -> Resolved {
    Resolved {
        upstream: upstream.clone(),
        server: server.clone(),
        standing: Standing::Configured,
        endpoints: endpoints.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::load;

    fn config(servers: &str) -> Arc<Config> {
        let text = format!(
            "server:\n  upstreams:\n    - id: app\n      servers: [{servers}]\n  rules:\n    \
             - path: /\n      upstreams: [app]\n"
        );
        let loaded = load(&text, &mut |_| Err("none".to_owned()));
        Arc::new(loaded.config.expect("valid"))
    }

    struct Stage {
        roster: Roster,
        known: BTreeMap<String, Vec<Found>>,
        names: Names,
    }

    impl Stage {
        fn knows(&mut self, name: &str, last: &[u8]) {
            let found = |last: &u8| Found {
                ip: [10, 0, 0, *last].into(),
                port: None,
                weight: 1,
                priority: 0,
            };
            let found = last.iter().map(found).collect();
            self.known.insert(name.to_owned(), found);
        }

        fn update(&mut self, configs: &[&Arc<Config>]) -> Vec<(String, Vec<(u32, String)>)> {
            let now = Instant::now();
            let at_work: Vec<AtWork> = configs
                .iter()
                .map(|config| AtWork {
                    config: Arc::clone(config),
                    index: Arc::new(self.names.assign(config, now, &HashSet::new())),
                })
                .collect();
            let known = &self.known;
            let found = |host: &ServerHost| match host {
                ServerHost::Name(name) => known.get(name).cloned().unwrap_or_default(),
                _ => Vec::new(),
            };
            let names = &mut self.names;
            let changed = self.roster.update(&at_work, &found, names, now);
            let told = |one: Resolved| {
                let endpoints = one.endpoints.iter();
                let endpoints = endpoints.map(|one| (one.id, one.address.to_string()));
                (one.server, endpoints.collect())
            };
            changed.into_iter().map(told).collect()
        }
    }

    #[test]
    fn only_changes_are_told_and_an_address_keeps_its_place() {
        let mut stage = Stage {
            roster: Roster::default(),
            known: BTreeMap::new(),
            names: Names::default(),
        };
        let first = config("http://a.example, http://10.0.0.9:80");
        assert_eq!(stage.update(&[&first]), []);
        assert_eq!(stage.names.take_fresh(), [0]);

        stage.knows("a.example", &[1, 2]);
        let at = |id, last: u8| (id, format!("10.0.0.{last}:80"));
        let server = "a.example:80".to_owned();
        assert_eq!(
            stage.update(&[&first]),
            [(server.clone(), vec![at(1, 1), at(2, 2)])]
        );
        assert_eq!(stage.names.take_fresh(), [1, 2]);
        assert_eq!(stage.update(&[&first]), []);

        stage.knows("a.example", &[2, 3]);
        assert_eq!(
            stage.update(&[&first]),
            [(server.clone(), vec![at(2, 2), at(3, 3)])]
        );

        stage.knows("a.example", &[]);
        assert_eq!(stage.update(&[&first]), [(server.clone(), vec![])]);
        stage.knows("a.example", &[3]);
        stage.update(&[&first]);

        let next = config("http://10.0.0.9:80");
        assert_eq!(stage.update(&[&first, &next]), []);
        assert_eq!(stage.update(&[&next]), [(server, vec![])]);
        assert!(stage.roster.all().is_empty());
    }
}
