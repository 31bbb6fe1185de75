//! What members are made of.
//!
//! Not here: what a name stands for (`addresses`).

use std::net::SocketAddr;
use std::rc::Rc;

use super::super::secure::{ClientTls, Registry};
use crate::model::config::{ServerHost, ServerRole};
use crate::model::resolved::{Address, ResolvedEndpoint};
use crate::model::snapshot::Server;
use crate::shm::names::endpoint_name;

/// A server, as configured.
pub(super) struct Source {
    pub(super) server: u32,
    pub(super) weight: u32,
    /// Lower ones first.
    pub(super) tier: u32,
    pub(super) at: At,
    pub(super) tls: Option<Rc<ClientTls>>,
}

pub(super) enum At {
    Address(Address, u32),
    /// Its name and port, as they are looked up.
    Looked(Box<str>),
}

/// Backup servers come after whatever priority other servers have.
const BACKUP: u32 = 1 << 16;

impl Source {
    pub(super) fn of(at: u32, server: &Server, id: Option<u32>, registry: &Registry) -> Self {
        Self {
            tls: server.tls.as_ref().map(|tls| registry.find(tls)),
            server: at,
            weight: server.weight,
            tier: match server.role {
                ServerRole::Primary => 0,
                ServerRole::Backup => BACKUP,
            },
            at: match (&server.host, id) {
                (ServerHost::Ip(ip), Some(id)) => {
                    At::Address(SocketAddr::new(*ip, server.port).into(), id)
                }
                (ServerHost::Unix(path), Some(id)) => {
                    At::Address(Address::Unix(path.as_str().into()), id)
                }
                (host, _) => At::Looked(endpoint_name(host, server.port).into()),
            },
        }
    }
}

pub(super) fn only(address: Address, id: u32) -> ResolvedEndpoint {
    ResolvedEndpoint {
        id,
        address,
        weight: 1,
        priority: 0,
    }
}
