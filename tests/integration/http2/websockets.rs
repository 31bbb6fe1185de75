//! WebSockets over HTTP/2 (RFC 8441): extended CONNECT becomes an upgrade of HTTP/1.1.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::mpsc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::harness::http2::{CANCEL, DATA, END_STREAM, Http2, RST_STREAM, frame, headers};
use crate::harness::sluice::config;
use crate::harness::upstream::Exchange;
use crate::harness::{Sluice, Upstream, eventually};
use crate::reload::post;

use super::exchanges::metric;

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

/// One whose stream 1 is a tunnel.
fn tunnelled(sluice: &Sluice) -> Http2 {
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &connect("websocket"), 0));
    client.wait_for("the answer", |frame| frame.stream == 1);
    client
}

fn say(client: &mut Http2, text: &[u8]) {
    client.send(frame(DATA, 0, 1, text));
    let data = client.wait_for("the echo", |frame| frame.kind == DATA);
    assert_eq!(data.payload, text);
}

#[test]
fn the_upstream_may_end_first() {
    let (told, tells) = mpsc::channel();
    let upstream = Upstream::start(move |exchange| {
        exchange.head()?;
        exchange.write(format!("{SWITCH}goodbye"))?;
        exchange.wire.shutdown(Shutdown::Write)?;
        let rest = exchange.wire.read_to_end()?;
        told.send(rest).map_err(io::Error::other)
    });
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &connect("websocket"), 0));
    let all = client.answer(1);
    assert_eq!((all.text().as_str(), all.reset), ("goodbye", None));
    client.send(frame(DATA, 0, 1, b"still "));
    client.send(frame(DATA, END_STREAM, 1, b"here"));
    assert_eq!(tells.recv().unwrap(), b"still here");
}

#[test]
fn reloads_leave_it_alone() {
    let (upstream, later) = (Upstream::start(echo), Upstream::start(echo));
    let sluice = Sluice::start(&config(&upstream.url(), ""));
    let mut client = tunnelled(&sluice);
    for round in 0..10 {
        let to = if round % 2 == 0 { &later } else { &upstream };
        sluice.rewrite(&config(&to.url(), ""));
        post(&sluice, "/reload").with_status(200);
        say(&mut client, b"hello");
    }
    assert_eq!(later.connections(), 0);
    client.send(frame(DATA, END_STREAM, 1, b""));
    assert_eq!(client.answer(1).text(), "goodbye");
}

#[test]
fn silence_ends_it_and_it_is_counted_meanwhile() {
    let upstream = Upstream::start(echo);
    let url = format!("{}\n      timeouts: {{tunnel: 500ms}}", upstream.url());
    let sluice = Sluice::start(&config(&url, ""));
    let mut client = tunnelled(&sluice);
    say(&mut client, b"hello");
    let of_tunnels = |name: &str| metric(&sluice, &format!("sluice_tunnel{name}"));
    let bytes = "_bytes_total{upstream=\"app\",direction=";
    assert_eq!(of_tunnels(&format!("{bytes}\"to_upstream\"}}")), Some(5.0));
    assert_eq!(of_tunnels(&format!("{bytes}\"to_client\"}}")), Some(5.0));
    let reset = client.wait_for("a reset", |frame| frame.kind == RST_STREAM);
    assert_eq!(reset.payload, CANCEL.to_be_bytes());
    eventually("it is counted", || {
        let counted = metric(&sluice, "sluice_errors_total{reason=\"tunnel_idle\"}");
        let open = of_tunnels("s{upstream=\"app\"}");
        (counted == Some(1.0) && open == Some(0.0)).then_some(())
    });
    assert_eq!(of_tunnels("s_opened_total{upstream=\"app\"}"), Some(1.0));
    // The connection lives on.
    client.send(headers(3, &connect("websocket"), 0));
    let again = client.wait_for("another", |frame| frame.stream == 3);
    assert_eq!(again.status(), 200);
}

#[test]
fn a_client_that_has_ended_may_still_give_it_up() {
    let silent = Upstream::start(|exchange| {
        exchange.head()?;
        exchange.write(SWITCH)?;
        exchange.wire.read_to_end()?;
        // Says nothing more: only a reset ends this.
        let mut wait = [PollFd::new(
            exchange.wire.stream().as_fd(),
            PollFlags::empty(),
        )];
        poll(&mut wait, PollTimeout::NONE).map_err(io::Error::from)?;
        Ok(())
    });
    let sluice = Sluice::to(&silent);
    let mut client = tunnelled(&sluice);
    client.send(frame(DATA, END_STREAM, 1, b""));
    client.send(crate::harness::http2::reset(1, CANCEL));
    eventually("the upstream's connection ends", || {
        (silent.ended_connections() == 1).then_some(())
    });
}
