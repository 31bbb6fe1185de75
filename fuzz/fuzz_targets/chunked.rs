//! Chunked bodies against httparse's reading of chunk sizes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::http1::check_chunked(bytes));
