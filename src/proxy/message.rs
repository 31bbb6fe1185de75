//! Requests and answers between the codecs: what came by any protocol, as rules, filters and upstreams
//! see it.
//!
//! Not here: framing and connections, which each codec sees to (`h1`, `http2`).

use http::{Method, StatusCode, Uri, Version};

use super::body::Body;
use crate::model::fields::Fields;

/// The head of a request; its body goes beside it.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) uri: Uri,
    /// That it came by.
    pub(super) version: Version,
    pub(super) headers: Fields,
}

/// An answer on its way to the client.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: Fields,
    pub(super) body: Body,
}

impl Response {
    /// In a box: it goes through many hands; large as it is, it stays where it is.
    pub(super) fn new(status: StatusCode, body: Body) -> Box<Self> {
        Box::new(Self {
            status,
            headers: Fields::default(),
            body,
        })
    }
}
