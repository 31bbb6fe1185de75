//! What the servers of a configuration stand for right now: the endpoints that name lookups found,
//! with their places on the health board. Changes while a generation serves, without a new one.
//!
//! Not here: looking up, and who connects.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One server of one upstream, and all its endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The upstream's id.
    pub upstream: String,
    /// The server's host and port, as configured.
    pub server: String,
    pub endpoints: Vec<ResolvedEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedEndpoint {
    /// Its place on the health board.
    pub id: u32,
    pub address: SocketAddr,
    /// Among the endpoints of this server; their server's weight is multiplied with it. At least 1.
    pub weight: u32,
    /// Requests go to the lowest priority that has a healthy endpoint.
    pub priority: u16,
}
