//! The way to an upstream's servers: where they are, connections that wait, new connections, and one
//! request with its response over one of them.
//!
//! Not here: which upstream a request goes to, and what is done with the response.

pub(super) mod account;
pub(super) mod addresses;
pub(super) mod admission;
pub(super) mod body;
pub(super) mod connect;
pub(super) mod endpoint;
pub(super) mod exchange;
pub(super) mod hold;
pub(super) mod http2;
mod idle;
mod lifetime;
pub(super) mod members;
pub(super) mod queue;
pub(super) mod replay;
pub(super) mod secure;
pub(super) mod upload;
