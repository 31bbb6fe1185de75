//! Where the names of upstream servers are: asked again and again, and what was good last is kept
//! when a name server fails.
//!
//! Not here: which endpoints follow from them (`roster`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::model::config::{Config, ServerHost, Target};

/// Between two looks at all names.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);
/// For one name.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Names that are asked for at once.
const AT_ONCE: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Resolver {
    known: BTreeMap<String, Vec<IpAddr>>,
}

/// A name with what was found; `None` where nothing was.
pub(super) type Found = Vec<(String, Option<Vec<IpAddr>>)>;

pub(super) fn names(config: &Config) -> BTreeSet<String> {
    let servers = config
        .upstreams
        .iter()
        .flat_map(|upstream| match &upstream.target {
            Target::Echo => &[][..],
            Target::Servers(servers) => servers,
        });
    servers
        .filter_map(|server| match &server.host {
            ServerHost::Ip(_) => None,
            ServerHost::Name(name) => Some(name.clone()),
        })
        .collect()
}

/// Asks for all of them; an answer may take so long that the caller should not wait for it.
pub(super) async fn ask(names: BTreeSet<String>) -> Found {
    let (mut names, mut asking, mut found) = (names.into_iter(), JoinSet::new(), Vec::new());
    loop {
        while asking.len() < AT_ONCE
            && let Some(name) = names.next()
        {
            asking.spawn(ask_one(name));
        }
        match asking.join_next().await {
            Some(Ok(one)) => found.push(one),
            Some(Err(error)) => tracing::error!(%error, "a name lookup broke"),
            None => return found,
        }
    }
}

async fn ask_one(name: String) -> (String, Option<Vec<IpAddr>>) {
    let found = timeout(TIMEOUT, lookup(name.clone())).await;
    let found = match found {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => {
            tracing::warn!(name, %error, "name not resolved");
            BTreeSet::new()
        }
        Err(_) => {
            tracing::warn!(name, "name not resolved in time");
            BTreeSet::new()
        }
    };
    let found: Vec<IpAddr> = found.into_iter().collect();
    (name, Some(found).filter(|all| !all.is_empty()))
}

async fn lookup(name: String) -> std::io::Result<BTreeSet<IpAddr>> {
    let found = lookup_host((name.as_str(), 0)).await?;
    Ok(found.map(|address| address.ip()).collect())
}

impl Resolver {
    pub(super) fn known_names(&self) -> BTreeSet<String> {
        self.known.keys().cloned().collect()
    }

    /// Takes answers in; the names whose addresses have changed.
    pub(super) fn learn(&mut self, found: Found) -> Vec<String> {
        let mut changed = Vec::new();
        for (name, addresses) in found {
            let Some(addresses) = addresses else {
                continue;
            };
            if self.known.get(&name) == Some(&addresses) {
                continue;
            }
            self.known.insert(name.clone(), addresses);
            changed.push(name);
        }
        changed
    }

    /// What a name stands for; nothing while it has not been resolved.
    pub(super) fn addresses(&self, name: &str) -> &[IpAddr] {
        self.known.get(name).map_or(&[], Vec::as_slice)
    }

    /// Forgets what nobody uses any more.
    pub(super) fn keep(&mut self, names: &BTreeSet<String>) {
        self.known.retain(|name, _| names.contains(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, last: Option<u8>) -> (String, Option<Vec<IpAddr>>) {
        (
            name.to_owned(),
            last.map(|last| vec![IpAddr::from([10, 0, 0, last])]),
        )
    }

    #[test]
    fn only_changes_are_told_and_the_last_good_answer_is_kept() {
        let mut resolver = Resolver::default();
        assert_eq!(
            resolver
                .learn(vec![found("a", Some(1)), found("b", None)])
                .len(),
            1
        );
        assert!(resolver.learn(vec![found("a", Some(1))]).is_empty());
        assert!(resolver.learn(vec![found("a", None)]).is_empty());
        assert_eq!(resolver.addresses("a"), [IpAddr::from([10, 0, 0, 1])]);
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|n| (*n).to_owned())
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(resolver.known_names(), names(&["a"]));
        resolver.keep(&names(&["b"]));
        assert!(resolver.addresses("a").is_empty());
    }

    #[tokio::test]
    async fn many_names_are_asked_for_and_all_are_answered() {
        let names: BTreeSet<String> = (0..40).map(|n| format!("127.0.0.{}", n + 1)).collect();
        let found = ask(names.clone()).await;
        assert_eq!(found.len(), names.len());
        assert!(found.iter().all(|(_, addresses)| addresses.is_some()));
    }
}
