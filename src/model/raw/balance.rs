//! An upstream's `balance` and `outlierDetection`, as written.

use std::time::Duration;

use crate::model::config::balance::SameSite;
use crate::model::decode::{At, Decode, Number, Reader, Shape, section, words};
use crate::model::yaml::{NodeId, Value};

/// The name of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum PolicyName {
    RoundRobin,
    Random,
    LeastConnections,
    PeakEwma,
    IpHash,
    ConsistentHash,
}

words!(PolicyName {
    "round-robin" => Self::RoundRobin,
    "random" => Self::Random,
    "least-connections" => Self::LeastConnections,
    "peak-ewma" => Self::PeakEwma,
    "ip-hash" => Self::IpHash,
    "consistent-hash" => Self::ConsistentHash,
});

/// What requests are placed by, where that has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) struct ClientAddress;

words!(ClientAddress {
    "client-address" => Self,
});

section! {
    /// `balance:`, where it is more than the name of a policy.
    RawBalance {
        /// How an endpoint is chosen.
        "policy" policy: PolicyName = PolicyName::LeastConnections,
        /// What `consistent-hash` places a request by: `client-address`, or a header, cookie or query
        /// parameter. Without it, the client's address.
        "hashOn" hash_on: HashForm<'t>,
        /// With `consistent-hash`, how much of its fair share of all requests in flight an endpoint may
        /// have, in percent, before others help it out; without it, any amount.
        "loadBound" load_bound: Number<101, 10_000>,
    }
}

impl RawBalance<'_> {
    pub(in crate::model) fn of(policy: At<PolicyName>) -> Self {
        Self {
            policy: Some(policy),
            ..Self::default()
        }
    }
}

section! {
    /// `hashOn:`: one of them.
    RawHashOn {
        /// The name of a request header.
        "header" header: &'t str,
        /// The name of a cookie.
        "cookie" cookie: &'t str,
        /// The name of a query parameter.
        "query" query: &'t str,
    }
}

words!(SameSite {
    "strict" => Self::Strict,
    "lax" => Self::Lax,
    "none" => Self::None,
});

section! {
    /// `sticky:`
    RawSticky {
        /// The cookie's name.
        "cookie" cookie: &'t str; require,
        /// How long a client keeps it. Without it, until the client is closed.
        "ttl" ttl: Duration,
        /// How else it is set.
        "attributes" attributes: RawAttributes<'t>,
        /// The key of the hash that stands for an endpoint, or where it is, like `env:NAME`. Proxies that
        /// have the same one know each other's cookies. Without it, one made up when the program starts.
        "secret" secret: &'t str,
    }
}

section! {
    /// `attributes:`
    RawAttributes {
        /// Below which path it is sent.
        "path" path: &'t str = "/",
        /// To which domain it is sent. Without it, to the host that set it.
        "domain" domain: &'t str,
        /// Whether it is sent over TLS only.
        "secure" secure: bool = false,
        /// Whether it is kept from scripts.
        "httpOnly" http_only: bool = true,
        /// Whether it is sent with requests that other sites cause; `none` needs `secure`.
        "sameSite" same_site: SameSite = SameSite::Lax,
    }
}

section! {
    /// `outlierDetection:`
    RawOutliers {
        /// So many errors in a row, of all workers together; 0 takes no notice of them.
        "consecutiveErrors" consecutive_errors: Number<0, 65_535> = Number(5),
        /// Too large a share of errors. Without it, only errors in a row count.
        "errorRate" error_rate: RawErrorRate<'t>,
        /// Statuses that count as errors, beside connections that fail, break or take too long.
        /// Without it, 502, 503 and 504.
        "statuses" statuses: Vec<At<Number<400, 599>>>,
        /// How long an endpoint is left out the first time; each time in a row as much longer. Then it gets
        /// one request in so long, until one goes well.
        "baseEjectionTime" base_ejection_time: Duration = Duration::from_secs(1),
        /// It is never left out for longer.
        "maxEjectionTime" max_ejection_time: Duration = Duration::from_secs(30),
        /// How many of the upstream's endpoints may be out at once, in percent; one always may, and a
        /// single one never.
        "maxEjectionPercent" max_ejection_percent: Number<0, 100> = Number(70),
    }
}

section! {
    /// `errorRate:`
    RawErrorRate {
        /// Errors among a hundred requests.
        "percent" percent: Number<1, 100>; require,
        /// Fewer requests in an interval than this say nothing.
        "minRequests" min_requests: Number<1, 1_000_000> = Number(20),
        /// How long is counted before it starts anew.
        "interval" interval: Duration = Duration::from_secs(10),
    }
}

/// A section, or one word that stands for it.
#[derive(Debug, Clone)]
pub(in crate::model) enum WordOr<W, S> {
    Word(W),
    Section(S),
}

pub(in crate::model) type BalanceForm<'t> = WordOr<PolicyName, RawBalance<'t>>;
pub(in crate::model) type HashForm<'t> = WordOr<ClientAddress, RawHashOn<'t>>;

impl<'t, W: Decode<'t>, S: Decode<'t>> Decode<'t> for WordOr<W, S> {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        match reader.tree.value(at) {
            Value::Plain(_) | Value::Quoted(_) => W::decode(at, reader).map(Self::Word),
            _ => S::decode(at, reader).map(Self::Section),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![W::shape(), S::shape()])
    }
}
