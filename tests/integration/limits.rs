//! The bounds on what a client may ask: each answers with its status and its reason, and none is
//! ever hit by an ordinary client.

use crate::harness::client::End;
use crate::harness::{Client, Gate, Response, Sluice, Upstream, eventually};

/// A proxy with these limits, and the upstream that should see nothing beyond them.
#[track_caller]
fn limited(limits: &str) -> (Sluice, Upstream) {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to_with(
        &upstream,
        &format!("errorHeader: true\nlimits: {{{limits}}}"),
    );
    (sluice, upstream)
}

#[track_caller]
fn assert_refused(response: &Response, status: u16, reason: &str) {
    assert_eq!(
        response.status,
        status,
        "{}{}",
        response.head.raw,
        response.text()
    );
    assert_eq!(response.header("x-sluice-error"), Some(reason));
}

#[test]
fn a_large_but_ordinary_request_is_served_with_the_defaults() {
    let (sluice, upstream) = limited("");
    let cookie = "c".repeat(16_000);
    let many: String = (0..80).map(|n| format!("X-H{n}: {n}\r\n")).collect();
    let target = format!("/search?q={}", "q".repeat(4000));
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n{many}\r\n");
    sluice.request(head).with_status(200);
    assert_eq!(
        upstream.the_request().head.header("cookie"),
        Some(cookie.as_str())
    );
}

#[test]
fn headers_that_are_too_large_are_431() {
    let (sluice, upstream) = limited("");
    let mut client = sluice.connect();
    // It may be answered before all of it has been sent.
    let _cut = client.offer(format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX-A: {}\r\n\r\n",
        "a".repeat(40_000)
    ));
    assert_refused(&client.response("GET"), 431, "headers_too_large");
    assert!(upstream.requests().is_empty());
}

#[test]
fn too_many_headers_are_431() {
    let (sluice, upstream) = limited("");
    let many: String = (0..101).map(|n| format!("X-H{n}: {n}\r\n")).collect();
    let response = sluice.request(format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"));
    assert_refused(&response, 431, "too_many_headers");
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_request_line_that_is_too_long_is_414() {
    let (sluice, upstream) = limited("requestLineBytes: 200");
    let target = format!("/{}", "a".repeat(300));
    let response = sluice.request(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_refused(&response, 414, "uri_too_long");
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_head_that_does_not_arrive_in_time_is_408() {
    let (sluice, upstream) = limited("headerTimeout: 1s");
    let mut client = sluice.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    assert_refused(&client.response("GET"), 408, "header_timeout");
    client.assert_ended();
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_connection_without_a_request_is_closed_without_a_word() {
    let (sluice, _upstream) = limited("idleTimeout: 2s, headerTimeout: 2s");
    let mut never = sluice.connect();
    assert_eq!(never.assert_ended(), End::Closed);
    let mut once = sluice.connect();
    once.get("/").with_status(200);
    assert_eq!(once.assert_ended(), End::Closed);
}

#[test]
fn a_body_that_stalls_is_408() {
    let (sluice, _upstream) = limited("bodyTimeout: 300ms");
    let mut client = sluice.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    assert_refused(&client.response("POST"), 408, "body_timeout");
    client.assert_ended();
}

#[test]
fn a_body_declared_too_large_is_413_and_not_forwarded() {
    let (sluice, upstream) = limited("bodyBytes: 10");
    let sent = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n";
    assert_refused(&sluice.request(sent), 413, "body_too_large");
    assert!(upstream.requests().is_empty());
    let fits = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789";
    sluice.request(fits).with_status(200);
}

#[test]
fn a_body_that_grows_too_large_is_413() {
    let (sluice, upstream) = limited("bodyBytes: 10");
    let mut client = sluice.connect();
    client
        .send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n");
    client.send("8\r\n01234567\r\n0\r\n\r\n");
    assert_refused(&client.response("POST"), 413, "body_too_large");
    let whole = upstream
        .requests()
        .iter()
        .filter(|request| !request.body.is_empty())
        .count();
    assert_eq!(whole, 0, "a cut body arrived as a whole one");
}

#[test]
fn connections_beyond_the_bound_are_503_and_those_within_go_on() {
    let gate = Gate::closed();
    let upstream = Upstream::behind_gate(&gate, "served");
    let sluice = Sluice::to_with(&upstream, "errorHeader: true\nlimits: {connections: 2}");
    let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut within: Vec<Client> = (0..2).map(|_| sluice.connect()).collect();
    for client in &mut within {
        client.send(get);
    }
    upstream.wait_for_requests(2);
    let mut beyond = sluice.connect();
    assert_refused(&beyond.request(get), 503, "too_many_connections");
    beyond.assert_ended();
    gate.open();
    for client in &mut within {
        client.response("GET").with_status(200);
    }
    drop(within);
    eventually("a freed place is given again", || {
        let mut client = sluice.connect();
        client.offer(get).ok()?;
        client
            .try_response("GET")
            .ok()
            .filter(|response| response.status == 200)
    });
}
