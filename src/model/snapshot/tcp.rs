//! Where the connections of a TCP listener go: by the server name that a TLS client asks for, found
//! with one lookup per label, however many names there are.

use std::collections::HashMap;

use super::SnapshotError;
use crate::model::config::{self, Config, HostPattern};

#[derive(Debug)]
pub struct Tcp {
    /// In the order of the configuration.
    routes: Box<[Destination]>,
    /// Names and the first route that takes each.
    exact: HashMap<Box<str>, usize>,
    /// Of `*.example.com` the `example.com`.
    below: HashMap<Box<str>, usize>,
    rest: Option<Destination>,
}

/// An upstream: its place in this snapshot, and its name to find it in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub index: u32,
    pub id: Box<str>,
}

impl Tcp {
    pub(super) fn build(config: &Config, tcp: &config::Tcp) -> Result<Self, SnapshotError> {
        let (mut exact, mut below) = (HashMap::new(), HashMap::new());
        for (place, route) in tcp.routes.iter().enumerate() {
            for name in &route.names {
                let (names, name) = match name {
                    HostPattern::Exact(name) => (&mut exact, name),
                    HostPattern::Wildcard(parent) => (&mut below, parent),
                    HostPattern::Any => continue,
                };
                names.entry(name.as_str().into()).or_insert(place);
            }
        }
        let routes = tcp.routes.iter();
        Ok(Self {
            routes: routes
                .map(|route| destination(config, &route.upstream))
                .collect::<Result<_, _>>()?,
            exact,
            below,
            rest: match &tcp.upstream {
                Some(id) => Some(destination(config, id)?),
                None => None,
            },
        })
    }

    /// Whether it has to be known what a client asks for.
    pub fn has_routes(&self) -> bool {
        !self.routes.is_empty()
    }

    /// The first route that takes the name, or what is there for the rest; `None` where there is
    /// neither. A name is in lower case without a trailing dot.
    pub fn find(&self, name: Option<&str>) -> Option<&Destination> {
        let place = name.and_then(|name| self.place(name));
        let route = place.and_then(|place| self.routes.get(place));
        route.or(self.rest.as_ref())
    }

    fn place(&self, name: &str) -> Option<usize> {
        let parents = name.match_indices('.').map(|(dot, _)| dot + 1);
        let parents = parents.filter_map(|from| name.get(from..));
        let below = parents.filter_map(|parent| self.below.get(parent));
        below.chain(self.exact.get(name)).copied().min()
    }
}

fn destination(config: &Config, id: &str) -> Result<Destination, SnapshotError> {
    let place = config.upstreams.iter().position(|one| one.id == id);
    let index = place.and_then(|place| u32::try_from(place).ok());
    Ok(Destination {
        index: index.ok_or_else(|| SnapshotError::ListenerUpstream(id.to_owned()))?,
        id: id.into(),
    })
}
