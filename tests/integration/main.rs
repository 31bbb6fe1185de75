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

#[allow(
    dead_code,
    unused_imports,
    reason = "areas that are still to come use the rest"
)]
mod harness;
mod self_test;
