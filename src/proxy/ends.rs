//! Who is at either end of a client's connection: as the socket has it, or as a trusted load balancer
//! has told by the PROXY protocol.
//!
//! Not here: whom a request speaks for, which `X-Forwarded-For` may say (`headers::forwarded`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use crate::model::proxy_protocol::{self, Addresses, Told, Version};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    /// What the peer connected to.
    pub(super) local: SocketAddr,
}

impl Ends {
    /// The one address that all connect to; `None` where the listener has several. It saves a system call for
    /// each connection.
    pub(super) fn bound(listener: &TcpListener) -> Option<SocketAddr> {
        let address = listener.local_addr().ok();
        address.filter(|address| !address.ip().is_unspecified())
    }

    pub(super) fn of(tcp: &TcpStream, peer: SocketAddr, bound: Option<SocketAddr>) -> Self {
        // A socket of `[::]` has IPv4 clients by their IPv6-mapped addresses.
        let canonical = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
        let peer = canonical(peer);
        let unknown = match peer {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        Self {
            peer,
            local: bound
                .map_or_else(|| tcp.local_addr(), Ok)
                .map_or(unknown, canonical),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_client_connected_to_is_known_of_all_kinds_of_listeners() {
        for address in ["127.0.0.1:0", "127.0.0.7:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let mut asked = listener.local_addr().unwrap();
            if asked.ip().is_unspecified() {
                asked.set_ip(Ipv4Addr::new(127, 0, 0, 9).into());
            }
            let client = TcpStream::connect(asked).await.unwrap();
            let (tcp, peer) = listener.accept().await.unwrap();
            let ends = Ends::of(&tcp, peer, Ends::bound(&listener));
            assert_eq!(ends.local, asked, "{address}");
            assert_eq!(ends.peer, client.local_addr().unwrap(), "{address}");
        }
    }
}
