//! A rule: which requests it takes, and where they go.
//!
//! Not here: how it is found for a request (`model::route`).

use serde::{Deserialize, Serialize};

use super::traffic::TrafficChange;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// As written, or made from host and path; unique.
    pub name: String,
    pub host: HostPattern,
    pub path: PathPattern,
    /// Upper case; empty takes all.
    pub methods: Vec<String>,
    pub headers: Vec<ValueMatch>,
    pub query: Vec<ValueMatch>,
    pub cookies: Vec<ValueMatch>,
    /// Never empty.
    pub upstreams: Vec<WeightedUpstream>,
    /// `None` is as its upstreams have it; apart, since few rules say anything and there may be many.
    pub traffic: Option<Box<TrafficChange>>,
    /// gRPC-Web becomes gRPC.
    pub grpc_web: bool,
    pub mirror: Option<Mirror>,
}

/// Where copies of requests go; nobody waits for what becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// Index into `Config::upstreams`.
    pub upstream: u32,
    /// Of a hundred requests.
    pub percent: u32,
    /// Copies of the rule that may be under way in a worker.
    pub max_in_flight: u32,
    /// In bytes; a request with more is not copied.
    pub max_body: u32,
}

impl Rule {
    /// Whether host and path say it all.
    pub fn has_no_conditions(&self) -> bool {
        let wanted = [&self.headers, &self.query, &self.cookies];
        self.methods.is_empty() && wanted.iter().all(|list| list.is_empty())
    }
}

/// Host names are in lower case without a trailing dot or a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HostPattern {
    Any,
    Exact(String),
    /// `*.example.com`, kept as `example.com`: takes any name below it, not the name itself.
    Wildcard(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathPattern {
    /// The whole path, without the query.
    Exact(String),
    /// By path element: `/api` takes `/api` and `/api/x`, not `/apix`.
    Prefix(String),
    /// A regular expression anchored at the start of path and query; compiles.
    Regex(String),
}

/// A condition on a request header, a query parameter or a cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueMatch {
    /// Header names are in lower case.
    pub name: String,
    pub value: ValuePattern,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValuePattern {
    Present,
    Exact(String),
    /// Matches the whole value; compiles.
    Regex(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightedUpstream {
    /// Index into `Config::upstreams`.
    pub upstream: u32,
    /// 0 sends nothing there; not all of a rule's are 0.
    pub weight: u32,
}
