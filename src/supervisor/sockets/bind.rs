//! One listening socket: bound, so that ours can share its address, and where it cannot be, why.
//!
//! Not here: which ones there are, and who accepts on them.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use crate::ipc::message::Owner;
use crate::model::Address;

/// The kernel takes the lesser of this and net.core.somaxconn.
const BACKLOG: i32 = 65_535;
const ADMIN_BACKLOG: i32 = 128;

/// An address that cannot be listened on.
#[derive(Debug)]
pub(in crate::supervisor) struct NotBound {
    pub(in crate::supervisor) address: SocketAddr,
    pub(in crate::supervisor) error: io::Error,
}

impl NotBound {
    /// With its place in the file, if that is where it comes from.
    pub(in crate::supervisor) fn told(&self, places: &[Address]) -> String {
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

/// May be called again for one that listens.
pub(super) fn listen(socket: &Socket, owner: Owner) -> io::Result<()> {
    socket.listen(match owner {
        Owner::Workers => BACKLOG,
        Owner::Admin => ADMIN_BACKLOG,
    })
}

pub(super) fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = unbound(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Whether another program has the address. Sockets that share it with all of their user's others, as
/// ours do, would not notice.
pub(super) fn probe(address: SocketAddr) -> io::Result<()> {
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
        // Whatever net.ipv6.bindv6only says: `[::]` is every address.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
