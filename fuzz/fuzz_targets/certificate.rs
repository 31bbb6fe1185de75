//! Certificates, keys and stapled responses, as DER and as PEM.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::certificate::check(bytes));
