//! Who the client is, and what the upstream is told about it: `X-Forwarded-For`, `-Proto`, `-Host`
//! and `X-Request-Id`, added to what a trusted proxy sent, put in place of what anybody else did.
//!
//! Not here: which peers are trusted (the snapshot), `Forwarded` (RFC 7239), which is passed on
//! from a trusted peer and never made, and how the fields are written (`told`).

use std::net::IpAddr;

use http::header::{HeaderName, HeaderValue};

use super::told::{self, RequestId, Told};
use super::{Values, values};
use crate::model::fields::{Fields, Role, Roles};
use crate::model::snapshot::Networks;

pub(super) const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CLAIMS: Roles = Roles::of(&[Role::Claim]);
/// A request id of more bytes than this is not taken over.
const LONGEST_ID: usize = 128;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Of the client: the peer, or whom a trusted peer speaks for.
    pub ip: IpAddr,
    pub peer: IpAddr,
    pub trust: Trust,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    Trusted,
    Untrusted,
}

/// The client is the first address from the right of `X-Forwarded-For` that is not itself a trusted
/// proxy: whatever stands left of it could have been written by anybody.
pub fn origin(peer: IpAddr, headers: &Fields, trusted: &Networks) -> Origin {
    let peer = peer.to_canonical();
    if trusted.is_empty() || !trusted.contains(peer) {
        return Origin {
            ip: peer,
            peer,
            trust: Trust::Untrusted,
        };
    }
    let mut ip = peer;
    for value in headers.get_all(&FOR).rev() {
        for item in value.rsplit(|byte| *byte == b',') {
            match parse(item) {
                Some(address) => ip = address,
                // Nothing that is left of it can be believed.
                None => {
                    return Origin {
                        ip,
                        peer,
                        trust: Trust::Trusted,
                    };
                }
            }
            if !trusted.contains(ip) {
                return Origin {
                    ip,
                    peer,
                    trust: Trust::Trusted,
                };
            }
        }
    }
    Origin {
        ip,
        peer,
        trust: Trust::Trusted,
    }
}

/// The id that a trusted peer gave the request. Whoever gets none makes one.
pub fn request_id(origin: &Origin, headers: &Fields) -> Option<RequestId> {
    let kept = match origin.trust {
        Trust::Trusted => headers.get(&REQUEST_ID),
        Trust::Untrusted => None,
    };
    let fits =
        |id: &&[u8]| (1..=LONGEST_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
    let id = HeaderValue::from_bytes(kept.filter(fits)?);
    id.ok().map(RequestId::Given)
}

/// What is to be said to the upstream of who asks, by which scheme and for which host. Of what the
/// client said of that nothing is left in the map where nobody trusts it; where it is trusted, the map
/// has all of it, and nothing is to be said beside it.
pub fn tell(headers: &mut Fields, told: Told, trust: Trust, values: &Values) -> Option<Told> {
    if trust == Trust::Untrusted {
        forget(headers);
        return Some(told);
    }
    let chain = continued(headers, told.peer, values);
    headers.insert(&FOR, &chain);
    headers.insert(&REQUEST_ID, &told.request_id.value(values));
    if !headers.contains(&PROTO) {
        headers.insert(&PROTO, &HeaderValue::from_static(told.scheme));
    }
    if !headers.contains(&HOST)
        && let Some(host) = told::host_value(headers)
    {
        headers.insert(&HOST, &host);
    }
    None
}

/// The chain of a trusted peer, and the peer.
fn continued(headers: &Fields, peer: IpAddr, values: &Values) -> HeaderValue {
    values.value(|out| {
        for value in headers.get_all(&FOR) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
        values::write_address(peer, out);
    })
}

/// What an untrusted peer says of where it comes from is not passed on, in any spelling of it.
fn forget(headers: &mut Fields) {
    if headers.may_have(CLAIMS) {
        headers.retain(|role, _| role != Role::Claim);
    }
}

/// An address, perhaps with a port, IPv6 perhaps in brackets.
fn parse(item: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(item.trim_ascii()).ok()?;
    let plain = || text.parse::<IpAddr>().ok();
    let with_port = || {
        text.parse::<std::net::SocketAddr>()
            .ok()
            .map(|address| address.ip())
    };
    let bracketed = || {
        text.strip_prefix('[')?
            .strip_suffix(']')?
            .parse::<IpAddr>()
            .ok()
    };
    plain()
        .or_else(with_port)
        .or_else(bracketed)
        .map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn trusted() -> Networks {
        Networks::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn ip_of(peer: &str, chain: &'static str) -> String {
        let headers = Fields::of(&[("x-forwarded-for", chain)]);
        origin(peer.parse().unwrap(), &headers, &trusted())
            .ip
            .to_string()
    }

    #[test]
    fn the_client_is_the_first_untrusted_from_the_right() {
        assert_eq!(
            ip_of("192.0.2.1", "1.1.1.1"),
            "192.0.2.1",
            "the peer is not trusted"
        );
        assert_eq!(ip_of("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2"), "1.1.1.1");
        assert_eq!(
            ip_of("10.0.0.1", "10.0.0.3, 10.0.0.2"),
            "10.0.0.3",
            "all are trusted"
        );
        assert_eq!(ip_of("10.0.0.1", "1.1.1.1, nonsense, 10.0.0.2"), "10.0.0.2");
        assert_eq!(ip_of("10.0.0.1", "1.1.1.1:4711"), "1.1.1.1");
        assert_eq!(ip_of("10.0.0.1", "[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(ip_of("10.0.0.1", "[2001:db8::1]"), "2001:db8::1");
        assert_eq!(ip_of("::ffff:10.0.0.1", "::ffff:1.1.1.1"), "1.1.1.1");
    }

    #[test]
    fn several_lines_are_one_chain() {
        let headers = Fields::of(&[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "10.0.0.2"),
        ]);
        let origin = origin("10.0.0.1".parse().unwrap(), &headers, &trusted());
        assert_eq!(origin.ip.to_string(), "1.1.1.1");
    }

    fn told(peer: &str, mut headers: Fields) -> Fields {
        let origin = origin(peer.parse().unwrap(), &headers, &trusted());
        let values = Values::default();
        let made = RequestId::Given(HeaderValue::from_static("made"));
        let told = Told {
            request_id: request_id(&origin, &headers).unwrap_or(made),
            peer: origin.peer,
            scheme: "http",
        };
        headers.insert(&header::HOST, &HeaderValue::from_static("example.com"));
        if let Some(told) = tell(&mut headers, told, origin.trust, &values) {
            assert_eq!(headers.len(), 1, "nothing is said twice");
            told.put_into(&mut headers, &values);
        }
        headers
    }

    fn claims() -> Fields {
        Fields::of(&[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "outside.example"),
            ("x-forwarded-port", "443"),
            ("forwarded", "for=1.1.1.1"),
            ("x-request-id", "abc"),
        ])
    }

    #[test]
    fn a_trusted_peer_is_added_to() {
        let told = told("10.0.0.1", claims());
        assert_eq!(told.text("x-forwarded-for"), "1.1.1.1, 10.0.0.1");
        assert_eq!(told.text("x-forwarded-proto"), "https");
        assert_eq!(told.text("x-forwarded-host"), "outside.example");
        assert_eq!(told.text("x-forwarded-port"), "443");
        assert_eq!(told.text("forwarded"), "for=1.1.1.1");
        assert_eq!(told.text("x-request-id"), "abc");
    }

    #[test]
    fn an_untrusted_peer_is_replaced() {
        let told = told("192.0.2.1", claims());
        assert_eq!(told.text("x-forwarded-for"), "192.0.2.1");
        assert_eq!(told.text("x-forwarded-proto"), "http");
        assert_eq!(told.text("x-forwarded-host"), "example.com");
        assert!(!told.has("x-forwarded-port"));
        assert!(!told.has("forwarded"));
        assert_eq!(told.text("x-request-id"), "made");
    }

    #[test]
    fn a_request_id_that_could_do_harm_is_not_kept() {
        let mut bad = claims();
        bad.insert(&REQUEST_ID, &HeaderValue::from_static("a b"));
        assert_eq!(told("10.0.0.1", bad).text("x-request-id"), "made");
    }
}
