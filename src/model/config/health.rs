//! Active health checks of an upstream's endpoints.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Scheme;
use crate::model::secret::Secret;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub probe: Probe,
    /// Instead of the endpoint's own.
    pub port: Option<u16>,
    /// Instead of what the server's url says.
    pub scheme: Option<Scheme>,
    pub interval: Duration,
    /// Added to the interval, by chance and at most.
    pub jitter: Duration,
    /// For one check as a whole.
    pub timeout: Duration,
    /// In a row, to come back; at least 1.
    pub healthy_threshold: u32,
    /// In a row, to be taken out; at least 1.
    pub unhealthy_threshold: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    Tcp,
    Http(HttpProbe),
    Grpc {
        /// Empty is the server as a whole.
        service: String,
        /// `None` is what the server's url gives.
        host: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProbe {
    pub method: String,
    /// With its query; starts with `/`.
    pub path: String,
    /// `None` is what the server's url gives.
    pub host: Option<String>,
    /// Valid names in lower case, and valid values.
    pub headers: Vec<(String, Secret)>,
    /// First and last of each range; never empty.
    pub statuses: Vec<(u16, u16)>,
    pub body: Option<String>,
}

/// How a check is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckType {
    Http,
    Tcp,
    Grpc,
}
