//! HTTP/2 with clients, by the `h2` crate: it has the frames, the streams and their windows; here is
//! what a connection and its requests come to, within bounds of our own.
//!
//! Requests become those of `handler`, as they do from HTTP/1. Not here: HTTP/2 with upstreams
//! (`upstream`), and how a connection comes to speak it (`connection`).

mod answer;
mod begin;
mod exchange;
mod fields;
pub mod frames;
mod incoming;
mod inflow;
mod outflow;
mod pulse;
mod reply;
mod request;
mod session;
mod tunnel;
mod wire;

pub(super) use fields::{declare_length, map_of, trailers_of};
pub(super) use incoming::StreamBody;
pub(super) use inflow::{Inflow, SMALL_FRAMES};
pub(super) use outflow::{Outflow, Progress};
pub(super) use pulse::Pulse;
pub(super) use reply::Reply;
pub(super) use request::trim;
pub(super) use session::serve;

/// How the first bytes of a connection compare with what a client of HTTP/2 begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    Http2,
    /// So far, with more to come.
    Perhaps,
    Other,
}

pub(super) fn opening(bytes: &[u8]) -> Opening {
    let preface = frames::PREFACE;
    let common = preface.len().min(bytes.len());
    if bytes.get(..common) != preface.get(..common) {
        Opening::Other
    } else if common == preface.len() {
        Opening::Http2
    } else {
        Opening::Perhaps
    }
}
