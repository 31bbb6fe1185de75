//! A snapshot at work in this worker: beside what was compiled, whose turn it is and which endpoints
//! its upstreams have. Built off to the side, then put in place whole.
//!
//! Not here: idle connections; they belong to the endpoints, which outlive a generation.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::mirror::UnderWay;
use super::observe::Watched;
use super::tls::handshake::Terminator;
use super::tls::tickets::Tickets;
use super::upstream::addresses::Addresses;
use super::upstream::members::{Members, Plan, Premises};
use crate::model::balance::Balance;
use crate::model::snapshot::{Listener, Snapshot, Target};
use crate::shm::names::Index;
use crate::shm::series::OTHER;

pub(super) struct Active {
    pub(super) snapshot: Snapshot,
    pub(super) balance: Balance,
    pub(super) mirrored: UnderWay,
    /// Where its requests are counted and logged.
    pub(super) watched: Rc<Watched>,
    /// By upstream, as in the snapshot; `None` where it has no server.
    members: Box<[Option<Rc<Members>>]>,
    /// By the ids that the observer knows them by.
    entrances: Box<[(u32, Rc<Entrance>)]>,
}

/// A listener at work.
#[derive(Default)]
pub(super) struct Entrance {
    pub(super) settings: Arc<Listener>,
    pub(super) tls: Option<Terminator>,
}

impl Active {
    pub(super) fn build(
        snapshot: Snapshot,
        watched: Rc<Watched>,
        index: &Index,
        before: Option<&Self>,
        addresses: &Addresses,
        premises: &Premises<'_>,
        tickets: &Tickets,
    ) -> Self {
        let balance = Balance::build(
            &snapshot.routes,
            &snapshot.upstreams,
            before.map(|before| &before.balance),
        );
        let earlier = before.map(Self::by_upstream).unwrap_or_default();
        let ids = index.endpoints.iter().map(Vec::as_slice);
        let ids = ids.chain(std::iter::repeat(&[][..]));
        let labels = index.upstreams.iter().copied();
        let labels = labels.chain(std::iter::repeat(OTHER));
        let upstreams = snapshot.upstreams.iter().zip(ids).zip(labels);
        let members = upstreams.map(|((upstream, ids), label)| {
            let Target::Servers(servers) = &upstream.target else {
                return None;
            };
            let before = earlier.get(&*upstream.id).copied();
            let plan = Plan {
                upstream,
                servers,
                ids,
                label,
                secret: index.secret.as_ref(),
            };
            let members = Members::build(&plan, before, premises);
            if members.are_looked_up() {
                addresses.attach(&members, premises);
            }
            Some(members)
        });
        Self {
            balance,
            mirrored: UnderWay::build(&snapshot.routes, before.map(|before| &before.mirrored)),
            watched,
            members: members.collect(),
            entrances: index
                .listeners
                .iter()
                .copied()
                .zip(entrances(&snapshot, tickets))
                .collect(),
            snapshot,
        }
    }

    pub(super) fn entrance(&self, id: u32) -> Option<&Rc<Entrance>> {
        let mut all = self.entrances.iter();
        all.find(|(known, _)| *known == id)
            .map(|(_, entrance)| entrance)
    }

    /// The ids of the listeners.
    pub(super) fn listeners(&self) -> impl Iterator<Item = u32> + Clone {
        self.entrances.iter().map(|(id, _)| *id)
    }

    fn by_upstream(&self) -> HashMap<&str, &Members> {
        let members = self.members.iter().flatten();
        members
            .map(|members| (members.upstream(), &**members))
            .collect()
    }

    /// Connections that wait for requests to an upstream.
    pub(super) fn idle_connections(&self, upstream: u32) -> usize {
        let members = self.members(upstream);
        members.map_or(0, |members| members.idle_connections())
    }

    pub(super) fn members(&self, upstream: u32) -> Option<&Rc<Members>> {
        self.members.get(upstream as usize)?.as_ref()
    }
}

fn entrances(snapshot: &Snapshot, tickets: &Tickets) -> impl Iterator<Item = Rc<Entrance>> {
    let timeout = snapshot.limits.handshake_timeout;
    snapshot.listeners.iter().map(move |listener| {
        let tls = listener.tls.as_ref();
        Rc::new(Entrance {
            settings: Arc::clone(listener),
            tls: tls.map(|tls| Terminator::build(tls, tickets, timeout)),
        })
    })
}
