//! The answers that the proxy gives by itself: a short text, and the reason code where the
//! configuration wants it shown.
//!
//! Not here: which reason becomes which status (`error`).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use super::body::Body;
use super::error::Reason;
use super::grpc;
use super::message::Response;
use crate::model::grpc::Dialect;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const ERROR: HeaderName = HeaderName::from_static("x-sluice-error");

/// Whether the client is shown the reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disclosure {
    Text,
    TextAndCode,
}

impl Disclosure {
    pub(super) fn by(error_header: bool) -> Self {
        if error_header {
            Self::TextAndCode
        } else {
            Self::Text
        }
    }
}

/// Sends the client elsewhere.
pub(super) fn redirect(code: u16, location: HeaderValue) -> Box<Response> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::PERMANENT_REDIRECT);
    let mut response = Response::new(status, Body::Empty);
    response.headers.insert(&LOCATION, &location);
    response
}

pub(super) fn refusal(reason: Reason, disclosure: Disclosure, dialect: Dialect) -> Box<Response> {
    let text = Body::Full(Bytes::from_static(reason.text().as_bytes()));
    let mut response = Response::new(reason.status(), text);
    let headers = &mut response.headers;
    headers.insert(&CONTENT_TYPE, &TEXT);
    if reason.passes_soon() {
        headers.insert(&RETRY_AFTER, &HeaderValue::from_static("1"));
    }
    if disclosure == Disclosure::TextAndCode {
        headers.insert(&ERROR, &HeaderValue::from_static(reason.code()));
    }
    grpc::in_dialect(response, reason, dialect)
}
