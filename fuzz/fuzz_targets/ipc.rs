//! Frames and messages between the processes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::ipc::check(bytes));
