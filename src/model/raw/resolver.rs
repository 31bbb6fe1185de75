//! `resolver:` as it is written.

use std::time::Duration;

use crate::model::decode::{At, Number, section};

section! {
    /// `resolver:`
    RawResolver {
        /// A name is asked for again when its answer's TTL is over, but not sooner than this.
        "minTtl" min_ttl: Duration = Duration::from_secs(1),
        /// And not later than this.
        "maxTtl" max_ttl: Duration = Duration::from_secs(60),
        /// How long the last good answer is used on when name servers say that the name, or every
        /// address of it, is gone. Where they fail or are silent, it is used without an end.
        "holdNegative" hold_negative: Duration = Duration::from_secs(300),
        /// How long one name server may take to answer. Without it, as `resolvConf` says, else `5s`.
        "timeout" timeout: Duration,
        /// How often a question is sent before the lookup has failed. Without it, as `resolvConf`
        /// says, else 2.
        "attempts" attempts: Number<1, 10>,
        /// Which name servers to ask: an address, or an address with its port. Without it, those of
        /// `resolvConf`.
        "nameservers" nameservers: Vec<At<&'t str>>,
        /// The file with name servers, search domains and `ndots`.
        "resolvConf" resolv_conf: &'t str = "/etc/resolv.conf",
    }
}
