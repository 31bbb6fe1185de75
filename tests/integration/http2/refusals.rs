//! What HTTP/2 forbids, and what we do not do over it.

use crate::harness::http2::{
    Answer, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, PREFACE,
    PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, block, frame, headers, request,
};
use crate::harness::{Gate, Response, Sluice, Upstream, get};

type Fields = Vec<(&'static str, &'static str)>;

#[track_caller]
fn proxy() -> (Sluice, Upstream) {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to_with(&upstream, "errorHeader: true");
    (sluice, upstream)
}

fn ask(sluice: &Sluice, fields: &[(&str, &str)]) -> Answer {
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, fields, END_STREAM));
    let answer = client.answer(1);
    assert_eq!(client.get(3, "/").status(), 200, "others are unharmed");
    answer
}

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = request("GET", "/");
    fields.extend(more);
    fields
}

fn without(name: &str) -> Fields {
    let mut fields = request("GET", "/");
    fields.retain(|(given, _)| *given != name);
    fields
}

#[test]
fn malformed_requests_are_reset_and_reach_nobody() {
    let (sluice, upstream) = proxy();
    let cases: Vec<Vec<(&str, &str)>> = vec![
        with(&[("connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "h2c")]),
        with(&[("keep-alive", "5")]),
        with(&[("proxy-connection", "close")]),
        with(&[("te", "gzip")]),
        with(&[("x-late", "1"), (":path", "/")]),
        with(&[(":unknown", "1")]),
        with(&[(":path", "/again")]),
        with(&[("content-length", "5")]),
        without(":method"),
        without(":scheme"),
        without(":path"),
        vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":path", ""),
            (":authority", "a"),
        ],
    ];
    for fields in &cases {
        let mut client = Http2::connect(sluice.address());
        client.send(headers(1, fields, END_STREAM));
        let refused = client.wait_for("a refusal", |frame| {
            [HEADERS, RST_STREAM, GOAWAY].contains(&frame.kind)
        });
        // Of the stream, or of the connection, where the rest of it could not be read.
        let code = match refused.kind {
            RST_STREAM => &refused.payload[..4],
            GOAWAY => &refused.payload[4..8],
            _ => panic!("{fields:?} is answered"),
        };
        assert_eq!(code, PROTOCOL_ERROR.to_be_bytes(), "{fields:?}");
    }
    assert!(upstream.requests().is_empty());
}

/// No text of a header at all: the whole connection is at fault.
#[test]
fn what_is_no_header_ends_the_connection() {
    let (sluice, upstream) = proxy();
    let cases = [
        ("X-Upper", "1"),
        ("x-nul", "a\0b"),
        ("x-line", "a\r\nx-injected: 1"),
        ("x y", "1"),
    ];
    for field in cases {
        let mut client = Http2::connect(sluice.address());
        client.send(headers(1, &with(&[field]), END_STREAM));
        client.wait_for_end();
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn what_http1_refuses_is_refused_the_same() {
    let (sluice, upstream) = proxy();
    let authority = |value: &'static str| {
        let mut fields = without(":authority");
        fields.push((":authority", value));
        fields
    };
    let path = |value: &'static str| {
        let mut fields = without(":path");
        fields.push((":path", value));
        fields
    };
    let cases: Vec<(Fields, u16, &str)> = vec![
        (with(&[("host", "other.example")]), 400, "Host"),
        (with(&[("host", "shop.example:81")]), 400, "Host"),
        (
            with(&[("host", "shop.example"), ("host", "shop.example")]),
            400,
            "Host",
        ),
        (without(":authority"), 400, "Host"),
        (authority("user@shop.example"), 400, "Host"),
        (authority("a/b"), 400, "Host"),
        (path("nothing"), 400, "target"),
        (path("*"), 400, "target"),
        (with(&[("expect", "the-unexpected")]), 417, "expectation"),
    ];
    for (fields, status, text) in &cases {
        let answer = ask(&sluice, fields);
        let told = answer.statuses == [*status] && answer.text().contains(text);
        assert!(
            told || answer.reset == Some(PROTOCOL_ERROR),
            "{fields:?}: {answer:?}"
        );
    }
    assert_eq!(upstream.requests().len(), cases.len(), "the others' alone");
}

/// 2^63, which is negative where lengths are counted in signed numbers.
#[test]
fn a_length_that_readers_differ_about_is_refused() {
    let (sluice, upstream) = proxy();
    let mut client = Http2::connect(sluice.address());
    let fields = with(&[("content-length", "9223372036854775808")]);
    client.send(headers(1, &fields, 0));
    let answer = client.answer(1);
    assert_eq!(answer.statuses, [400], "{answer:?}");
    assert!(answer.text().contains("Ambiguous"), "{answer:?}");
    assert!(upstream.requests().is_empty());
}

#[test]
fn host_may_stand_in_for_authority_and_agree_with_it() {
    let (sluice, upstream) = proxy();
    let mut alone = without(":authority");
    alone.push(("host", "shop.example"));
    assert_eq!(ask(&sluice, &alone).status(), 200);
    assert_eq!(
        ask(&sluice, &with(&[("host", "SHOP.example:80")])).status(),
        200
    );
    let forwarded = upstream.requests().into_iter().step_by(2);
    for request in forwarded {
        assert_eq!(
            request.head.header("x-forwarded-host"),
            Some("shop.example")
        );
    }
}

#[test]
fn connect_is_501() {
    let (sluice, upstream) = proxy();
    let fields = [(":method", "CONNECT"), (":authority", "db:5432")];
    assert_eq!(ask(&sluice, &fields).status(), 501);
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn limits_answer_as_over_http1() {
    let upstream = Upstream::saying("ok");
    let limits =
        "limits: {headerCount: 10, requestLineBytes: 200, bodyBytes: 10, headerBytes: 4KiB}";
    let sluice = Sluice::to_with(&upstream, limits);
    let many: Vec<String> = (0..11).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(ask(&sluice, &with(&many)).status(), 431);
    let long = format!("/{}", "a".repeat(300));
    assert_eq!(ask(&sluice, &request("GET", &long)).status(), 414);
    let large = "a".repeat(5_000);
    assert_eq!(ask(&sluice, &with(&[("x-large", &large)])).status(), 431);
    let mut declared = Http2::connect(sluice.address());
    declared.send(headers(1, &with(&[("content-length", "11")]), 0));
    assert_eq!(declared.answer(1).status(), 413);
    let mut growing = Http2::connect(sluice.address());
    growing.send(headers(1, &request("POST", "/"), 0));
    growing.send(frame(DATA, 0, 1, b"0123456"));
    growing.send(frame(DATA, 0, 1, b"0123456"));
    assert_eq!(growing.answer(1).status(), 413);
    let whole = upstream.requests();
    assert!(
        whole.iter().all(|request| request.body.is_empty()),
        "{whole:?}"
    );
}

#[test]
fn streams_over_the_bound_are_refused_so_that_they_can_be_repeated() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        while exchange.request()?.is_some() {
            inside.pass();
            exchange.write(crate::harness::upstream::ok("ok"))?;
        }
        Ok(())
    });
    let sluice = Sluice::to_with(&upstream, "http2: {maxConcurrentStreams: 2}");
    let mut client = Http2::connect(sluice.address());
    // The bound holds from the moment that the client has agreed to it.
    let settings = client.wait_for("settings", |frame| frame.kind == 4);
    assert!(
        settings
            .payload
            .windows(6)
            .any(|one| one == [0, 3, 0, 0, 0, 2])
    );
    client.send(frame(4, 1, 0, &[]));
    for stream in [1, 3, 5] {
        client.send(headers(stream, &request("GET", "/"), END_STREAM));
    }
    assert_eq!(client.answer(5).reset, Some(REFUSED_STREAM));
    gate.open();
    assert_eq!(client.answer(1).status(), 200);
    assert_eq!(client.get(7, "/").status(), 200);
    assert_eq!(upstream.wait_for_requests(3).len(), 3);
}

#[test]
fn an_upgrade_to_h2c_is_not_taken() {
    let (sluice, upstream) = proxy();
    let asked = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                 HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let response: Response = sluice.request(asked);
    assert_eq!(response.status, 200);
    let head = upstream.the_request().head;
    assert!(head.all("upgrade").is_empty() && head.all("http2-settings").is_empty());
}

#[test]
fn the_preface_is_known_wherever_it_is_cut_and_only_at_the_start() {
    let (sluice, _upstream) = proxy();
    for cut in [1, 3, 16, 23] {
        let mut client = Http2::silent(sluice.address());
        client.send(&PREFACE[..cut]);
        client.send([&PREFACE[cut..], &frame(4, 0, 0, &[])].concat());
        assert_eq!(client.get(1, "/").status(), 200, "cut at {cut}");
    }
    let mut later = sluice.connect();
    later.get("/").with_status(200);
    later.send(PREFACE);
    later.response("PRI").with_status(505);
    let mut other = sluice.connect();
    other.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    other.response("PRI").with_status(505);
    get(sluice.address(), "/").with_status(200);
}

#[test]
fn a_header_section_in_pieces_is_one() {
    let (sluice, upstream) = proxy();
    let mut client = Http2::connect(sluice.address());
    let block = block(&with(&[("x-a", "1"), ("x-b", "2")]));
    let (first, rest) = block.split_at(20);
    client.send(frame(HEADERS, END_STREAM, 1, first));
    client.send(frame(CONTINUATION, 0, 1, &rest[..5]));
    client.send(frame(CONTINUATION, END_HEADERS, 1, &rest[5..]));
    assert_eq!(client.answer(1).status(), 200);
    assert_eq!(upstream.the_request().head.header("x-b"), Some("2"));
}

/// What a connection weighs is a matter of memory, not of `limits.connections`.
#[test]
fn a_connection_at_the_bound_may_have_many_requests_at_once() {
    let gate = Gate::closed();
    let upstream = Upstream::behind_gate(&gate, "served");
    let sluice = Sluice::to_with(&upstream, "limits: {connections: 1}");
    let mut client = Http2::connect(sluice.address());
    for number in 0..40 {
        client.send(headers(2 * number + 1, &request("GET", "/"), END_STREAM));
    }
    upstream.wait_for_requests(40);
    gate.open();
    for _ in 0..40 {
        let seen = client.wait_for("an answer, or a farewell", |frame| {
            frame.kind == HEADERS || frame.kind == GOAWAY
        });
        assert_eq!(seen.kind, HEADERS, "told to go");
        assert_eq!(seen.status(), 200);
    }
}
