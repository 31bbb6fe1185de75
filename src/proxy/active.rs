//! A snapshot at work in this worker: beside what was compiled, where its servers are and whose turn
//! it is. Built off to the side, then put in place whole.
//!
//! Not here: idle connections; they belong to the endpoints, which outlive a generation.

use std::rc::Rc;

use super::observe::Watched;
use super::upstream::addresses::{Addresses, Place};
use super::upstream::endpoint::Endpoints;
use crate::model::balance::Balance;
use crate::model::snapshot::{Snapshot, Target};

pub(super) struct Active {
    pub(super) snapshot: Snapshot,
    pub(super) balance: Balance,
    /// Where its requests are counted and logged.
    pub(super) watched: Rc<Watched>,
    /// By upstream and server, as in the snapshot.
    places: Box<[Box<[Rc<Place>]>]>,
}

impl Active {
    pub(super) fn build(
        snapshot: Snapshot,
        watched: Rc<Watched>,
        before: Option<&Self>,
        addresses: &Addresses,
        endpoints: &Endpoints,
    ) -> Self {
        let before = before.map(|before| &before.balance);
        let balance = Balance::build(&snapshot.routes, &snapshot.upstreams, before);
        let places = snapshot
            .upstreams
            .iter()
            .map(|upstream| match &upstream.target {
                Target::Echo => Box::default(),
                Target::Servers(servers) => servers
                    .iter()
                    .map(|server| addresses.place(&server.host, server.port, endpoints))
                    .collect(),
            });
        Self {
            balance,
            watched,
            places: places.collect(),
            snapshot,
        }
    }

    /// Connections that wait for requests to an upstream.
    pub(super) fn idle_connections(&self, upstream: u32) -> usize {
        let places = self.places.get(upstream as usize);
        places.map_or(0, |places| {
            places.iter().map(|place| place.idle_connections()).sum()
        })
    }

    pub(super) fn place(&self, upstream: u32, server: usize) -> Option<&Place> {
        let places = self.places.get(upstream as usize)?;
        places.get(server).map(|place| &**place)
    }
}
