//! How an upstream's requests are spread over its endpoints, and which endpoints are left out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::secret::Secret;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balancing {
    pub policy: Policy,
    /// How long an endpoint that comes back gets less than its share.
    pub slow_start: Option<Duration>,
    /// With a smaller share of its endpoints well than this, in percent, all of them get requests.
    pub panic_threshold: u32,
    pub outliers: Outliers,
    /// Keeps a client with its endpoint by a cookie.
    pub sticky: Option<Sticky>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sticky {
    pub cookie: String,
    /// How long the client keeps it; `None` is until it is closed.
    pub ttl: Option<Duration>,
    pub path: String,
    pub domain: Option<String>,
    pub secure: bool,
    pub http_only: bool,
    pub same_site: SameSite,
    /// Of the hash that stands for the endpoint; `None` is one that nobody else has.
    pub secret: Option<Secret>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    RoundRobin,
    Random,
    LeastConnections,
    PeakEwma,
    IpHash,
    ConsistentHash(Hash),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hash {
    pub on: HashOn,
    /// How much of its fair share an endpoint may have in flight, in percent; `None` is any amount.
    pub load_bound: Option<u32>,
}

/// What a request is placed by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HashOn {
    /// In lower case.
    Header(String),
    Cookie(String),
    Query(String),
    ClientAddress,
}

/// When live traffic shows that an endpoint is not well, and for how long it is left out then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outliers {
    /// `None` takes no notice of them.
    pub consecutive_errors: Option<u16>,
    pub error_rate: Option<ErrorRate>,
    /// Statuses that count as errors.
    pub statuses: Vec<u16>,
    pub base_time: Duration,
    pub max_time: Duration,
    /// Of the upstream's endpoints, how many may be out at once.
    pub max_percent: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRate {
    pub percent: u32,
    pub min_requests: u32,
    pub interval: Duration,
}

impl Default for Balancing {
    fn default() -> Self {
        Self {
            policy: Policy::LeastConnections,
            slow_start: None,
            panic_threshold: 10,
            outliers: Outliers::default(),
            sticky: None,
        }
    }
}

impl Default for Outliers {
    fn default() -> Self {
        Self {
            consecutive_errors: Some(5),
            error_rate: None,
            statuses: vec![502, 503, 504],
            base_time: Duration::from_secs(1),
            max_time: Duration::from_secs(30),
            max_percent: 70,
        }
    }
}
