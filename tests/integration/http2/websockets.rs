//! WebSockets over HTTP/2 (RFC 8441): extended CONNECT becomes an upgrade of HTTP/1.1.

use std::io;

use crate::harness::http2::{DATA, END_STREAM, Http2, RST_STREAM, frame, headers};
use crate::harness::upstream::Exchange;
use crate::harness::{Sluice, Upstream, eventually};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

fn connect(protocol: &str) -> Vec<(&str, &str)> {
    vec![
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "shop.example"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
    ]
}

/// Agrees, and says everything again until the client ends; then it says goodbye.
fn echo(exchange: &mut Exchange) -> io::Result<()> {
    exchange.head()?;
    exchange.write(SWITCH)?;
    loop {
        match exchange.wire.read_exact(5) {
            Ok(five) => exchange.write(five)?,
            Err(_) => return exchange.write("goodbye"),
        }
    }
}

#[test]
fn bytes_go_both_ways_and_each_way_ends_by_itself() {
    let upstream = Upstream::start(echo);
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    let settings = client.wait_for("settings", |frame| frame.kind == 4);
    let enables = [0, 8, 0, 0, 0, 1];
    assert!(settings.payload.windows(6).any(|one| one == enables));
    client.send(headers(1, &connect("websocket"), 0));
    let head = client.wait_for("the answer", |frame| frame.stream == 1);
    assert_eq!(head.status(), 200);
    let asked = upstream.the_request().head;
    assert_eq!(asked.start_line, "GET /chat HTTP/1.1");
    assert_eq!(asked.header("upgrade"), Some("websocket"));
    assert_eq!(asked.header("connection"), Some("upgrade"));
    assert_eq!(asked.header("sec-websocket-key").map(str::len), Some(24));
    assert_eq!(asked.header("sec-websocket-protocol"), Some("chat"));
    for text in [b"hello", b"again"] {
        client.send(frame(DATA, 0, 1, text));
        let data = client.wait_for("the echo", |frame| frame.kind == DATA);
        assert_eq!(data.payload, text);
    }
    client.send(frame(DATA, END_STREAM, 1, b""));
    let rest = client.answer(1);
    assert_eq!((rest.text().as_str(), rest.reset), ("goodbye", None));
}

#[test]
fn a_large_message_is_whole_and_bounded_by_the_reader() {
    const SIZE: usize = 20_000_000;
    let upstream = Upstream::start(|exchange| {
        exchange.head()?;
        exchange.write(SWITCH)?;
        exchange.write(vec![7; SIZE])
    });
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &connect("websocket"), 0));
    assert_eq!(client.answer(1).body.len(), SIZE);
}

#[test]
fn other_protocols_are_501_and_others_than_asked_for_are_502() {
    let upstream = Upstream::saying("a page");
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &connect("connect-udp"), 0));
    assert_eq!(client.answer(1).status(), 501);
    assert!(upstream.requests().is_empty());
    // A page is no tunnel, and 200 would say that it was one.
    client.send(headers(3, &connect("websocket"), 0));
    assert_eq!(client.answer(3).status(), 502);
    let refusing = Upstream::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let sluice = Sluice::to(&refusing);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &connect("websocket"), 0));
    let refused = client.answer(1);
    assert_eq!((refused.status(), refused.text().as_str()), (403, "no"));
}

#[test]
fn one_end_that_breaks_breaks_the_other() {
    let upstream = Upstream::start(echo);
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &connect("websocket"), 0));
    client.wait_for("the answer", |frame| frame.stream == 1);
    client.send(crate::harness::http2::reset(1, 8));
    eventually("the upstream's connection ends", || {
        (upstream.ended_connections() == 1).then_some(())
    });
    let silent = Upstream::start(|exchange| {
        exchange.head()?;
        exchange.write(SWITCH)?;
        let linger = Some(std::time::Duration::ZERO);
        socket2::SockRef::from(exchange.wire.stream()).set_linger(linger)
    });
    let sluice = Sluice::to(&silent);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &connect("websocket"), 0));
    client.wait_for("a reset", |frame| frame.kind == RST_STREAM);
}
