//! The messages of tests/fixtures/http1, replayed. A file's name is its expectation:
//! `accept/FRAMING.what.http` comes out with that framing, `refuse/REASON.what.http` is refused for
//! that reason. Responses answer a GET, or the method that `what` begins with (`head-`, `connect-`).

use std::path::{Path, PathBuf};

use http::Method;

use super::super::*;
use super::stream::{End, Message, Stream, read_chunked, read_requests, read_responses};

struct Case {
    file: String,
    expected: String,
    what: String,
    bytes: Vec<u8>,
}

impl Case {
    fn method(&self) -> Method {
        match self.what.split('-').next() {
            Some("head") => Method::HEAD,
            Some("connect") => Method::CONNECT,
            _ => Method::GET,
        }
    }
}

/// The cases of a folder; there are some.
fn cases(folder: &str) -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/http1")
        .join(folder);
    let entries = std::fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(
        files.len() >= 15,
        "only {} files in {}",
        files.len(),
        root.display()
    );
    files.iter().map(|file| case(file)).collect()
}

fn case(path: &Path) -> Case {
    let file = path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut words = file.split('.');
    let (expected, what) = (
        words.next().unwrap().to_owned(),
        words.next().unwrap().to_owned(),
    );
    assert_eq!(words.next(), Some("http"), "{file}");
    Case {
        file,
        expected,
        what,
        bytes: std::fs::read(path).unwrap(),
    }
}

fn framing_word(framing: Framing) -> String {
    match framing {
        Framing::None => "none".into(),
        Framing::Length(length) => format!("length-{length}"),
        Framing::Chunked => "chunked".into(),
        Framing::UntilClose => "until-close".into(),
    }
}

/// All cases of a folder through `read`, whole and in pieces, with the same result.
fn replay(
    folder: &str,
    read: impl Fn(&Case, usize) -> Stream,
    check: impl Fn(&Case, &Stream) -> bool,
) {
    let mut failed = Vec::new();
    for case in cases(folder) {
        let whole = read(&case, usize::MAX);
        for piece in [1, 2, 3, 7, 64] {
            let pieces = read(&case, piece);
            assert_eq!(pieces, whole, "{folder}/{} in pieces of {piece}", case.file);
        }
        if !check(&case, &whole) {
            failed.push(format!("{}: {whole:?}", case.file));
        }
    }
    assert!(failed.is_empty(), "{folder}:\n{}", failed.join("\n"));
}

fn is_refused(case: &Case, stream: &Stream) -> bool {
    matches!(stream.end, End::Refused(reason) if reason == case.expected)
}

/// Every message came out whole, the last with the framing of the name.
fn is_accepted(case: &Case, stream: &Stream) -> bool {
    let last = stream.messages.last();
    let has_framing = |message: &Message| {
        let right = match message.framing {
            Framing::Length(length) => message.body.len() as u64 == length,
            _ => true,
        };
        right && framing_word(message.framing) == case.expected
    };
    stream.end == End::Whole && last.is_some_and(has_framing)
}

#[test]
fn good_requests_are_accepted() {
    replay(
        "requests/accept",
        |case, piece| read_requests(&case.bytes, piece),
        is_accepted,
    );
}

#[test]
fn hostile_requests_are_refused_for_their_reason() {
    replay(
        "requests/refuse",
        |case, piece| read_requests(&case.bytes, piece),
        is_refused,
    );
}

#[test]
fn good_responses_are_accepted() {
    let read = |case: &Case, piece| read_responses(&case.bytes, piece, case.method());
    replay("responses/accept", read, is_accepted);
}

#[test]
fn hostile_responses_are_refused_for_their_reason() {
    let read = |case: &Case, piece| read_responses(&case.bytes, piece, case.method());
    replay("responses/refuse", read, is_refused);
}

#[test]
fn good_chunked_bodies_are_accepted() {
    let check = |case: &Case, stream: &Stream| {
        stream.end == End::Whole && stream.messages[0].body.len().to_string() == case.expected
    };
    replay(
        "chunked/accept",
        |case, piece| read_chunked(&case.bytes, piece).0,
        check,
    );
}

#[test]
fn hostile_chunked_bodies_are_refused_for_their_reason() {
    replay(
        "chunked/refuse",
        |case, piece| read_chunked(&case.bytes, piece).0,
        is_refused,
    );
}

/// Whatever httparse refuses in a head that we take would be a hole in our reader.
#[test]
fn accepted_heads_are_also_valid_to_httparse() {
    for case in cases("requests/accept") {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let result = httparse::Request::new(&mut fields).parse(&case.bytes);
        assert!(
            result.is_ok_and(|status| status.is_complete()),
            "{}: {result:?}",
            case.file
        );
    }
    for case in cases("responses/accept") {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let result = httparse::Response::new(&mut fields).parse(&case.bytes);
        assert!(
            result.is_ok_and(|status| status.is_complete()),
            "{}: {result:?}",
            case.file
        );
    }
}

#[test]
fn what_follows_a_chunked_body_stays_in_the_buffer() {
    let (stream, rest) = read_chunked(b"1\r\nx\r\n0\r\n\r\nGET /", usize::MAX);
    assert_eq!((stream.end, rest.as_ref()), (End::Whole, &b"GET /"[..]));
}
