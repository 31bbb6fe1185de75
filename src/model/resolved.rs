//! What the servers of a configuration stand for right now: the endpoints that name lookups found,
//! with their places on the health board. Changes while a generation serves, without a new one.
//!
//! Not here: looking up, and who connects.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What became of a name lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupResult {
    Success,
    /// There is no such name, or no address of it.
    Negative,
    /// No name server has answered in time.
    Timeout,
    Failure,
}

impl LookupResult {
    pub const ALL: [LookupResult; 4] = [
        LookupResult::Success,
        LookupResult::Negative,
        LookupResult::Timeout,
        LookupResult::Failure,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            LookupResult::Success => "success",
            LookupResult::Negative => "negative",
            LookupResult::Timeout => "timeout",
            LookupResult::Failure => "failure",
        }
    }
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Address {
    Ip(SocketAddr),
    /// The path of a socket.
    Unix(Arc<str>),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// Whether any generation at work has a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    Configured,
    /// Who still uses it keeps what it has.
    Removed,
}

/// One server of one upstream, and all its endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The upstream's id.
    pub upstream: String,
    /// The server's host and port, as configured.
    pub server: String,
    pub standing: Standing,
    /// Empty where its name is gone.
    pub endpoints: Vec<ResolvedEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedEndpoint {
    /// Its place on the health board.
    pub id: u32,
    pub address: Address,
    /// Among the endpoints of this server; their server's weight is multiplied with it. At least 1.
    pub weight: u32,
    /// Requests go to the lowest priority that has a healthy endpoint.
    pub priority: u16,
}
