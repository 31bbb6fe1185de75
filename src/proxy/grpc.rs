//! gRPC on its way through: a call's deadline, what the proxy itself has to say in gRPC's words, and
//! gRPC-Web in gRPC's place (`web`).
//!
//! Not here: messages, and retries by `grpc-status`.

pub(super) mod deadline;
pub(super) mod web;

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};

use super::body::Body;
use super::error::Reason;
use super::message::Response;
use crate::model::fields::Fields;
use crate::model::grpc::{Code, Dialect};

pub(super) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(super) const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// A refusal as its client understands it: of gRPC, 200 with the status in the head and no body.
pub(super) fn in_dialect(
    mut refusal: Box<Response>,
    reason: Reason,
    dialect: Dialect,
) -> Box<Response> {
    let content_type = match dialect {
        Dialect::Http => return refusal,
        Dialect::Grpc => "application/grpc",
        Dialect::GrpcWeb => "application/grpc-web+proto",
        Dialect::GrpcWebText => "application/grpc-web-text+proto",
    };
    refusal.status = StatusCode::OK;
    refusal.body = Body::Empty;
    let headers = &mut refusal.headers;
    headers.insert(&CONTENT_TYPE, &HeaderValue::from_static(content_type));
    tell(headers, reason);
    refusal
}

/// The end of a call that the proxy ends.
fn tell(headers: &mut Fields, reason: Reason) {
    headers.insert(&STATUS, &code(reason).value());
    headers.insert(&MESSAGE, &HeaderValue::from_static(reason.text()));
}

fn code(reason: Reason) -> Code {
    match reason {
        Reason::GrpcDeadline => Code::DeadlineExceeded,
        other => Code::of_status(other.status()),
    }
}
