//! The harness itself: a recording upstream and a raw client agree on what went over the wire, so
//! that a test which passes has looked at something.

use crate::harness::upstream::ok;
use crate::harness::{Client, Gate, Upstream, get, request};

#[test]
fn what_a_client_sends_is_what_the_upstream_recorded() {
    let upstream = Upstream::saying("hello");
    let sent = "POST /a?b=c HTTP/1.1\r\nHost: X\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(
        request(upstream.address(), sent).with_status(200).text(),
        "hello"
    );
    let seen = upstream.the_request();
    assert_eq!(seen.head.raw + "abc", sent);
    assert_eq!(seen.body, b"abc");
}

#[test]
fn chunks_and_trailers_are_read() {
    let answer = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
                  transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nsum: 1\r\n\r\n";
    let upstream = Upstream::answering(answer);
    let response = get(upstream.address(), "/");
    assert_eq!(response.text(), "abc");
    assert_eq!(response.interim[0].header("link"), Some("</a>"));
    assert_eq!(response.trailers, [("sum".to_owned(), "1".to_owned())]);
}

#[test]
fn a_body_that_ends_early_is_no_answer() {
    let upstream = Upstream::start(|exchange| {
        exchange.request()?;
        exchange.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
    });
    let mut client = Client::connect(upstream.address());
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(client.try_response("GET").is_err());
}

#[test]
fn an_upstream_waits_behind_a_gate() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        exchange.request()?;
        inside.pass();
        exchange.write(ok("late"))
    });
    let mut client = Client::connect(upstream.address());
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    upstream.wait_for_requests(1);
    assert!(client.is_open());
    gate.open();
    assert_eq!(client.response("GET").text(), "late");
    client.finish_sending().assert_ended();
}
