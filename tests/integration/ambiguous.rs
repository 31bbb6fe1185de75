//! Requests that two readers could read differently: each is refused with 400 and not one byte of it
//! reaches an upstream, because what the upstream takes for the next request would be the attacker's.

use crate::harness::{Sluice, Upstream};

/// The start of a request that is fine so far.
const START: &str = "POST / HTTP/1.1\r\nHost: x\r\n";

/// What stands behind each of them: a request of its own, for a reader who stops early.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// Asserts that each of these is refused and its connection ended, and that no upstream heard of it.
#[track_caller]
fn assert_refused(statuses: &[u16], requests: &[(&str, String)]) {
    assert!(!requests.is_empty());
    let upstream = Upstream::saying("served");
    let sluice = Sluice::to(&upstream);
    for (what, bytes) in requests {
        let mut client = sluice.connect();
        client.send(bytes);
        // Unsolicited, for a proxy that still waits: what is malformed must not depend on it.
        let _closed = client.offer(SMUGGLED);
        let response = client.try_response("POST");
        let response = response.unwrap_or_else(|error| panic!("{what}: {error}"));
        let told = (&response.head.raw, response.text());
        assert!(statuses.contains(&response.status), "{what}: {told:?}");
        assert_eq!(
            response.header("connection"),
            Some("close"),
            "{what}: {told:?}"
        );
        // Reset is as good: bytes of ours were left unread.
        client.assert_ended();
    }
    let seen: Vec<String> = upstream
        .requests()
        .into_iter()
        .map(|seen| seen.head.raw)
        .collect();
    assert!(seen.is_empty(), "what reached the upstream: {seen:#?}");
}

/// `START` with these lines, the end of the head, and a body.
fn post(lines: &str, body: &str) -> String {
    format!("{START}{lines}\r\n{body}")
}

#[test]
fn two_framings_are_refused() {
    let te = "Transfer-Encoding: chunked\r\n";
    assert_refused(
        &[400],
        &[
            (
                "length, then coding",
                post(&format!("Content-Length: 5\r\n{te}"), "0\r\n\r\n"),
            ),
            (
                "coding, then length",
                post(&format!("{te}Content-Length: 5\r\n"), "0\r\n\r\n"),
            ),
            (
                "differing lengths",
                post("Content-Length: 5\r\nContent-Length: 6\r\n", "abcdef"),
            ),
            (
                "differing lengths in one line",
                post("Content-Length: 5, 6\r\n", "abcdef"),
            ),
            (
                "HTTP/1.0 with a coding",
                format!(
                    "POST / HTTP/1.0\r\nHost: x\r\n{te}Connection: keep-alive\r\n\r\n0\r\n\r\n"
                ),
            ),
        ],
    );
}

#[test]
fn lengths_that_are_no_numbers_are_refused() {
    let bad = [
        "+5",
        "-5",
        "0x5",
        "5 5",
        "5a",
        "",
        "5.0",
        "99999999999999999999999",
        "\u{665}",
        "5;",
    ];
    let requests = bad.map(|length| {
        (
            length,
            post(&format!("Content-Length: {length}\r\n"), "abcde"),
        )
    });
    assert_refused(&[400], &requests);
}

#[test]
fn codings_in_disguise_are_refused() {
    let disguised = [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;x=y",
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunk",
        "Transfer-Encoding: x\r\n chunked",
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding\t: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\0",
        "Transfer_Encoding : chunked",
    ];
    let requests =
        disguised.map(|line| (line, post(&format!("{line}\r\nX-Last: 1\r\n"), "0\r\n\r\n")));
    assert_refused(&[400, 501], &requests);
}

#[test]
fn heads_that_are_not_lines_of_headers_are_refused() {
    let get = |rest: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{rest}");
    assert_refused(
        &[400],
        &[
            (
                "bare LF throughout",
                "GET / HTTP/1.1\nHost: x\n\n".to_owned(),
            ),
            (
                "bare LF after the request line",
                "GET / HTTP/1.1\nHost: x\r\n\r\n".to_owned(),
            ),
            ("bare LF after a header", get("X-A: 1\nX-B: 2\r\n\r\n")),
            ("bare LF at the end", get("X-A: 1\r\n\n")),
            ("bare CR in a value", get("X-A: 1\r2\r\n\r\n")),
            ("obs-fold with a space", get("X-A: 1\r\n 2\r\n\r\n")),
            ("obs-fold with a tab", get("X-A: 1\r\n\t2\r\n\r\n")),
            (
                "obs-fold in the first line",
                "GET / HTTP/1.1\r\n Host: x\r\n\r\n".to_owned(),
            ),
            ("a space before the colon", get("X-A : 1\r\n\r\n")),
            ("a tab before the colon", get("X-A\t: 1\r\n\r\n")),
            ("NUL in a value", get("X-A: 1\x002\r\n\r\n")),
            ("NUL in a name", get("X\0A: 1\r\n\r\n")),
            ("a control character in a value", get("X-A: \x01\r\n\r\n")),
            ("a header without a colon", get("X-A\r\n\r\n")),
            ("a header without a name", get(": 1\r\n\r\n")),
            ("a space in a name", get("X A: 1\r\n\r\n")),
            ("a name that is not ASCII", get("X-\u{e4}: 1\r\n\r\n")),
        ],
    );
}

#[test]
fn request_lines_that_can_be_read_twice_are_refused() {
    let line = |line: &str| format!("{line}\r\nHost: x\r\n\r\n");
    assert_refused(
        &[400, 505],
        &[
            ("two spaces", line("GET  / HTTP/1.1")),
            ("a tab", line("GET\t/ HTTP/1.1")),
            ("a space in the target", line("GET /a b HTTP/1.1")),
            ("a space at the end", line("GET / HTTP/1.1 ")),
            ("a space at the start", line(" GET / HTTP/1.1")),
            ("no version", line("GET /")),
            ("a version in lower case", line("GET / http/1.1")),
            ("a version with more digits", line("GET / HTTP/1.10")),
            ("version 2 in clear", line("GET / HTTP/2.0")),
            ("version 0.9", line("GET / HTTP/0.9")),
            ("NUL in the target", line("GET /\0 HTTP/1.1")),
            ("CR in the target", line("GET /\rx HTTP/1.1")),
            ("no slash", line("GET x HTTP/1.1")),
            ("a fragment", line("GET /#x HTTP/1.1")),
            ("no method", line("/ HTTP/1.1")),
            ("brackets in the method", line("G(T / HTTP/1.1")),
        ],
    );
}

#[test]
fn a_host_that_is_missing_double_or_contradicted_is_refused() {
    let get = |rest: &str| format!("GET / HTTP/1.1\r\n{rest}\r\n");
    assert_refused(
        &[400],
        &[
            ("none", get("")),
            ("two", get("Host: x\r\nHost: y\r\n")),
            ("two alike", get("Host: x\r\nHost: x\r\n")),
            ("two names in one", get("Host: x, y\r\n")),
            ("a space in it", get("Host: x y\r\n")),
            ("a path in it", get("Host: x/y\r\n")),
            ("a user in it", get("Host: a@x\r\n")),
            ("a port that is none", get("Host: x:abc\r\n")),
            ("a port too large", get("Host: x:99999\r\n")),
            (
                "contradicted by the target",
                "GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            ),
            (
                "a target with a user",
                "GET http://a@x/ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            ),
            (
                "a target of another scheme",
                "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            ),
        ],
    );
}

#[test]
fn bad_chunks_are_refused() {
    let bad = [
        ("a size that is no number", "x\r\nabc\r\n0\r\n\r\n"),
        ("a negative size", "-1\r\nabc\r\n0\r\n\r\n"),
        ("a signed size", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a prefixed size", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("a space before the size", " 3\r\nabc\r\n0\r\n\r\n"),
        (
            "a size that overflows",
            "10000000000000003\r\nabc\r\n0\r\n\r\n",
        ),
        ("bare LF after the size", "3\nabc\r\n0\r\n\r\n"),
        ("bare LF after the data", "3\r\nabc\n0\r\n\r\n"),
        ("more data than announced", "3\r\nabcd\r\n0\r\n\r\n"),
        ("bare LF in an extension", "3;x\ny\r\nabc\r\n0\r\n\r\n"),
        ("NUL in an extension", "3;x\0\r\nabc\r\n0\r\n\r\n"),
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
        ("bare LF at the end", "3\r\nabc\r\n0\r\n\n"),
        (
            "a trailer with a space before the colon",
            "3\r\nabc\r\n0\r\nX : y\r\n\r\n",
        ),
    ];
    let upstream = Upstream::saying("served");
    let sluice = Sluice::to(&upstream);
    for (what, body) in bad {
        let mut client = sluice.connect();
        client.send(post("Transfer-Encoding: chunked\r\n", body));
        let _closed = client.offer(SMUGGLED);
        let response = client.try_response("POST");
        let response = response.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(response.status, 400, "{what}: {}", response.head.raw);
        client.assert_ended();
    }
    // The heads were fine and may have been sent on; what may not is a whole body, or what follows.
    for request in upstream.requests() {
        assert_eq!(request.head.target(), "/", "{request:#?}");
        assert!(
            request.body.is_empty(),
            "a whole body reached the upstream: {request:#?}"
        );
    }
}

#[test]
fn requests_that_are_only_unusual_are_served() {
    let upstream = Upstream::saying("served");
    let sluice = Sluice::to(&upstream);
    let unusual = [
        (
            "an empty line before",
            "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        ),
        (
            "zeros before a length",
            post("Content-Length: 003\r\n", "abc"),
        ),
        (
            "a coding in capitals",
            post("Transfer-Encoding: Chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ),
        (
            "spaces around a value",
            post("Content-Length: \t 3 \t\r\n", "abc"),
        ),
        (
            "zeros before a chunk size",
            post(
                "Transfer-Encoding: chunked\r\n",
                "0003\r\nabc\r\n00\r\n\r\n",
            ),
        ),
        (
            "an extension of a chunk",
            post(
                "Transfer-Encoding: chunked\r\n",
                "3;a=\"b\"\r\nabc\r\n0\r\n\r\n",
            ),
        ),
        (
            "an IPv6 host",
            "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n".to_owned(),
        ),
        (
            "a method nobody knows",
            "BREW / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        ),
        (
            "OPTIONS *",
            "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        ),
    ];
    for (what, bytes) in unusual {
        let mut client = sluice.connect();
        client.send(&bytes);
        let response = client.response("GET");
        // `*` is not a path, so no rule need take it; all that counts is that it is not malformed.
        assert_ne!(response.status, 400, "{what}: {}", response.head.raw);
    }
    let bodies = upstream.requests();
    let right = bodies
        .iter()
        .filter(|r| r.head.method() == "POST")
        .all(|r| r.body == b"abc");
    assert!(right, "{bodies:#?}");
}

#[test]
fn what_is_pipelined_behind_a_refused_request_is_not_served() {
    let upstream = Upstream::saying("served");
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.send(format!(
        "GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n{SMUGGLED}"
    ));
    client.response("GET").with_status(200);
    client.response("GET").with_status(400);
    client.assert_ended();
    assert_eq!(upstream.the_request().head.target(), "/first");
}
