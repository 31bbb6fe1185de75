//! Takes away the headers that belong to one connection, those that `Connection` nominates among
//! them; what matters to the next hop's trust or routing cannot be nominated away.
//!
//! Not here: the headers of framing, which the encoder alone writes.

use http::HeaderMap;
use http::header::{
    CONNECTION, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, UPGRADE,
};

/// Goes with an `Upgrade` to h2c, which is not passed on (RFC 7540, 3.2.1).
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Never removed because a peer nominated them, by whole name.
const PROTECTED: [&str; 21] = [
    "authorization",
    "cache-control",
    "cookie",
    "date",
    "etag",
    "expect",
    "forwarded",
    "host",
    "location",
    "origin",
    "range",
    "referer",
    "set-cookie",
    "trailer",
    "traceparent",
    "tracestate",
    "vary",
    "via",
    "www-authenticate",
    "x-real-ip",
    "x-request-id",
];
/// The same, by how the name begins.
const PROTECTED_FAMILIES: [&str; 4] = ["x-forwarded-", "content-", "access-control-", "if-"];

/// `TE: trailers` alone survives, as it tells the next hop that trailers will reach the client.
///
/// One look at each name finds what there is: most messages have one such header or none, and to ask
/// the map for each of them costs more than all the rest that is done to its headers.
pub fn strip(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| must_go(name, headers)).cloned() {
        if name == CONNECTION {
            strip_nominated(headers);
        } else if name == TE {
            keep_trailers(headers);
        } else {
            headers.remove(name);
        }
    }
}

fn must_go(name: &HeaderName, headers: &HeaderMap) -> bool {
    match name.as_str().len() {
        2 => *name == TE && !says_trailers_alone(headers),
        7 => *name == UPGRADE,
        10 => *name == CONNECTION || *name == KEEP_ALIVE,
        14 => *name == HTTP2_SETTINGS,
        16 => *name == PROXY_CONNECTION,
        18 => *name == PROXY_AUTHENTICATE,
        19 => *name == PROXY_AUTHORIZATION,
        _ => false,
    }
}

fn says_trailers_alone(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TE).iter();
    values.next().is_some_and(|value| value == TRAILERS) && values.next().is_none()
}

fn strip_nominated(headers: &mut HeaderMap) {
    let nominations: Vec<HeaderValue> = headers
        .get_all(CONNECTION)
        .iter()
        .filter(|value| !says_nothing_else(value))
        .cloned()
        .collect();
    for nomination in &nominations {
        for name in nomination.as_bytes().split(|byte| *byte == b',') {
            let name = HeaderName::from_bytes(name.trim_ascii());
            if let Ok(name) = name
                && !is_protected(&name)
                && name != TE
            {
                headers.remove(name);
            }
        }
    }
    headers.remove(CONNECTION);
}

/// Names nothing but what goes anyway.
fn says_nothing_else(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"upgrade")
}

fn keep_trailers(headers: &mut HeaderMap) {
    let wants_trailers = headers.get_all(TE).iter().any(|value| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    if wants_trailers {
        headers.insert(TE, TRAILERS);
    } else {
        headers.remove(TE);
    }
}

fn is_protected(name: &HeaderName) -> bool {
    let name = name.as_str();
    PROTECTED.contains(&name)
        || PROTECTED_FAMILIES
            .iter()
            .any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let mut left: Vec<String> = headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect();
        left.sort();
        left
    }

    #[test]
    fn hop_by_hop_headers_go() {
        let left = stripped(&[
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("te", "gzip"),
            ("accept", "*/*"),
        ]);
        assert_eq!(left, ["accept"]);
    }

    #[test]
    fn nominated_headers_go_in_every_spelling() {
        let left = stripped(&[
            ("connection", "close, X-Internal ,x-other"),
            ("connection", "x-third"),
            ("x-internal", "1"),
            ("x-other", "2"),
            ("x-third", "3"),
            ("x-kept", "4"),
        ]);
        assert_eq!(left, ["x-kept"]);
    }

    #[test]
    fn a_nomination_does_not_take_what_others_rely_on() {
        let left = stripped(&[
            (
                "connection",
                "x-forwarded-for, X-Forwarded-Proto, forwarded, authorization, host, cookie, \
                 content-length, content-type, x-request-id, te",
            ),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=1.2.3.4"),
            ("authorization", "Bearer xyz"),
            ("host", "example.com"),
            ("cookie", "a=b"),
            ("content-length", "1"),
            ("content-type", "text/plain"),
            ("x-request-id", "1"),
            ("te", "trailers"),
        ]);
        assert_eq!(
            left,
            [
                "authorization",
                "content-length",
                "content-type",
                "cookie",
                "forwarded",
                "host",
                "te",
                "x-forwarded-for",
                "x-forwarded-proto",
                "x-request-id",
            ]
        );
    }

    #[test]
    fn te_keeps_trailers_alone() {
        let mut headers = HeaderMap::new();
        headers.insert(TE, HeaderValue::from_static("gzip;q=0.5, Trailers"));
        strip(&mut headers);
        assert_eq!(headers[TE], "trailers");
        for value in ["trailers", "gzip"] {
            headers.append(TE, HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let all: Vec<&HeaderValue> = headers.get_all(TE).iter().collect();
        assert_eq!(all, ["trailers"]);
    }
}
