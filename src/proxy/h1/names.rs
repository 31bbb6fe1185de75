//! Field names that are often seen, found without an allocation and without lower-casing them.
//!
//! Only a shortcut: a name that is not here is read by `http`, to the same result.

use http::header::{self, HeaderName};

/// A name that is looked for first.
#[derive(Debug)]
pub(super) struct Known {
    /// As it is written most often; any other case is found too.
    text: &'static str,
    pub(super) name: HeaderName,
    pub(super) role: Role,
}

/// What a field means to the codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    Connection,
    Encoding,
    Expect,
    Host,
    Length,
    Upgrade,
}

/// The entry of a name, if it has one. Every name with a role has one.
pub(super) fn find(text: &[u8]) -> Option<&'static Known> {
    let entry = SLOTS.get(slot(text)).copied().unwrap_or_default();
    let known = KNOWN.get(usize::from(entry).wrapping_sub(1))?;
    let same = text == known.text.as_bytes() || text.eq_ignore_ascii_case(known.text.as_bytes());
    same.then_some(known)
}

impl Known {
    const fn new(text: &'static str, name: HeaderName, role: Role) -> Self {
        Self { text, name, role }
    }
}

/// Where each name stands in `KNOWN`, from one on; zero is nowhere. That no two names share a slot
/// is checked while this is compiled: a new name may ask for other factors in `slot`.
static SLOTS: [u8; 512] = build_slots();

#[expect(clippy::indexing_slicing, reason = "runs while compiling")]
const fn build_slots() -> [u8; 512] {
    let mut slots = [0; 512];
    let mut at = 0;
    while at < KNOWN.len() {
        let slot = slot(KNOWN[at].text.as_bytes());
        assert!(slots[slot] == 0, "two names in one slot");
        at += 1;
        slots[slot] = at as u8;
    }
    slots
}

/// A perfect hash of the names in `KNOWN`, from the length and three letters in any case.
#[expect(clippy::indexing_slicing, reason = "the length is checked before")]
const fn slot(text: &[u8]) -> usize {
    let length = text.len();
    if length < 2 {
        return 0;
    }
    let first = (text[0] | 0x20) as usize;
    let middle = (text[length / 2] | 0x20) as usize;
    let last_but_one = (text[length - 2] | 0x20) as usize;
    (length * 9 + first * 25 + middle * 15 + last_but_one * 21) % 512
}

static KNOWN: [Known; 98] = [
    Known::new("Accept", header::ACCEPT, Role::Plain),
    Known::new("Accept-Charset", header::ACCEPT_CHARSET, Role::Plain),
    Known::new("Accept-Encoding", header::ACCEPT_ENCODING, Role::Plain),
    Known::new("Accept-Language", header::ACCEPT_LANGUAGE, Role::Plain),
    Known::new("Accept-Ranges", header::ACCEPT_RANGES, Role::Plain),
    Known::new(
        "Access-Control-Allow-Credentials",
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        Role::Plain,
    ),
    Known::new(
        "Access-Control-Allow-Headers",
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        Role::Plain,
    ),
    Known::new(
        "Access-Control-Allow-Methods",
        header::ACCESS_CONTROL_ALLOW_METHODS,
        Role::Plain,
    ),
    Known::new(
        "Access-Control-Allow-Origin",
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        Role::Plain,
    ),
    Known::new(
        "Access-Control-Expose-Headers",
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        Role::Plain,
    ),
    Known::new(
        "Access-Control-Max-Age",
        header::ACCESS_CONTROL_MAX_AGE,
        Role::Plain,
    ),
    Known::new(
        "Access-Control-Request-Headers",
        header::ACCESS_CONTROL_REQUEST_HEADERS,
        Role::Plain,
    ),
    Known::new(
        "Access-Control-Request-Method",
        header::ACCESS_CONTROL_REQUEST_METHOD,
        Role::Plain,
    ),
    Known::new("Age", header::AGE, Role::Plain),
    Known::new("Allow", header::ALLOW, Role::Plain),
    Known::new("Alt-Svc", header::ALT_SVC, Role::Plain),
    Known::new("Authorization", header::AUTHORIZATION, Role::Plain),
    Known::new("Cache-Control", header::CACHE_CONTROL, Role::Plain),
    Known::new("Connection", header::CONNECTION, Role::Connection),
    Known::new(
        "Content-Disposition",
        header::CONTENT_DISPOSITION,
        Role::Plain,
    ),
    Known::new("Content-Encoding", header::CONTENT_ENCODING, Role::Plain),
    Known::new("Content-Language", header::CONTENT_LANGUAGE, Role::Plain),
    Known::new("Content-Length", header::CONTENT_LENGTH, Role::Length),
    Known::new("Content-Location", header::CONTENT_LOCATION, Role::Plain),
    Known::new("Content-Range", header::CONTENT_RANGE, Role::Plain),
    Known::new(
        "Content-Security-Policy",
        header::CONTENT_SECURITY_POLICY,
        Role::Plain,
    ),
    Known::new("Content-Type", header::CONTENT_TYPE, Role::Plain),
    Known::new("Cookie", header::COOKIE, Role::Plain),
    Known::new("DNT", header::DNT, Role::Plain),
    Known::new("Date", header::DATE, Role::Plain),
    Known::new("ETag", header::ETAG, Role::Plain),
    Known::new("Expect", header::EXPECT, Role::Expect),
    Known::new("Expires", header::EXPIRES, Role::Plain),
    Known::new("Forwarded", header::FORWARDED, Role::Plain),
    Known::new("From", header::FROM, Role::Plain),
    Known::new("Host", header::HOST, Role::Host),
    Known::new("If-Match", header::IF_MATCH, Role::Plain),
    Known::new("If-Modified-Since", header::IF_MODIFIED_SINCE, Role::Plain),
    Known::new("If-None-Match", header::IF_NONE_MATCH, Role::Plain),
    Known::new("If-Range", header::IF_RANGE, Role::Plain),
    Known::new(
        "If-Unmodified-Since",
        header::IF_UNMODIFIED_SINCE,
        Role::Plain,
    ),
    Known::new("Last-Modified", header::LAST_MODIFIED, Role::Plain),
    Known::new("Link", header::LINK, Role::Plain),
    Known::new("Location", header::LOCATION, Role::Plain),
    Known::new("Origin", header::ORIGIN, Role::Plain),
    Known::new("Pragma", header::PRAGMA, Role::Plain),
    Known::new("Range", header::RANGE, Role::Plain),
    Known::new("Referer", header::REFERER, Role::Plain),
    Known::new("Referrer-Policy", header::REFERRER_POLICY, Role::Plain),
    Known::new("Retry-After", header::RETRY_AFTER, Role::Plain),
    Known::new(
        "Sec-WebSocket-Accept",
        header::SEC_WEBSOCKET_ACCEPT,
        Role::Plain,
    ),
    Known::new(
        "Sec-WebSocket-Extensions",
        header::SEC_WEBSOCKET_EXTENSIONS,
        Role::Plain,
    ),
    Known::new("Sec-WebSocket-Key", header::SEC_WEBSOCKET_KEY, Role::Plain),
    Known::new(
        "Sec-WebSocket-Protocol",
        header::SEC_WEBSOCKET_PROTOCOL,
        Role::Plain,
    ),
    Known::new(
        "Sec-WebSocket-Version",
        header::SEC_WEBSOCKET_VERSION,
        Role::Plain,
    ),
    Known::new("Server", header::SERVER, Role::Plain),
    Known::new("Set-Cookie", header::SET_COOKIE, Role::Plain),
    Known::new(
        "Strict-Transport-Security",
        header::STRICT_TRANSPORT_SECURITY,
        Role::Plain,
    ),
    Known::new("TE", header::TE, Role::Plain),
    Known::new("Trailer", header::TRAILER, Role::Plain),
    Known::new(
        "Transfer-Encoding",
        header::TRANSFER_ENCODING,
        Role::Encoding,
    ),
    Known::new("Upgrade", header::UPGRADE, Role::Upgrade),
    Known::new(
        "Upgrade-Insecure-Requests",
        header::UPGRADE_INSECURE_REQUESTS,
        Role::Plain,
    ),
    Known::new("User-Agent", header::USER_AGENT, Role::Plain),
    Known::new("Vary", header::VARY, Role::Plain),
    Known::new("Via", header::VIA, Role::Plain),
    Known::new("Warning", header::WARNING, Role::Plain),
    Known::new("WWW-Authenticate", header::WWW_AUTHENTICATE, Role::Plain),
    Known::new(
        "X-Content-Type-Options",
        header::X_CONTENT_TYPE_OPTIONS,
        Role::Plain,
    ),
    Known::new("X-Frame-Options", header::X_FRAME_OPTIONS, Role::Plain),
    Known::new(
        "Keep-Alive",
        HeaderName::from_static("keep-alive"),
        Role::Plain,
    ),
    Known::new("Priority", HeaderName::from_static("priority"), Role::Plain),
    Known::new(
        "Proxy-Connection",
        HeaderName::from_static("proxy-connection"),
        Role::Plain,
    ),
    Known::new(
        "sec-ch-ua",
        HeaderName::from_static("sec-ch-ua"),
        Role::Plain,
    ),
    Known::new(
        "sec-ch-ua-mobile",
        HeaderName::from_static("sec-ch-ua-mobile"),
        Role::Plain,
    ),
    Known::new(
        "sec-ch-ua-platform",
        HeaderName::from_static("sec-ch-ua-platform"),
        Role::Plain,
    ),
    Known::new(
        "Sec-Fetch-Dest",
        HeaderName::from_static("sec-fetch-dest"),
        Role::Plain,
    ),
    Known::new(
        "Sec-Fetch-Mode",
        HeaderName::from_static("sec-fetch-mode"),
        Role::Plain,
    ),
    Known::new(
        "Sec-Fetch-Site",
        HeaderName::from_static("sec-fetch-site"),
        Role::Plain,
    ),
    Known::new(
        "Sec-Fetch-User",
        HeaderName::from_static("sec-fetch-user"),
        Role::Plain,
    ),
    Known::new(
        "traceparent",
        HeaderName::from_static("traceparent"),
        Role::Plain,
    ),
    Known::new(
        "tracestate",
        HeaderName::from_static("tracestate"),
        Role::Plain,
    ),
    Known::new(
        "X-B3-Sampled",
        HeaderName::from_static("x-b3-sampled"),
        Role::Plain,
    ),
    Known::new(
        "X-B3-SpanId",
        HeaderName::from_static("x-b3-spanid"),
        Role::Plain,
    ),
    Known::new(
        "X-B3-TraceId",
        HeaderName::from_static("x-b3-traceid"),
        Role::Plain,
    ),
    Known::new(
        "X-Forwarded-For",
        HeaderName::from_static("x-forwarded-for"),
        Role::Plain,
    ),
    Known::new(
        "X-Forwarded-Host",
        HeaderName::from_static("x-forwarded-host"),
        Role::Plain,
    ),
    Known::new(
        "X-Forwarded-Port",
        HeaderName::from_static("x-forwarded-port"),
        Role::Plain,
    ),
    Known::new(
        "X-Forwarded-Proto",
        HeaderName::from_static("x-forwarded-proto"),
        Role::Plain,
    ),
    Known::new(
        "X-Powered-By",
        HeaderName::from_static("x-powered-by"),
        Role::Plain,
    ),
    Known::new(
        "X-Real-IP",
        HeaderName::from_static("x-real-ip"),
        Role::Plain,
    ),
    Known::new(
        "X-Request-ID",
        HeaderName::from_static("x-request-id"),
        Role::Plain,
    ),
    Known::new(
        "X-Requested-With",
        HeaderName::from_static("x-requested-with"),
        Role::Plain,
    ),
    Known::new(
        "grpc-status",
        HeaderName::from_static("grpc-status"),
        Role::Plain,
    ),
    Known::new(
        "grpc-message",
        HeaderName::from_static("grpc-message"),
        Role::Plain,
    ),
    Known::new(
        "grpc-timeout",
        HeaderName::from_static("grpc-timeout"),
        Role::Plain,
    ),
    Known::new(
        "grpc-encoding",
        HeaderName::from_static("grpc-encoding"),
        Role::Plain,
    ),
    Known::new(
        "grpc-accept-encoding",
        HeaderName::from_static("grpc-accept-encoding"),
        Role::Plain,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case_and_is_what_http_reads() {
        for known in &KNOWN {
            assert_eq!(
                HeaderName::from_bytes(known.text.as_bytes()).unwrap(),
                known.name
            );
            for text in [
                known.text.to_owned(),
                known.text.to_lowercase(),
                known.text.to_uppercase(),
            ] {
                assert_eq!(
                    find(text.as_bytes()).map(|k| &k.name),
                    Some(&known.name),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn other_names_are_not_found() {
        for text in [
            "",
            "h",
            "ho",
            "hosu",
            "x-host",
            "host ",
            "Content_Length",
            "\u{212a}eep-alive",
        ] {
            assert!(find(text.as_bytes()).is_none(), "{text}");
        }
    }
}
