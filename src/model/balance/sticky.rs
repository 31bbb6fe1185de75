//! The cookie that keeps a client with its endpoint. It names the endpoint by a keyed hash, so that
//! nobody learns an address from it, and nobody can ask for an endpoint of their choice.
//!
//! Not here: whether the endpoint is well enough to be kept.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::model::config::balance::{SameSite, Sticky};

/// Bytes of the hash that are used: too many to find another text with the same.
const BYTES: usize = 16;

/// What stands for an endpoint of an upstream; the same wherever the secret is the same.
pub fn token(secret: &str, upstream: &str, address: &str) -> String {
    let mut hash = Sha256::new();
    for part in [secret, upstream, address] {
        // With its length, so that no two triples are one text.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut token = String::with_capacity(2 * BYTES);
    for byte in hash.finalize().iter().take(BYTES) {
        // Writing to memory does not fail.
        let _ = write!(token, "{byte:02x}");
    }
    token
}

/// What follows the value where the cookie is set.
pub fn attributes(sticky: &Sticky) -> String {
    let mut text = format!("; Path={}", sticky.path);
    if let Some(domain) = &sticky.domain {
        text.push_str("; Domain=");
        text.push_str(domain);
    }
    if let Some(ttl) = sticky.ttl {
        // A fraction of a second would be no time at all.
        let seconds = ttl.as_millis().div_ceil(1_000);
        let _ = write!(text, "; Max-Age={seconds}");
    }
    for (wanted, word) in [
        (sticky.secure, "; Secure"),
        (sticky.http_only, "; HttpOnly"),
    ] {
        text.push_str(if wanted { word } else { "" });
    }
    text.push_str(match sticky.same_site {
        SameSite::Strict => "; SameSite=Strict",
        SameSite::Lax => "; SameSite=Lax",
        SameSite::None => "; SameSite=None",
    });
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_token_depends_on_all_three_and_shows_none_of_them() {
        let of = |parts: [&str; 3]| token(parts[0], parts[1], parts[2]);
        let first = of(["key", "app", "10.0.0.1:80"]);
        assert_eq!(first, of(["key", "app", "10.0.0.1:80"]));
        assert_eq!(first.len(), 32);
        for other in [
            ["kez", "app", "10.0.0.1:80"],
            ["key", "apq", "10.0.0.1:80"],
            ["key", "app", "10.0.0.2:80"],
            ["keya", "pp", "10.0.0.1:80"],
        ] {
            assert_ne!(first, of(other), "{other:?}");
        }
    }

    #[test]
    fn attributes_are_written_as_browsers_read_them() {
        let plain = Sticky {
            cookie: "at".into(),
            ttl: None,
            path: "/".into(),
            domain: None,
            secure: false,
            http_only: true,
            same_site: SameSite::Lax,
            secret: None,
        };
        assert_eq!(attributes(&plain), "; Path=/; HttpOnly; SameSite=Lax");
        let all = Sticky {
            ttl: Some(Duration::from_millis(90_001)),
            path: "/shop".into(),
            domain: Some("example.com".into()),
            secure: true,
            http_only: false,
            same_site: SameSite::None,
            ..plain
        };
        let wanted = "; Path=/shop; Domain=example.com; Max-Age=91; Secure; SameSite=None";
        assert_eq!(attributes(&all), wanted);
    }
}
