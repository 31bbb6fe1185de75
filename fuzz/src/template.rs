//! Header templates: whatever is written in one and whatever a request brings, what is rendered is a
//! header value, so that nobody can end a line in it and begin another.
//!
//! The input's first line is the template, the rest is what the request brings.

use bytes::BytesMut;
use http::{HeaderName, HeaderValue};
use sluice::model::fields::Fields;
use sluice::model::template::{Facts, TlsFacts, parse};

pub fn check(bytes: &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let (written, brought) = bytes.split_at(end);
    let (Ok(written), Ok(brought)) = (std::str::from_utf8(written), std::str::from_utf8(brought))
    else {
        return;
    };
    let mut secret = |_: &_| Ok(brought.to_owned());
    let Ok(parsed) = parse(written, &mut secret) else {
        return;
    };
    // The codec hands out nothing else than what a header or a target may contain.
    let brought: String = brought.chars().filter(char::is_ascii_graphic).collect();
    let mut headers = Fields::default();
    if let Ok(value) = HeaderValue::from_str(&brought) {
        headers.insert(&HeaderName::from_static("x-a"), &value);
    }
    let facts = Facts {
        ip: "192.0.2.1",
        host: &brought,
        scheme: "http",
        method: "GET",
        path: &brought,
        request_id: &brought,
        upstream: "up",
        tls: TlsFacts::default(),
        headers: &headers,
    };
    let mut out = BytesMut::new();
    parsed.template.render(&facts, &mut out);
    assert!(
        HeaderValue::from_bytes(&out).is_ok(),
        "{written:?} rendered {out:?}"
    );
    if parsed.template.is_constant() {
        let mut again = BytesMut::new();
        let nothing = Fields::default();
        let blank = Facts {
            ip: "",
            host: "",
            path: "",
            request_id: "",
            headers: &nothing,
            ..facts
        };
        parsed.template.render(&blank, &mut again);
        assert_eq!(again, out, "{written:?} is not as constant as it says");
    }
}
