//! Request heads against httparse and against hyper's server.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    sluice_fuzz::http1::check_request(bytes);
    sluice_fuzz::hyper_server::check_request(bytes);
});
