//! The checks that the fuzz targets make. Those that need nothing but the program are also compiled
//! into its ordinary tests, where they run over their corpora and, some, over random messages.

pub mod certificate;
pub mod client_hello;
pub mod config;
pub mod grpc;
pub mod http1;
pub mod http2;
pub mod hyper_server;
pub mod ipc;
pub mod pattern;
pub mod proxy_protocol;
pub mod template;
