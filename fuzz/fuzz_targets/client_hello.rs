//! The first bytes of a connection that is routed by server name.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::client_hello::check(bytes));
