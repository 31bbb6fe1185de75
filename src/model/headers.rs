//! What becomes of the headers on the way through: what an upstream is sent in place of what the client
//! sent, and the other way round. The data plane and `sluice explain` both ask here.
//!
//! Not here: headers of framing and of the connection, which the codec alone writes.

use std::borrow::Cow;

use http::Method;
use http::header::{HeaderValue, VIA};

use super::config::HostHeader;
use super::fields::{Fields, Role};
use super::snapshot::{Server, Snapshot, Upstream};
use super::template::{Facts, TlsFacts};

pub mod forwarded;
pub mod hop;
pub mod secure;
pub mod settings;
pub mod told;
mod values;

pub use forwarded::Origin;
pub use told::{RequestId, Told};
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
    pub request_id: RequestId,
    pub tls: TlsFacts<'a>,
}

impl Passage<'_> {
    /// What the client sent becomes what the upstream is sent; all but `Host`, for which see `host`,
    /// and but for what the upstream is told beside it.
    #[must_use]
    pub fn rewrite(self, headers: &mut Fields, values: &Values) -> Option<Told> {
        let settings = self.settings(headers, values);
        hop::strip(headers);
        let Self {
            snapshot,
            origin,
            scheme,
            request_id,
            ..
        } = self;
        let told = Told {
            request_id,
            peer: origin.peer,
            scheme,
        };
        let mut told = forwarded::tell(headers, told, origin.trust, values);
        if snapshot.sets_told
            && let Some(told) = told.take()
        {
            told.put_into(headers, values);
        }
        settings::set(headers, snapshot, settings);
        add_via(headers, snapshot.via);
        told
    }

    /// Made before anything of the headers is changed: templates speak of what the client sent.
    fn settings(&self, headers: &Fields, values: &Values) -> Vec<HeaderValue> {
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
            request_id: self.request_id.as_str(),
            upstream: &self.upstream.id,
            tls: self.tls,
            headers,
        };
        settings::render(self.snapshot, &facts, values)
    }
}

/// What the upstream sent becomes what the client is sent.
pub fn rewrite_response(headers: &mut Fields, snapshot: &Snapshot) {
    hop::strip(headers);
    add_via(headers, snapshot.via);
}

/// The `Host` for a server, of a request that is rewritten.
pub fn host<'a>(upstream: &Upstream, server: &'a Server, headers: &'a Fields) -> &'a [u8] {
    let client_host = match upstream.host_header {
        HostHeader::Preserve => headers.of_role(Role::Host).filter(|host| !host.is_empty()),
        HostHeader::Upstream => None,
    };
    client_host.unwrap_or(server.authority.as_bytes())
}

/// The path and query that a server is asked for.
pub fn target<'a>(path_and_query: &'a str, server: &Server) -> Cow<'a, str> {
    if server.base_path.is_empty() {
        path_and_query.into()
    } else {
        format!("{}{path_and_query}", server.base_path).into()
    }
}

fn add_via(headers: &mut Fields, via: bool) {
    if via {
        headers.append(&VIA, &VIA_US);
    }
}

#[cfg(test)]
mod tests;
