//! Where a request that came by http belongs instead, and what clients are told of https.
//!
//! Not here: whether a request came by https; its connection and trusted proxies tell.

use http::uri::Authority;
use http::{HeaderName, HeaderValue};

use super::forwarded::{Origin, Trust};
use crate::model::config::{Hsts, RedirectHttps};
use crate::model::fields::Fields;

const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HTTPS_PORT: u16 = 443;

/// What a trusted proxy in front says of how the client came to it.
pub fn came_by_https(origin: &Origin, headers: &Fields) -> bool {
    let told = headers
        .get(&PROTO)
        .filter(|_| origin.trust == Trust::Trusted);
    told.is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"))
}

/// The same by https; `None` where the request does not say which host it is for.
pub fn location(
    redirect: RedirectHttps,
    authority: Option<&Authority>,
    path_and_query: &str,
) -> Option<HeaderValue> {
    let host = authority?.host();
    let location = match redirect.port {
        HTTPS_PORT => format!("https://{host}{path_and_query}"),
        port => format!("https://{host}:{port}{path_and_query}"),
    };
    HeaderValue::try_from(location).ok()
}

/// `Strict-Transport-Security`.
pub fn strict_transport(hsts: &Hsts) -> HeaderValue {
    let mut text = format!("max-age={}", hsts.max_age.as_secs());
    if hsts.include_subdomains {
        text.push_str("; includeSubDomains");
    }
    if hsts.preload {
        text.push_str("; preload");
    }
    // Digits and fixed words.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("max-age=0"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_same_is_asked_for_by_https() {
        let to = |port, authority: &'static str, path: &str| {
            let redirect = RedirectHttps { port, code: 308 };
            let authority = Authority::from_static(authority);
            location(redirect, Some(&authority), path).unwrap()
        };
        assert_eq!(to(443, "a.test:8080", "/b?c=d"), "https://a.test/b?c=d");
        assert_eq!(to(8443, "a.test", "/"), "https://a.test:8443/");
        assert_eq!(to(8443, "[::1]:80", "/"), "https://[::1]:8443/");
        let redirect = RedirectHttps {
            port: 443,
            code: 308,
        };
        assert_eq!(location(redirect, None, "/"), None);
    }

    #[test]
    fn the_header_has_its_parts() {
        let mut hsts = Hsts {
            max_age: Duration::from_secs(60),
            include_subdomains: false,
            preload: false,
        };
        assert_eq!(strict_transport(&hsts), "max-age=60");
        hsts.include_subdomains = true;
        hsts.preload = true;
        assert_eq!(
            strict_transport(&hsts),
            "max-age=60; includeSubDomains; preload"
        );
    }
}
