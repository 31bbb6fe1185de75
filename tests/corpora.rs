//! The corpora of the fuzz targets that need more than the codec, replayed by the targets' own checks:
//! what a fuzzer once found is not found a second time. Those of HTTP/1 are replayed beside the codec
//! (`src/proxy/h1/tests/corpus.rs`). How to fuzz is in fuzz/README.md.

#![expect(unreachable_pub, reason = "the checks are modules of another crate")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a check that does not hold is to say so"
)]

use std::path::Path;

#[path = "../fuzz/src/certificate.rs"]
mod certificate;
#[path = "../fuzz/src/client_hello.rs"]
mod client_hello;
#[path = "../fuzz/src/config.rs"]
mod config;
#[path = "../fuzz/src/grpc.rs"]
mod grpc;
#[path = "../fuzz/src/http2.rs"]
mod http2;
#[path = "../fuzz/src/ipc.rs"]
mod ipc;
#[path = "../fuzz/src/pattern.rs"]
mod pattern;
#[path = "../fuzz/src/template.rs"]
mod template;

/// Runs a check over all files of a folder; there are some.
fn replay(folder: &str, least: usize, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).expect("the folder");
    let files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(
        files.len() >= least,
        "{} files in {}",
        files.len(),
        folder.display()
    );
    for file in files {
        // Shown when the check does not hold.
        println!("{}", file.display());
        check(&std::fs::read(&file).expect("a file"));
    }
}

#[test]
fn configurations() {
    replay("tests/fixtures/fuzz/config", 25, config::check);
    replay("config", 3, config::check);
}

#[test]
fn messages_between_the_processes() {
    replay("tests/fixtures/fuzz/ipc", 10, ipc::check);
}

#[test]
fn frames_of_http2() {
    replay("tests/fixtures/fuzz/http2", 8, http2::check);
}

#[test]
fn base64_and_timeouts_of_grpc() {
    replay("tests/fixtures/fuzz/grpc", 8, grpc::check);
}

#[test]
fn certificates_keys_and_stapled_responses() {
    replay("tests/fixtures/fuzz/certificate", 7, certificate::check);
}

#[test]
fn first_messages_of_tls_clients() {
    replay("tests/fixtures/fuzz/client_hello", 20, client_hello::check);
}

#[test]
fn header_templates() {
    replay("tests/fixtures/fuzz/template", 15, template::check);
}

#[test]
fn route_patterns() {
    replay("tests/fixtures/fuzz/pattern", 20, pattern::check);
}
