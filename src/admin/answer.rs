//! Answers of the admin port, by what they are written in.
//!
//! Not here: what is answered, and to whom (`routes`).

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};

pub(super) fn json(body: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => text(StatusCode::OK, body, "application/json"),
        Err(error) => unwritable(&error),
    }
}

/// For eyes that have just come from the file.
pub(super) fn yaml(body: &impl serde::Serialize) -> Response {
    match serde_yaml::to_string(body) {
        Ok(body) => text(StatusCode::OK, body, "application/yaml"),
        Err(error) => unwritable(&error),
    }
}

/// What there is to say cannot be written.
pub(super) fn unwritable(error: &impl std::fmt::Display) -> Response {
    text(
        StatusCode::INTERNAL_SERVER_ERROR,
        format!("{error}\n"),
        "text/plain",
    )
}

pub(super) fn text(
    code: StatusCode,
    body: impl Into<Body>,
    content_type: &'static str,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
