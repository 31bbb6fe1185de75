//! Who may change something: a caller on loopback, or one who shows the token. Everybody may read.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{AUTHORIZATION, ORIGIN};
use sha2::{Digest, Sha256};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Granted,
    /// Neither on loopback nor with a token.
    Unauthorized,
    /// A wrong token, or a browser's page that is not ours.
    Forbidden,
}

/// Loopback is trusted for its programs, not for web pages that a browser there happens to show:
/// a page's request carries `Origin` and has to bring the token.
pub(super) fn check(peer: IpAddr, headers: &HeaderMap, token: Option<&str>) -> Access {
    if let Some(shown) = headers.get(AUTHORIZATION) {
        let shown = bearer(shown.as_bytes());
        let right = shown
            .zip(token)
            .is_some_and(|(shown, token)| same(shown, token.as_bytes()));
        return if right {
            Access::Granted
        } else {
            Access::Forbidden
        };
    }
    match (
        peer.to_canonical().is_loopback(),
        headers.contains_key(ORIGIN),
    ) {
        (true, false) => Access::Granted,
        (true, true) => Access::Forbidden,
        (false, _) => Access::Unauthorized,
    }
}

/// The name of the scheme may be written in any case (RFC 9110, section 11.1).
fn bearer(shown: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer ";
    let (scheme, token) = shown.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(token)
}

/// In a time that does not tell how much of the token was right: digests of equal length are
/// compared to their end.
fn same(shown: &[u8], token: &[u8]) -> bool {
    let (shown, token) = (Sha256::digest(shown), Sha256::digest(token));
    shown
        .iter()
        .zip(token.iter())
        .fold(0, |differs, (a, b)| differs | (a ^ b))
        == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "::ffff:127.0.0.1";
    const OTHER: &str = "10.0.0.7";

    fn access(peer: &str, headers: &[(&'static str, &str)], token: Option<&str>) -> Access {
        let pairs = headers.iter().map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                value.parse().expect("a value"),
            )
        });
        check(peer.parse().expect("an address"), &pairs.collect(), token)
    }

    #[test]
    fn loopback_needs_no_token_and_others_do() {
        assert_eq!(access(LOOPBACK, &[], None), Access::Granted);
        assert_eq!(access(OTHER, &[], None), Access::Unauthorized);
        assert_eq!(access(OTHER, &[], Some("s3cret")), Access::Unauthorized);
    }

    #[test]
    fn the_right_token_opens_and_a_wrong_one_closes() {
        let bearer = |token| [("authorization", token)];
        assert_eq!(
            access(OTHER, &bearer("bearer s3cret"), Some("s3cret")),
            Access::Granted
        );
        assert_eq!(
            access(OTHER, &bearer("Bearer s3cret"), Some("s3cret")),
            Access::Granted
        );
        assert_eq!(
            access(OTHER, &bearer("Bearer s3cre"), Some("s3cret")),
            Access::Forbidden
        );
        assert_eq!(
            access(OTHER, &bearer("Basic s3cret"), Some("s3cret")),
            Access::Forbidden
        );
        assert_eq!(access(OTHER, &bearer("Bearer "), None), Access::Forbidden);
        assert_eq!(
            access(LOOPBACK, &bearer("Bearer wrong"), Some("s3cret")),
            Access::Forbidden
        );
    }

    #[test]
    fn a_web_page_on_the_operators_machine_is_not_the_operator() {
        let page = [("origin", "https://example.com")];
        assert_eq!(access(LOOPBACK, &page, None), Access::Forbidden);
    }
}
