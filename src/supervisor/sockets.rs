//! The listening sockets, of traffic and of the admin port: kept here for as long as somebody serves their
//! address, so that what waits in their queues outlives every worker.
//!
//! A socket that is bound stays bound: where an address gets another owner, or one that covers it takes
//! its place, the next generation accepts on the very same sockets. So nothing that is served is
//! refused on the way, and two owners may change places.
//!
//! A socket takes connections from the moment it listens. Those of a port that nobody had listen as
//! soon as they are bound, which shows that it is free; all others only once their generation is decided,
//! since the kernel would give them what is meant for those that serve.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use socket2::{SockFilter, Socket};

use super::state::Settings;
use crate::ipc::message::{Inherited, Owner, Serve, SocketId};
use crate::model::config::covers;

mod bind;

pub(super) use bind::NotBound;

/// A classic BPF program over the TCP header, which lets all through but a SYN without an ACK. Between
/// the last accept and the close a connection could still be made, and would be reset with all that its
/// client had sent; so it is not made, and the client's next try, a second later, is refused.
const NO_NEW_CONNECTION: [SockFilter; 5] = [
    // Load the flags, keep SYN and ACK.
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x54, 0, 0, 0x12),
    // Only SYN: the next, which takes nothing of the packet; else the last, which takes all.
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// Who goes on listening with the same sockets when they are closed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heir {
    Nobody,
    Successor,
}

#[derive(Debug, Default)]
pub(super) struct Sockets {
    bound: BTreeMap<Place, Bound>,
    last: u64,
}

/// An address as configured, whoever has it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    address: SocketAddr,
    /// Port 0 is another port for each who asks.
    chosen_for: Option<Owner>,
}

#[derive(Debug)]
struct Bound {
    /// The same as configured but for port 0.
    actual: SocketAddr,
    slots: BTreeMap<u16, OneSocket>,
}

#[derive(Debug)]
struct OneSocket {
    id: SocketId,
    socket: Socket,
    /// The generation it was made for.
    since: u64,
}

/// Who accepts somewhere by a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tenant {
    owner: Owner,
    /// As configured.
    address: SocketAddr,
}

impl Tenant {
    fn place(self) -> Place {
        let is_chosen = self.address.port() == 0;
        Place {
            address: self.address,
            chosen_for: is_chosen.then_some(self.owner),
        }
    }
}

impl Sockets {
    /// Makes what a generation needs and what is not there; on failure everything is as before.
    pub(super) fn bind(
        &mut self,
        generation: u64,
        settings: &Settings,
    ) -> Result<(), Vec<NotBound>> {
        let mut errors = Vec::new();
        for tenant in tenants(settings) {
            let slots = match tenant.owner {
                Owner::Workers => settings.workers,
                Owner::Admin => 1,
            };
            for slot in 0..slots {
                if let Err(error) = self.ensure(tenant, slot, generation) {
                    let address = tenant.address;
                    errors.push(NotBound { address, error });
                    break;
                }
            }
        }
        if errors.is_empty() {
            return Ok(());
        }
        self.unbind(generation);
        Err(errors)
    }

    fn ensure(&mut self, tenant: Tenant, slot: u16, since: u64) -> io::Result<()> {
        let place = tenant.place();
        let known = self.bound.get(&place);
        if known.is_some_and(|bound| bound.slots.contains_key(&slot)) {
            return Ok(());
        }
        let address = known.map_or(place.address, |bound| bound.actual);
        let ours: Vec<_> = self.with_port(address.port()).collect();
        let is_new = ours.iter().all(|one| one.since == since);
        // Ours may overlap: `0.0.0.0:80` takes the place of `127.0.0.1:80` in one reload.
        if ours.is_empty() {
            bind::probe(address)?;
        }
        let socket = bind::bind(address)?;
        if is_new {
            bind::listen(&socket, tenant.owner)?;
        }
        let actual = socket.local_addr()?.as_socket().unwrap_or(address);
        self.keep(place, actual, slot, socket, since);
        Ok(())
    }

    fn keep(&mut self, place: Place, actual: SocketAddr, slot: u16, socket: Socket, since: u64) {
        self.last += 1;
        let id = SocketId(self.last);
        let slots = BTreeMap::new();
        let bound = self.bound.entry(place).or_insert(Bound { actual, slots });
        bound.slots.insert(slot, OneSocket { id, socket, since });
    }

    fn with_port(&self, port: u16) -> impl Iterator<Item = &OneSocket> {
        let all = self.bound.values();
        let such = all.filter(move |bound| bound.actual.port() == port);
        such.flat_map(|bound| bound.slots.values())
    }

    /// All sockets of the generation take connections from now on.
    pub(super) fn open(&self, settings: &Settings) -> io::Result<()> {
        for (tenant, _, bound) in self.let_to(settings) {
            for one in bound.slots.values() {
                bind::listen(&one.socket, tenant.owner)?;
            }
        }
        Ok(())
    }

    /// Closes what was made for a generation that will not come.
    pub(super) fn unbind(&mut self, generation: u64) {
        for bound in self.bound.values_mut() {
            bound.slots.retain(|_, one| one.since != generation);
        }
        self.bound.retain(|_, bound| !bound.slots.is_empty());
    }

    /// Closes addresses that nobody serves by the generation. Workers still have them: nothing arrives
    /// any more while they accept what has arrived.
    pub(super) fn retire(&mut self, settings: &Settings, heir: Heir) {
        let kept = self.let_to(settings).map(|(_, place, _)| *place);
        let kept = kept.collect();
        self.keep_only(&kept, heir);
    }

    /// All of them but the admin port's, which answers to the end: a connection that comes now is
    /// refused, instead of waiting for nobody.
    pub(super) fn close(&mut self, settings: Option<&Settings>, heir: Heir) {
        let all = settings.into_iter().flat_map(|s| self.let_to(s));
        let kept = all.filter(|(tenant, ..)| tenant.owner == Owner::Admin);
        let kept = kept.map(|(_, place, _)| *place).collect();
        self.keep_only(&kept, heir);
    }

    fn keep_only(&mut self, places: &BTreeSet<Place>, heir: Heir) {
        let (kept, gone) = std::mem::take(&mut self.bound)
            .into_iter()
            .partition(|(place, _)| places.contains(place));
        self.bound = kept;
        close(gone, heir);
    }

    /// All of them, for a successor.
    pub(super) fn bequeath(&self) -> io::Result<Vec<(Inherited, OwnedFd)>> {
        let mut all = Vec::new();
        for (place, bound) in &self.bound {
            for (slot, one) in &bound.slots {
                let inherited = Inherited {
                    address: place.address,
                    chosen_for: place.chosen_for,
                    slot: *slot,
                };
                all.push((inherited, one.socket.as_fd().try_clone_to_owned()?));
            }
        }
        Ok(all)
    }

    /// Those of a predecessor: in use, and part of every generation that has their address.
    pub(super) fn inherit(&mut self, sockets: Vec<(Inherited, OwnedFd)>) {
        for (inherited, fd) in sockets {
            let socket = Socket::from(fd);
            let actual = socket.local_addr().ok();
            let actual = actual.and_then(|actual| actual.as_socket());
            let place = Place {
                address: inherited.address,
                chosen_for: inherited.chosen_for,
            };
            let actual = actual.unwrap_or(place.address);
            self.keep(place, actual, inherited.slot, socket, 0);
        }
    }

    /// What the worker in `slot` accepts on by this generation: its own sockets, and those of slots
    /// that have no worker any more.
    pub(super) fn serve_list(&self, generation: u64, settings: &Settings, slot: u16) -> Vec<Serve> {
        let mut list = Vec::new();
        for (tenant, _, bound) in self.let_to(settings) {
            if tenant.owner != Owner::Workers {
                continue;
            }
            let own = bound.slots.iter().filter(|(of, one)| {
                one.since <= generation && worker_for(**of, settings.workers) == slot
            });
            list.extend(own.map(|(_, one)| Serve {
                socket: one.id,
                address: tenant.address,
            }));
        }
        list
    }

    /// What the admin port accepts on by this generation.
    pub(super) fn of_admin(&self, generation: u64, settings: &Settings) -> Vec<SocketId> {
        let all = self.let_to(settings);
        let own = all.filter(|(tenant, ..)| tenant.owner == Owner::Admin);
        own.flat_map(|(_, _, bound)| bound.slots.values())
            .filter(|one| one.since <= generation)
            .map(|one| one.id)
            .collect()
    }

    /// Whether somebody accepts on it by this generation.
    pub(super) fn is_let(&self, id: SocketId, settings: &Settings) -> bool {
        let mut all = self.let_to(settings);
        all.any(|(_, _, bound)| bound.slots.values().any(|one| one.id == id))
    }

    /// To be handed to whoever accepts on it.
    pub(super) fn lend(&self, id: SocketId) -> io::Result<OwnedFd> {
        let mut all = self.bound.values().flat_map(|bound| bound.slots.values());
        match all.find(|one| one.id == id) {
            Some(one) => one.socket.as_fd().try_clone_to_owned(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The listeners, as configured and as bound.
    pub(super) fn addresses(&self, settings: &Settings) -> Vec<(SocketAddr, SocketAddr)> {
        let listeners = tenants(settings).filter(|tenant| tenant.owner == Owner::Workers);
        let actual = |tenant: Tenant| Some((tenant.address, self.actual(tenant)?));
        listeners.filter_map(actual).collect()
    }

    pub(super) fn admin_address(&self, settings: &Settings) -> Option<SocketAddr> {
        self.actual(tenants(settings).find(|tenant| tenant.owner == Owner::Admin)?)
    }

    fn actual(&self, tenant: Tenant) -> Option<SocketAddr> {
        self.bound.get(&tenant.place()).map(|bound| bound.actual)
    }

    /// Who has which address by a generation, in the order of the configuration: whoever it names, or
    /// where it names nobody the narrowest that covers it, as the kernel would choose.
    fn let_to(&self, settings: &Settings) -> impl Iterator<Item = (Tenant, &Place, &Bound)> {
        let all: Vec<_> = tenants(settings)
            .map(|tenant| (tenant, self.actual(tenant)))
            .collect();
        let find = |place: &Place, bound: &Bound| {
            let covering = all.iter().enumerate().filter_map(|(at, (tenant, actual))| {
                let actual = actual.filter(|wide| covers(*wide, bound.actual))?;
                let is_other = tenant.place() != *place;
                Some((is_other, actual.ip().is_unspecified(), actual.is_ipv6(), at))
            });
            covering.min().map(|(.., at)| at)
        };
        let mut found: Vec<_> = self
            .bound
            .iter()
            .filter_map(|(place, bound)| Some((find(place, bound)?, place, bound)))
            .collect();
        found.sort_by_key(|(at, ..)| *at);
        found
            .into_iter()
            .filter_map(move |(at, place, bound)| Some((all.get(at)?.0, place, bound)))
    }
}

fn tenants(settings: &Settings) -> impl Iterator<Item = Tenant> {
    let of_workers = settings.listeners.iter().map(|address| Tenant {
        owner: Owner::Workers,
        address: *address,
    });
    of_workers.chain([Tenant {
        owner: Owner::Admin,
        address: settings.admin,
    }])
}

fn close(gone: BTreeMap<Place, Bound>, heir: Heir) {
    if heir == Heir::Successor {
        return;
    }
    for (place, bound) in gone {
        for one in bound.slots.values() {
            if let Err(error) = one.socket.attach_filter(&NO_NEW_CONNECTION) {
                let address = place.address;
                tracing::warn!(%address, %error, "who connects while it closes may be cut off");
            }
        }
    }
}

/// The slot whose worker accepts on a slot's sockets: its own, or a survivor in its place.
fn worker_for(slot: u16, workers: u16) -> u16 {
    slot.checked_rem(workers).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::Duration;

    fn settings(workers: u16, listeners: &[&str]) -> Settings {
        Settings {
            workers,
            listeners: listeners
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
            admin: "127.0.0.1:0".parse().unwrap(),
            prepare_timeout: Duration::from_secs(1),
            lifecycle: crate::model::config::Lifecycle::Edge,
            drain_min_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(1),
            surplus_timeout: None,
            guard: None,
            canary: None,
        }
    }

    fn actual(sockets: &Sockets, settings: &Settings) -> SocketAddr {
        sockets.addresses(settings)[0].1
    }

    fn with_admin(admin: SocketAddr, listeners: &[&str]) -> Settings {
        Settings {
            admin,
            ..settings(2, listeners)
        }
    }

    fn ids(list: &[Serve]) -> Vec<u64> {
        list.iter().map(|serve| serve.socket.0).collect()
    }

    #[test]
    fn all_slots_share_a_port_that_the_system_chose() {
        let mut sockets = Sockets::default();
        let settings = settings(3, &["127.0.0.1:0", "[::1]:0"]);
        sockets.bind(1, &settings).unwrap();
        for (configured, actual) in sockets.addresses(&settings) {
            assert_ne!(actual.port(), 0, "{configured}");
            TcpStream::connect(actual).unwrap();
        }
        assert_eq!(ids(&sockets.serve_list(1, &settings, 1)), [2, 5]);
        assert_eq!(sockets.of_admin(1, &settings), [SocketId(7)]);
        assert!(sockets.lend(SocketId(7)).is_ok());
        assert!(sockets.lend(SocketId(8)).is_err());
    }

    #[test]
    fn a_taken_address_is_an_error_and_changes_nothing() {
        let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = foreign.local_addr().unwrap().to_string();
        let mut sockets = Sockets::default();
        sockets.bind(1, &settings(2, &["127.0.0.1:0"])).unwrap();
        let errors = sockets
            .bind(2, &settings(3, &["127.0.0.1:0", &taken]))
            .unwrap_err();
        assert_eq!(errors[0].address.to_string(), taken);
        assert_eq!(sockets.bound.len(), 2, "and the admin port");
        let list = sockets.serve_list(2, &settings(3, &["127.0.0.1:0"]), 2);
        assert_eq!(list, [], "no third socket");
    }

    #[test]
    fn another_of_our_kind_on_the_address_is_noticed() {
        let mut other = Sockets::default();
        other.bind(1, &settings(1, &["127.0.0.1:0"])).unwrap();
        let taken = actual(&other, &settings(1, &["127.0.0.1:0"])).to_string();
        let refused = Sockets::default().bind(1, &settings(1, &[&taken]));
        assert!(refused.is_err());
    }

    #[test]
    fn survivors_adopt_the_sockets_of_slots_that_are_gone() {
        let mut sockets = Sockets::default();
        let (many, few) = (settings(4, &["127.0.0.1:0"]), settings(3, &["127.0.0.1:0"]));
        sockets.bind(1, &many).unwrap();
        sockets.bind(2, &few).unwrap();
        let lists: Vec<_> = (0..3)
            .map(|slot| ids(&sockets.serve_list(2, &few, slot)))
            .collect();
        assert_eq!(lists, [vec![1, 4], vec![2], vec![3]]);
        let back = ids(&sockets.serve_list(3, &many, 3));
        assert_eq!(back, [4], "and give them back");
    }

    #[test]
    fn a_new_slot_takes_no_connection_before_its_generation_is_decided() {
        let mut sockets = Sockets::default();
        let address = "127.0.0.1:0";
        sockets.bind(1, &settings(1, &[address])).unwrap();
        sockets.bind(2, &settings(2, &[address])).unwrap();
        let listens = |sockets: &Sockets, id| {
            let fd = sockets.lend(SocketId(id)).unwrap();
            Socket::from(fd).is_listener().unwrap()
        };
        assert!(listens(&sockets, 1) && !listens(&sockets, 3));
        let by_the_first = sockets.serve_list(1, &settings(1, &[address]), 0);
        assert_eq!(
            ids(&by_the_first),
            [1],
            "and no worker of the generation before accepts on it"
        );
        sockets.open(&settings(2, &[address])).unwrap();
        assert!(listens(&sockets, 3));
        sockets.unbind(2);
        assert!(sockets.lend(SocketId(3)).is_err());
    }

    #[test]
    fn a_removed_address_is_free_again() {
        let mut sockets = Sockets::default();
        let both = settings(2, &["127.0.0.1:0", "[::1]:0"]);
        sockets.bind(1, &both).unwrap();
        let ports = sockets.addresses(&both).into_iter();
        let ports: Vec<SocketAddr> = ports.map(|(_, actual)| actual).collect();
        sockets.retire(&settings(2, &["[::1]:0"]), Heir::Nobody);
        assert!(TcpListener::bind(ports[0]).is_ok());
        assert!(TcpListener::bind(ports[1]).is_err());
    }

    #[test]
    fn an_address_that_gets_another_owner_keeps_its_sockets_and_who_waits_there() {
        let mut sockets = Sockets::default();
        let start = settings(2, &["127.0.0.1:0"]);
        sockets.bind(1, &start).unwrap();
        let (a, b) = (
            sockets.admin_address(&start).unwrap(),
            actual(&sockets, &start),
        );
        let before = with_admin(a, &[&b.to_string()]);
        drop(sockets);
        let mut sockets = Sockets::default();
        sockets.bind(1, &before).unwrap();
        sockets.open(&before).unwrap();
        let waits = [
            TcpStream::connect(a).unwrap(),
            TcpStream::connect(b).unwrap(),
        ];

        let after = with_admin(b, &[&a.to_string()]);
        sockets.bind(2, &after).unwrap();
        assert_eq!(
            sockets.of_admin(1, &before),
            [SocketId(3)],
            "until it is decided"
        );
        sockets.open(&after).unwrap();
        sockets.retire(&after, Heir::Nobody);
        assert_eq!(sockets.of_admin(2, &after), [SocketId(1), SocketId(2)]);
        let lists = [0, 1].map(|slot| ids(&sockets.serve_list(2, &after, slot)));
        assert_eq!(
            lists,
            [vec![3], vec![4]],
            "and one more for the second worker"
        );
        for (address, known) in [(a, vec![3, 4]), (b, vec![1, 2])] {
            let waiting = known.iter().filter(|id| {
                let fd = sockets.lend(SocketId(**id)).unwrap();
                TcpListener::from(fd).accept().is_ok()
            });
            assert_eq!(waiting.count(), 1, "{address}");
        }
        drop(waits);
    }

    #[test]
    fn who_covers_an_address_goes_on_with_its_sockets() {
        let mut sockets = Sockets::default();
        let start = settings(1, &["127.0.0.1:0"]);
        sockets.bind(1, &start).unwrap();
        let port = actual(&sockets, &start).port();
        drop(sockets);
        let [narrow, wide, all] = ["127.0.0.1", "0.0.0.0", "[::]"].map(|ip| format!("{ip}:{port}"));
        let mut sockets = Sockets::default();
        let in_turn = [&narrow, &wide, &all, &narrow, &all];
        for (generation, address) in (1..).zip(in_turn) {
            let now = settings(1, &[address]);
            sockets.bind(generation, &now).unwrap();
            sockets.open(&now).unwrap();
            sockets.retire(&now, Heir::Nobody);
            let list = sockets.serve_list(generation, &now, 0);
            let _waits = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let arrived = list.iter().filter(|serve| {
                assert_eq!(serve.address.to_string(), *address);
                let fd = sockets.lend(serve.socket).unwrap();
                TcpListener::from(fd).accept().is_ok()
            });
            assert_eq!(arrived.count(), 1, "{address}");
        }
    }

    #[test]
    fn nothing_comes_to_a_narrower_address_before_its_generation_is_decided() {
        let mut sockets = Sockets::default();
        let start = settings(1, &["0.0.0.0:0"]);
        sockets.bind(1, &start).unwrap();
        let port = actual(&sockets, &start).port();
        sockets
            .bind(2, &settings(1, &[&format!("127.0.0.1:{port}")]))
            .unwrap();
        let _waits = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        sockets.unbind(2);
        let fd = sockets.lend(SocketId(1)).unwrap();
        assert!(
            TcpListener::from(fd).accept().is_ok(),
            "it came to who serves"
        );
    }
}
