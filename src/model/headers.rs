//! What becomes of the headers on the way through: what an upstream is sent in place of what the client
//! sent, and the other way round. The data plane and `sluice explain` both ask here.
//!
//! Not here: headers of framing and of the connection, which the codec alone writes.

use std::borrow::Cow;

use http::header::{HOST, VIA};
use http::{HeaderMap, HeaderValue, Method};

use super::config::HostHeader;
use super::snapshot::{Server, Snapshot, Upstream};
use super::template::{Facts, TlsFacts};

pub mod forwarded;
pub mod hop;
pub mod secure;
pub mod settings;
mod values;

pub use forwarded::Origin;
pub use values::Values;

const VIA_US: HeaderValue = HeaderValue::from_static("1.1 sluice");

/// A request on its way to an upstream.
#[derive(Debug)]
pub struct Passage<'a> {
    pub snapshot: &'a Snapshot,
    pub upstream: &'a Upstream,
    pub origin: Origin,
    pub scheme: &'static str,
    /// Whom the request is for, as its target or `Host` says.
    pub host: &'a str,
    pub method: &'a Method,
    pub path: &'a str,
    pub request_id: HeaderValue,
    pub tls: TlsFacts<'a>,
}

impl Passage<'_> {
    /// What the client sent becomes what the upstream is sent; all but `Host`, for which see `host`.
    pub fn rewrite(self, headers: &mut HeaderMap, values: &Values) {
        let settings = self.settings(headers, values);
        let client_host = headers.get(HOST).cloned();
        hop::strip(headers);
        let Self {
            snapshot,
            origin,
            scheme,
            request_id,
            ..
        } = self;
        forwarded::tell(
            headers,
            &origin,
            scheme,
            client_host.as_ref(),
            request_id,
            values,
        );
        settings::set(headers, snapshot, settings);
        add_via(headers, snapshot.via);
    }

    /// Made before anything of the headers is changed: templates speak of what the client sent.
    fn settings(&self, headers: &HeaderMap, values: &Values) -> Vec<HeaderValue> {
        if self.snapshot.headers.is_empty() {
            return Vec::new();
        }
        let ip = values.address(self.origin.ip);
        let facts = Facts {
            ip: ip.to_str().unwrap_or_default(),
            host: self.host,
            scheme: self.scheme,
            method: self.method.as_str(),
            path: self.path,
            request_id: self.request_id.to_str().unwrap_or_default(),
            upstream: &self.upstream.id,
            tls: self.tls,
            headers,
        };
        settings::render(self.snapshot, &facts, values)
    }
}

/// What the upstream sent becomes what the client is sent.
pub fn rewrite_response(headers: &mut HeaderMap, snapshot: &Snapshot) {
    hop::strip(headers);
    add_via(headers, snapshot.via);
}

/// The `Host` for a server, of a request that is rewritten.
pub fn host<'a>(
    upstream: &Upstream,
    server: &'a Server,
    headers: &'a HeaderMap,
) -> &'a HeaderValue {
    let client_host = match upstream.host_header {
        HostHeader::Preserve => headers.get(HOST).filter(|host| !host.is_empty()),
        HostHeader::Upstream => None,
    };
    client_host.unwrap_or(&server.authority)
}

/// The path and query that a server is asked for.
pub fn target<'a>(path_and_query: &'a str, server: &Server) -> Cow<'a, str> {
    if server.base_path.is_empty() {
        path_and_query.into()
    } else {
        format!("{}{path_and_query}", server.base_path).into()
    }
}

fn add_via(headers: &mut HeaderMap, via: bool) {
    if via {
        headers.append(VIA, VIA_US);
    }
}

#[cfg(test)]
mod tests;
