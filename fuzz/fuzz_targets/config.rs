//! Configurations: YAML in, a configuration or errors out.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::config::check(bytes));
