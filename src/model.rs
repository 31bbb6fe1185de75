//! What a configuration means: pure, without IO and without a clock. Same input, same result, in
//! `check`, in the supervisor and in every worker.

pub mod balance;
pub mod config;
pub mod diagnostic;
pub mod matcher;
pub mod route;
pub mod secret;
pub mod snapshot;
pub mod template;

#[cfg(test)]
mod fixtures;
