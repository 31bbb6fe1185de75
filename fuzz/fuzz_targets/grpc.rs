//! Base64 and timeouts of gRPC and gRPC-Web.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::grpc::check(bytes));
