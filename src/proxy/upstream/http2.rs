//! HTTP/2 with upstreams, by the `h2` crate: for each endpoint a few connections that are shared by all
//! requests there (`sessions`), each driven by a task of its own (`session`), and one request and its
//! answer over one of them (`call`, `body`).
//!
//! Not here: which endpoint, and whether to try again (`forward`).

pub(in crate::proxy) mod body;
pub(in crate::proxy) mod call;
mod session;
pub(in crate::proxy) mod sessions;
mod wire;

use h2::Reason as Code;

use crate::proxy::error::Reason;

/// What it means that a request got no answer. What the upstream says it has not looked at may be sent
/// again, whatever it is.
fn unanswered(error: &h2::Error) -> Reason {
    let refused = error.is_remote() && error.is_go_away();
    match error.reason() {
        Some(Code::REFUSED_STREAM) => Reason::UpstreamRefused,
        _ if refused => Reason::UpstreamRefused,
        _ if error.is_library() || is_flood(error) => Reason::UpstreamMalformed,
        _ => Reason::UpstreamClosed,
    }
}

fn is_flood(error: &h2::Error) -> bool {
    error.get_io().is_some_and(|io| io.kind() == wire::FLOOD)
}
