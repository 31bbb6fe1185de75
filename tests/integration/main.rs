//! The program from outside: the real binary between real sockets, one module for each thing it
//! promises. `harness` is what they stand on.

// Helpers of tests fail by panicking, like the tests themselves; clippy's own exception ends at
// functions that carry #[test].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is its job"
)]

mod ambiguous;
mod balancing;
mod bodies;
mod circuit_breaker;
mod commands;
mod corpus;
mod documents;
mod echo;
mod exchanges;
mod failures;
mod foreign_clients;
mod grpc;
mod harness;
mod headers;
mod health_checks;
mod http2;
mod limits;
mod listeners;
mod memory;
mod mirror;
mod names;
mod observe;
mod pod_end;
mod pod_volume;
mod processes;
mod proxy_protocol;
mod reload;
mod retries;
mod routing;
mod self_test;
mod sticky;
mod tcp;
mod timeouts;
mod tls;
mod unix_sockets;
mod upstream_connections;
mod websocket;
