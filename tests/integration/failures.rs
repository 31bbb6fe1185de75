//! What a client is told when an upstream fails, and that the reason is named.

use std::net::{Ipv4Addr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::harness::port::Dead;
use crate::harness::sluice::config;
use crate::harness::upstream::ok;
use crate::harness::{Gate, Response, Sluice, Upstream};

/// The answer when the upstream is at `url`, with `upstream` as more of its settings.
#[track_caller]
fn answer_of(url: &str, upstream: &str) -> Response {
    let yaml = config(url, "errorHeader: true");
    let yaml = yaml.replace(&format!("url: {url}\n"), &format!("url: {url}\n{upstream}"));
    Sluice::start(&yaml).get("/")
}

#[track_caller]
fn assert_failed(response: &Response, status: u16, reason: &str) {
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
fn a_dead_upstream_is_502() {
    let response = answer_of(&Dead::new().url(), "");
    assert_failed(&response, 502, "connect_failed");
}

#[test]
fn a_name_that_does_not_resolve_is_an_error_of_the_upstream() {
    let response = answer_of("http://no-such-host.invalid", "");
    assert!(
        [502, 503].contains(&response.status),
        "{}",
        response.head.raw
    );
    assert!(response.header("x-sluice-error").is_some());
}

#[test]
fn a_slow_upstream_is_504() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        exchange.request()?;
        inside.pass();
        exchange.write(ok("too late"))
    });
    let response = answer_of(&upstream.url(), "      timeouts: {responseHeader: 200ms}\n");
    assert_failed(&response, 504, "upstream_timeout");
    gate.open();
}

#[test]
fn an_upstream_that_takes_no_connection_is_504() {
    // A queue of one that is full: the handshake of any further connection goes unanswered.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _waiting = TcpStream::connect(address).unwrap();
    let response = answer_of(
        &format!("http://{address}"),
        "      timeouts: {connect: 300ms}\n",
    );
    assert_failed(&response, 504, "connect_timeout");
}

#[test]
fn an_upstream_that_closes_without_an_answer_is_502() {
    let upstream = Upstream::start(|exchange| exchange.request().map(drop));
    assert_failed(&answer_of(&upstream.url(), ""), 502, "upstream_closed");
    // A new connection that fails is not the keepalive race: it is not tried again.
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn an_answer_of_the_proxy_keeps_the_connection_where_it_can() {
    let dead = Dead::new();
    let sluice = Sluice::start(&config(&dead.url(), ""));
    let mut client = sluice.connect();
    for _ in 0..3 {
        let response = client.get("/").with_status(502);
        assert_eq!(
            response.header("x-sluice-error"),
            None,
            "only where it was asked for"
        );
    }
}

#[test]
fn malformed_answers_of_an_upstream_are_502_and_never_passed_on() {
    let after = "Content-Length: 2\r\n\r\nok";
    let malformed = [
        ("no status line", "hello\r\n\r\n".to_owned()),
        ("HTTP/0.9", "<html>".to_owned()),
        (
            "a status of two digits",
            format!("HTTP/1.1 20 OK\r\n{after}"),
        ),
        (
            "a status that is a word",
            format!("HTTP/1.1 abc OK\r\n{after}"),
        ),
        (
            "a version that is none",
            format!("HTTP/9.1 200 OK\r\n{after}"),
        ),
        (
            "bare LF",
            "HTTP/1.1 200 OK\nContent-Length: 2\n\nok".to_owned(),
        ),
        (
            "obs-fold",
            format!("HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\n{after}"),
        ),
        (
            "a space before the colon",
            format!("HTTP/1.1 200 OK\r\nX-A : 1\r\n{after}"),
        ),
        ("NUL", format!("HTTP/1.1 200 OK\r\nX-A: 1\0\r\n{after}")),
        (
            "a header without a colon",
            format!("HTTP/1.1 200 OK\r\nX-A\r\n{after}"),
        ),
        (
            "both framings",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{after}"),
        ),
        (
            "two lengths",
            format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n{after}"),
        ),
        (
            "a negative length",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok".to_owned(),
        ),
        (
            "a coding nobody knows",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\nok".to_owned(),
        ),
        (
            "101 that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
        ),
    ];
    for (what, answer) in malformed {
        let upstream = Upstream::start(move |exchange| {
            exchange.request()?;
            exchange.write(&answer)
        });
        let response = answer_of(&upstream.url(), "");
        assert_eq!(
            response.status,
            502,
            "{what}: {}{}",
            response.head.raw,
            response.text()
        );
        let reason = response.header("x-sluice-error").expect("a reason");
        assert!(reason.starts_with("upstream_"), "{what}: {reason}");
    }
}

#[test]
fn an_upstream_with_endless_headers_is_502() {
    let many = "X-Pad: 0123456789012345678901234567890123456789\r\n".repeat(50_000);
    let upstream = Upstream::start(move |exchange| {
        exchange.request()?;
        exchange.write(format!("HTTP/1.1 200 OK\r\n{many}\r\n"))
    });
    assert_failed(
        &answer_of(&upstream.url(), ""),
        502,
        "upstream_headers_too_large",
    );
}

#[test]
fn bytes_after_an_answer_do_not_become_the_next_one() {
    let poison = ok("poison");
    let upstream = Upstream::per_request(move |_| format!("{}{poison}", ok("right")));
    let sluice = Sluice::to(&upstream);
    for _ in 0..5 {
        assert_eq!(sluice.get("/").with_status(200).text(), "right");
    }
}

#[test]
fn a_failing_server_does_not_take_the_others_along() {
    let (alive, dead) = (Upstream::saying("alive"), Dead::new());
    let sluice = Sluice::start(&format!(
        "
        server:
          listen: 127.0.0.1:0
          workers: 1
          upstreams:
            - {{id: dead, url: '{}'}}
            - {{id: alive, url: '{}'}}
          rules:
            - {{path: /dead, upstreams: [dead]}}
            - {{path: /, upstreams: [alive]}}
        ",
        dead.url(),
        alive.url()
    ));
    sluice.get("/dead").with_status(502);
    assert_eq!(sluice.get("/").with_status(200).text(), "alive");
}
