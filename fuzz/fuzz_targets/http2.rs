//! Frames of HTTP/2, read along.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::http2::check(bytes));
