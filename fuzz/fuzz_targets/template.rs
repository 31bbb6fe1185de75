//! Header templates, and what requests bring to them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::template::check(bytes));
