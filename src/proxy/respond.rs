//! The answers that the proxy gives by itself: a short text, and the reason code where the
//! configuration wants it shown.
//!
//! Not here: which reason becomes which status (`error`).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use super::body::Body;
use super::error::Reason;
use super::grpc;
use crate::model::grpc::Dialect;

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

/// An answer on its way to the client. It goes through many hands; large as it is, it stays where it is.
pub(super) type BoxedResponse = Box<Response<Body>>;

/// Sends the client elsewhere.
pub(super) fn redirect(code: u16, location: HeaderValue) -> BoxedResponse {
    let mut response = Box::new(Response::new(Body::Empty));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::PERMANENT_REDIRECT);
    response.headers_mut().insert(LOCATION, location);
    response
}

pub(super) fn refusal(reason: Reason, disclosure: Disclosure, dialect: Dialect) -> BoxedResponse {
    let text = Body::Full(Bytes::from_static(reason.text().as_bytes()));
    let mut response = Box::new(Response::new(text));
    *response.status_mut() = reason.status();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if reason.passes_soon() {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if disclosure == Disclosure::TextAndCode {
        headers.insert(ERROR, HeaderValue::from_static(reason.code()));
    }
    grpc::in_dialect(response, reason, dialect)
}
