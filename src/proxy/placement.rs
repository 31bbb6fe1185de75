//! What a request is placed by, where its upstream places requests: a sticky cookie, or a hash of a
//! header, a cookie, a query parameter or the client's address.
//!
//! Not here: which endpoint that is (`model::balance::hash`).

use std::net::IpAddr;

use super::forward::Target;
use super::message::Request;
use super::visit::Visit;
use crate::model::balance::hash;
use crate::model::config::balance::{HashOn, Policy};
use crate::model::matcher;
use crate::model::snapshot::Upstream;

/// What of a request says where it is to go.
#[derive(Default)]
pub(super) struct Placement {
    pub(super) key: Option<u64>,
    /// The sticky cookie that it brings.
    pub(super) token: Option<Box<[u8]>>,
}

impl Placement {
    pub(super) fn of(head: &Request, target: &Target<'_>, visit: &Visit) -> Self {
        let sticky = target.members.sticky();
        let mut cookies = sticky.map(|sticky| matcher::cookies(&head.headers, sticky.cookie()));
        let token = cookies.as_mut().and_then(Iterator::next);
        Self {
            key: key(head, target, visit),
            token: token.map(Into::into),
        }
    }

    /// Of a connection of which nothing is known but where it comes from.
    pub(super) fn of_connection(peer: IpAddr, upstream: &Upstream) -> Self {
        let key = match hashed_on(upstream) {
            Some(HashOn::ClientAddress) => Some(address(peer)),
            _ => None,
        };
        Self { key, token: None }
    }
}

fn hashed_on(upstream: &Upstream) -> Option<&HashOn> {
    match &upstream.balancing.policy {
        Policy::IpHash => Some(&HashOn::ClientAddress),
        Policy::ConsistentHash(hash) => Some(&hash.on),
        _ => None,
    }
}

/// `None` where the policy does not ask for one, or the request has no such thing.
fn key(head: &Request, target: &Target<'_>, visit: &Visit) -> Option<u64> {
    match hashed_on(target.upstream)? {
        HashOn::ClientAddress => Some(address(visit.seen.client)),
        HashOn::Header(name) => {
            let value = head.headers.get_named(name)?;
            Some(hash::of(value))
        }
        HashOn::Cookie(name) => {
            let value = matcher::cookies(&head.headers, name).next()?;
            Some(hash::of(value))
        }
        HashOn::Query(name) => {
            let query = head.uri.query()?;
            let value = matcher::query_values(query, name.as_bytes()).next()?;
            Some(hash::of(&value))
        }
    }
}

/// The key of a client; whoever knows no more than that has this.
pub(super) fn address(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(ip) => hash::of(&ip.octets()),
        IpAddr::V6(ip) => hash::of(&ip.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_in_either_family() {
        let (v4, mapped) = (
            "10.0.0.1".parse().unwrap(),
            "::ffff:10.0.0.1".parse().unwrap(),
        );
        assert_eq!(address(v4), address(mapped));
    }
}
