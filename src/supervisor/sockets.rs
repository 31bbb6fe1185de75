//! The listening sockets: one per address and worker slot, kept here for as long as the address is
//! configured, so that what waits in their queues outlives every worker.
//!
//! A socket takes connections from the moment it listens. Those of a new address listen as soon as
//! they are bound, which shows that the address is free; those of a new slot of an address in use
//! only once their generation is decided, since the kernel spreads connections over all that listen.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::state::Settings;
use crate::ipc::message::{Inherited, Serve, SocketId};
use crate::model::Address;

/// The kernel takes the lesser of this and net.core.somaxconn.
const BACKLOG: i32 = 65_535;

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
    addresses: BTreeMap<SocketAddr, Bound>,
    last: u64,
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub(super) struct NotBound {
    pub(super) address: SocketAddr,
    pub(super) error: io::Error,
}

/// A configured address.
#[derive(Debug)]
struct Bound {
    /// The same but for port 0.
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

impl Sockets {
    /// Makes what a generation needs and what is not there; on failure everything is as before.
    pub(super) fn bind(
        &mut self,
        generation: u64,
        settings: &Settings,
    ) -> Result<(), Vec<NotBound>> {
        let mut errors = Vec::new();
        for address in &settings.listeners {
            for slot in 0..settings.workers {
                if let Err(error) = self.ensure(*address, slot, generation) {
                    errors.push(NotBound {
                        address: *address,
                        error,
                    });
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

    fn ensure(&mut self, configured: SocketAddr, slot: u16, since: u64) -> io::Result<()> {
        let known = self.addresses.get(&configured);
        if known.is_some_and(|bound| bound.slots.contains_key(&slot)) {
            return Ok(());
        }
        let is_new = known.is_none_or(|bound| bound.slots.values().all(|s| s.since == since));
        if known.is_none() && !self.has_port(configured.port()) {
            probe(configured)?;
        }
        let socket = bind(known.map_or(configured, |bound| bound.actual))?;
        if is_new {
            socket.listen(BACKLOG)?;
        }
        let actual = socket.local_addr()?.as_socket().unwrap_or(configured);
        self.last += 1;
        let id = SocketId(self.last);
        let slots = BTreeMap::new();
        let bound = self.addresses.entry(configured);
        let bound = bound.or_insert(Bound { actual, slots });
        bound.slots.insert(slot, OneSocket { id, socket, since });
        Ok(())
    }

    /// Ours may overlap: `0.0.0.0:80` takes the place of `127.0.0.1:80` in one reload.
    fn has_port(&self, port: u16) -> bool {
        self.addresses
            .values()
            .any(|bound| bound.actual.port() == port)
    }

    /// All sockets of the generation take connections from now on.
    pub(super) fn open(&self, settings: &Settings) -> io::Result<()> {
        for address in &settings.listeners {
            for one in self
                .addresses
                .get(address)
                .into_iter()
                .flat_map(|b| b.slots.values())
            {
                one.socket.listen(BACKLOG)?;
            }
        }
        Ok(())
    }

    /// Closes what was made for a generation that will not come.
    pub(super) fn unbind(&mut self, generation: u64) {
        for bound in self.addresses.values_mut() {
            bound.slots.retain(|_, one| one.since != generation);
        }
        self.addresses.retain(|_, bound| !bound.slots.is_empty());
    }

    /// Closes addresses that the generation does not have. Workers still have them: nothing arrives
    /// any more while they accept what has arrived.
    pub(super) fn retire(&mut self, settings: &Settings, heir: Heir) {
        let (kept, gone) = std::mem::take(&mut self.addresses)
            .into_iter()
            .partition(|(address, _)| settings.listeners.contains(address));
        self.addresses = kept;
        close(gone, heir);
    }

    /// All of them: a connection that comes now is refused, instead of waiting for nobody.
    pub(super) fn close(&mut self, heir: Heir) {
        close(std::mem::take(&mut self.addresses), heir);
    }

    /// All of them, for a successor.
    pub(super) fn bequeath(&self) -> io::Result<Vec<(Inherited, OwnedFd)>> {
        let mut all = Vec::new();
        for (address, bound) in &self.addresses {
            for (slot, one) in &bound.slots {
                let inherited = Inherited {
                    address: *address,
                    slot: *slot,
                };
                all.push((inherited, one.socket.as_fd().try_clone_to_owned()?));
            }
        }
        Ok(all)
    }

    /// Those of a predecessor: in use, and part of every generation that has their address.
    pub(super) fn inherit(&mut self, sockets: Vec<(Inherited, OwnedFd)>) {
        for (Inherited { address, slot }, fd) in sockets {
            let socket = Socket::from(fd);
            let actual = socket
                .local_addr()
                .ok()
                .and_then(|actual| actual.as_socket());
            self.last += 1;
            let id = SocketId(self.last);
            let bound = self.addresses.entry(address).or_insert_with(|| Bound {
                actual: actual.unwrap_or(address),
                slots: BTreeMap::new(),
            });
            bound.slots.insert(
                slot,
                OneSocket {
                    id,
                    socket,
                    since: 0,
                },
            );
        }
    }

    /// What the worker in `slot` accepts on by this generation: its own sockets, and those of slots
    /// that have no worker any more.
    pub(super) fn serve_list(&self, generation: u64, settings: &Settings, slot: u16) -> Vec<Serve> {
        let mut list = Vec::new();
        for address in &settings.listeners {
            let slots = self.addresses.get(address).map(|bound| &bound.slots);
            let sockets = slots.into_iter().flatten();
            let own = sockets.filter(|(of, one)| {
                one.since <= generation && worker_for(**of, settings.workers) == slot
            });
            list.extend(own.map(|(_, one)| Serve {
                socket: one.id,
                address: *address,
            }));
        }
        list
    }

    /// To be handed to a worker.
    pub(super) fn lend(&self, id: SocketId) -> io::Result<OwnedFd> {
        let mut all = self
            .addresses
            .values()
            .flat_map(|bound| bound.slots.values());
        match all.find(|one| one.id == id) {
            Some(one) => one.socket.as_fd().try_clone_to_owned(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// As configured and as bound.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        self.addresses
            .iter()
            .map(|(configured, bound)| (*configured, bound.actual))
    }
}

impl NotBound {
    /// With its place in the file, if that is where it comes from.
    pub(super) fn told(&self, places: &[Address]) -> String {
        let (address, error) = (self.address, &self.error);
        let message = format!("cannot listen on {address}: {error}");
        let help = match error.kind() {
            io::ErrorKind::AddrInUse => "write another address, or end what listens there",
            io::ErrorKind::AddrNotAvailable => "write an address of this machine",
            io::ErrorKind::PermissionDenied => "write a port from 1024 on, or allow lower ones",
            _ => "write another address",
        };
        match places.iter().find(|place| place.address() == address) {
            Some(place) => place.refused(message, help).to_string(),
            None => format!("{message}; {help}"),
        }
    }
}

fn close(gone: BTreeMap<SocketAddr, Bound>, heir: Heir) {
    if heir == Heir::Successor {
        return;
    }
    for (address, bound) in gone {
        for one in bound.slots.values() {
            if let Err(error) = one.socket.attach_filter(&NO_NEW_CONNECTION) {
                tracing::warn!(%address, %error, "who connects while it closes may be cut off");
            }
        }
    }
}

/// The slot whose worker accepts on a slot's sockets: its own, or a survivor in its place.
fn worker_for(slot: u16, workers: u16) -> u16 {
    slot.checked_rem(workers).unwrap_or(0)
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = unbound(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Whether another program has the address. Sockets that share it with all of their user's others, as
/// ours do, would not notice.
fn probe(address: SocketAddr) -> io::Result<()> {
    unbound(address)?.bind(&address.into())
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Old connections of a program before us may still be ending.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    fn settings(workers: u16, listeners: &[&str]) -> Settings {
        Settings {
            workers,
            listeners: listeners
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
            prepare_timeout: Duration::from_secs(1),
            lifecycle: crate::model::config::Lifecycle::Edge,
            drain_min_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(1),
            surplus_timeout: None,
            guard: None,
            canary: None,
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
        for (configured, actual) in sockets.addresses() {
            assert_ne!(actual.port(), 0, "{configured}");
            TcpStream::connect(actual).unwrap();
        }
        assert_eq!(ids(&sockets.serve_list(1, &settings, 1)), [2, 5]);
        assert!(sockets.lend(SocketId(6)).is_ok());
        assert!(sockets.lend(SocketId(7)).is_err());
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
        assert_eq!(sockets.addresses().count(), 1);
        let list = sockets.serve_list(2, &settings(3, &["127.0.0.1:0"]), 2);
        assert_eq!(list, [], "no third socket");
    }

    #[test]
    fn another_of_our_kind_on_the_address_is_noticed() {
        let mut other = Sockets::default();
        other.bind(1, &settings(1, &["127.0.0.1:0"])).unwrap();
        let taken = other.addresses().next().unwrap().1.to_string();
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
        assert!(listens(&sockets, 1) && !listens(&sockets, 2));
        let by_the_first = sockets.serve_list(1, &settings(1, &[address]), 0);
        assert_eq!(
            ids(&by_the_first),
            [1],
            "and no worker of the generation before accepts on it"
        );
        sockets.open(&settings(2, &[address])).unwrap();
        assert!(listens(&sockets, 2));
        sockets.unbind(2);
        assert!(sockets.lend(SocketId(2)).is_err());
    }

    #[test]
    fn a_removed_address_is_free_again() {
        let mut sockets = Sockets::default();
        sockets
            .bind(1, &settings(2, &["127.0.0.1:0", "[::1]:0"]))
            .unwrap();
        let ports: Vec<SocketAddr> = sockets.addresses().map(|(_, actual)| actual).collect();
        sockets.retire(&settings(2, &["[::1]:0"]), Heir::Nobody);
        assert!(TcpListener::bind(ports[0]).is_ok());
        assert!(TcpListener::bind(ports[1]).is_err());
    }
}
