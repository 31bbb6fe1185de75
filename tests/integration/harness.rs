//! What every test stands on: the real program on free ports, upstream servers that record each byte
//! that reaches them, raw client sockets, and waiting for facts with a deadline.
//!
//! Not here: any knowledge of what the proxy should answer. That is the tests' own.

pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod dns;
pub(crate) mod foreign;
pub(crate) mod grpc;
pub(crate) mod http2;
pub(crate) mod kubelet;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod nginx;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod secure;
pub(crate) mod sluice;
pub(crate) mod upstream;
pub(crate) mod wait;
pub(crate) mod wire;

pub(crate) use client::{Client, get, request};
pub(crate) use sluice::{Launch, Sluice};
pub(crate) use upstream::Upstream;
pub(crate) use wait::{DEADLINE, Gate, eventually};
pub(crate) use wire::Response;
