//! What a request is placed by, where its upstream places requests: a hash of a header, a cookie, a
//! query parameter or the client's address.
//!
//! Not here: which endpoint that is (`model::balance::hash`).

use std::net::IpAddr;

use http::header::COOKIE;
use http::{HeaderMap, Request};

use super::forward::Target;
use super::visit::Visit;
use crate::model::balance::hash;
use crate::model::config::balance::{HashOn, Policy};

/// `None` where the policy does not ask for one, or the request has no such thing.
pub(super) fn key<B>(request: &Request<B>, target: &Target<'_>, visit: &Visit) -> Option<u64> {
    let on = match &target.upstream.balancing.policy {
        Policy::IpHash => &HashOn::ClientAddress,
        Policy::ConsistentHash(hash) => &hash.on,
        _ => return None,
    };
    match on {
        HashOn::ClientAddress => Some(address(visit.seen.client)),
        HashOn::Header(name) => {
            let value = request.headers().get(name)?;
            Some(hash::of(value.as_bytes()))
        }
        HashOn::Cookie(name) => Some(hash::of(cookie(request.headers(), name)?)),
        HashOn::Query(name) => {
            let value = parameter(request.uri().query()?, name)?;
            Some(hash::of(value.as_bytes()))
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

/// The first cookie of that name.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| {
        let value = pair.strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })
}

/// As it was written, escapes included.
fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "xid=1; id=two; id=three".parse().unwrap());
        headers.append(COOKIE, "late=4".parse().unwrap());
        assert_eq!(cookie(&headers, "id"), Some(&b"two"[..]));
        assert_eq!(cookie(&headers, "late"), Some(&b"4"[..]));
        assert_eq!(cookie(&headers, "i"), None);
    }

    #[test]
    fn a_parameter_is_found_by_its_whole_name() {
        assert_eq!(parameter("user=a&userid=b&x", "userid"), Some("b"));
        assert_eq!(parameter("user=a&userid=b&x", "x"), Some(""));
        assert_eq!(parameter("user=a", "us"), None);
    }

    #[test]
    fn an_address_is_the_same_in_either_family() {
        let (v4, mapped) = (
            "10.0.0.1".parse().unwrap(),
            "::ffff:10.0.0.1".parse().unwrap(),
        );
        assert_eq!(address(v4), address(mapped));
    }
}
