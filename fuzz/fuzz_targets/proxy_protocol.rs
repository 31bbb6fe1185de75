//! The first bytes of a connection from a load balancer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::proxy_protocol::check(bytes));
