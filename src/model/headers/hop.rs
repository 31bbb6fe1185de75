//! Takes away the headers that belong to one connection, those that `Connection` nominates among
//! them; what matters to the next hop's trust or routing cannot be nominated away.
//!
//! Not here: the headers of framing, which the encoder alone writes.

use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, HeaderValue, TE};

use crate::model::fields::{Fields, Role, Roles};

/// What belongs to one connection and goes.
const GOES: Roles = Roles::of(&[Role::Connection, Role::OfConnection, Role::Upgrade]);
/// What has to be looked at.
const LOOKED_AT: Roles = Roles::of(&[
    Role::Connection,
    Role::OfConnection,
    Role::Upgrade,
    Role::Te,
]);
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

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
pub fn strip(headers: &mut Fields) {
    if !headers.may_have(LOOKED_AT) {
        return;
    }
    if headers.of_role(Role::Connection).is_some() {
        strip_nominated(headers);
    }
    if headers.of_role(Role::Te).is_some() {
        keep_trailers(headers);
    }
    headers.retain(|role, _| !GOES.has(role));
}

fn strip_nominated(headers: &mut Fields) {
    let nominations: Vec<Bytes> = headers
        .get_all(&CONNECTION)
        .filter(|value| !says_nothing_else(value))
        .map(Bytes::copy_from_slice)
        .collect();
    for nomination in &nominations {
        for name in nomination.split(|byte| *byte == b',') {
            let name = HeaderName::from_bytes(name.trim_ascii());
            if let Ok(name) = name
                && !is_protected(&name)
                && name != TE
            {
                headers.remove(&name);
            }
        }
    }
}

/// Names nothing but what goes anyway.
fn says_nothing_else(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"upgrade")
}

fn keep_trailers(headers: &mut Fields) {
    if says_trailers_alone(headers) {
        return;
    }
    let wants_trailers = headers.get_all(&TE).any(|value| {
        let mut codings = value.split(|byte| *byte == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    if wants_trailers {
        headers.insert(&TE, &TRAILERS);
    } else {
        headers.remove(&TE);
    }
}

fn says_trailers_alone(headers: &Fields) -> bool {
    let mut values = headers.get_all(&TE);
    values.next() == Some(TRAILERS.as_bytes()) && values.next().is_none()
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
        let mut headers = Fields::of(lines);
        strip(&mut headers);
        let mut left: Vec<String> = headers
            .iter()
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
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
        let mut headers = Fields::of(&[("TE", "gzip;q=0.5, Trailers")]);
        strip(&mut headers);
        assert_eq!(headers.text("te"), "trailers");
        for value in ["trailers", "gzip"] {
            headers.append(&TE, &HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let all: Vec<&[u8]> = headers.get_all(&TE).collect();
        assert_eq!(all, [b"trailers"]);
    }
}
