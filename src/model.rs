//! What a configuration means: pure, without IO and without a clock. Same input, same result, in
//! `check`, in the supervisor and in every worker.

pub mod balance;
pub mod change;
pub mod client_hello;
pub mod config;
mod decode;
pub mod diagnostic;
pub mod fields;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod grpc;
pub mod headers;
pub mod health;
mod load;
pub mod matcher;
mod parse;
pub mod proxy_protocol;
pub mod random;
mod raw;
pub mod resolved;
pub mod retry;
pub mod route;
mod schema;
pub mod secret;
pub mod snapshot;
pub mod template;
pub mod tls;
pub mod traffic;
mod yaml;

pub use load::{Address, Loaded, Today, load, load_with};
pub use schema::schema;
pub use yaml::MAX_BYTES;
