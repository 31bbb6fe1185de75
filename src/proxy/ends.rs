//! Who is at either end of a client's connection: as the socket has it, or as a trusted load balancer
//! has told by the PROXY protocol.
//!
//! Not here: whom a request speaks for, which `X-Forwarded-For` may say (`headers::forwarded`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpStream;

use crate::model::proxy_protocol::{self, Addresses, Told, Version};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    /// What the peer connected to.
    pub(super) local: SocketAddr,
}

impl Ends {
    pub(super) fn of(tcp: &TcpStream, peer: SocketAddr) -> Self {
        // A socket of `[::]` has IPv4 clients by their IPv6-mapped addresses.
        let canonical = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
        let peer = canonical(peer);
        let unknown = match peer {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        Self {
            peer,
            local: tcp.local_addr().map_or(unknown, canonical),
        }
    }

    pub(super) fn as_told(self, told: Told) -> Self {
        match told {
            Told::Local => self,
            Told::Proxied(Addresses {
                source,
                destination,
            }) => Self {
                peer: source,
                local: destination,
            },
        }
    }

    /// What an upstream is told of them.
    pub(super) fn introduction(&self, version: Version) -> Vec<u8> {
        let addresses = Addresses {
            source: self.peer,
            destination: self.local,
        };
        proxy_protocol::encode(version, Some(&addresses))
    }
}
