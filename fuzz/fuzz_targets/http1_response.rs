//! Response heads against httparse, as answers to GET, HEAD and CONNECT.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::http1::check_response(bytes));
