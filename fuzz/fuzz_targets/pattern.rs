//! Route patterns against the regex crate.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::pattern::check(bytes));
