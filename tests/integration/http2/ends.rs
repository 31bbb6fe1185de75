//! How connections of HTTP/2 end: by silence, by a drain, by the client.

use nix::sys::signal::Signal;

use crate::harness::http2::{
    ACK, CANCEL, DATA, END_STREAM, HEADERS, Http2, NO_ERROR, PING, RST_STREAM, SETTINGS, block,
    frame, headers, request, window_update,
};
use crate::harness::upstream::ok;
use crate::harness::{Gate, Sluice, Upstream, eventually};

use super::exchanges::metric;

const LAST_POSSIBLE: u32 = 0x7fff_ffff;

fn gated() -> (Upstream, Gate) {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        while let Some(request) = exchange.request()? {
            if request.head.target() == "/held" {
                inside.pass();
            }
            exchange.write(ok(request.head.target()))?;
        }
        Ok(())
    });
    (upstream, gate)
}

#[test]
fn a_drain_lets_every_stream_finish_and_takes_those_under_way() {
    let (upstream, gate) = gated();
    let mut sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("GET", "/held"), END_STREAM));
    upstream.wait_for_requests(1);
    sluice.signal(Signal::SIGTERM);
    assert_eq!(client.goaway(), (LAST_POSSIBLE, NO_ERROR));
    // It was sent before we knew.
    client.send(headers(3, &request("GET", "/late"), END_STREAM));
    assert_eq!(client.answer(3).text(), "/late");
    let (last, code) = client.goaway();
    assert_eq!((last, code), (3, NO_ERROR));
    gate.open();
    assert_eq!(client.answer(1).text(), "/held");
    client.wait_for_end();
    assert!(sluice.wait_for_exit().success());
}

#[test]
fn an_idle_connection_is_told_and_closed_by_a_drain() {
    let (upstream, _gate) = gated();
    let mut sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    assert_eq!(client.get(1, "/").status(), 200);
    sluice.signal(Signal::SIGTERM);
    assert_eq!(client.goaway(), (LAST_POSSIBLE, NO_ERROR));
    assert_eq!(client.goaway(), (1, NO_ERROR));
    client.wait_for_end();
    assert!(sluice.wait_for_exit().success());
}

#[test]
fn a_reload_does_not_touch_the_connection_and_the_next_request_sees_it() {
    let (upstream, gate) = gated();
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("GET", "/held"), END_STREAM));
    upstream.wait_for_requests(1);
    let other = Upstream::saying("other");
    sluice.rewrite(&crate::harness::sluice::config(&other.url(), ""));
    crate::harness::eventually("it is reloaded", || {
        (sluice.log().all("reload done").len() >= 2).then_some(())
    });
    assert_eq!(client.get(3, "/").text(), "other");
    gate.open();
    assert_eq!(client.answer(1).text(), "/held");
    assert_eq!(client.get(5, "/").text(), "other");
}

#[test]
fn silence_ends_a_connection_without_requests() {
    let (upstream, gate) = gated();
    let sluice = Sluice::to_with(&upstream, "limits: {idleTimeout: 300ms}");
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("GET", "/held"), END_STREAM));
    let mut idle = Http2::connect(sluice.address());
    assert_eq!(idle.get(1, "/").status(), 200);
    assert_eq!(idle.goaway(), (LAST_POSSIBLE, NO_ERROR));
    idle.wait_for_end();
    gate.open();
    assert_eq!(client.answer(1).status(), 200, "one that waits is not idle");
}

#[test]
fn a_header_section_that_does_not_end_ends_the_connection() {
    let (upstream, _gate) = gated();
    let sluice = Sluice::to_with(&upstream, "limits: {headerTimeout: 300ms}");
    let whole = frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/")));
    for slow in [&whole[..], &whole[..20]] {
        let mut client = Http2::connect(sluice.address());
        client.wait_for("settings", |frame| frame.kind == SETTINGS);
        client.send(frame(SETTINGS, ACK, 0, &[]));
        client.send(slow);
        while client.frame().is_ok() {}
    }
    let mut silent = Http2::silent(sluice.address());
    silent.send(b"PRI * HTTP/2.0\r\n\r\nSM");
    silent.wait_for_end();
    assert!(upstream.requests().is_empty());
    let counted = metric(&sluice, "sluice_errors_total{reason=\"http2_flood\"}");
    assert_eq!(counted, Some(2.0));
}

#[test]
fn a_body_that_stalls_is_408() {
    let (upstream, _gate) = gated();
    let sluice = Sluice::to_with(&upstream, "limits: {bodyTimeout: 300ms}");
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("POST", "/"), 0));
    assert_eq!(client.answer(1).status(), 408);
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let upstream = Upstream::answering(&ok(&"x".repeat(200_000)));
    let sluice = Sluice::to_with(&upstream, "limits: {writeTimeout: 300ms}");
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("GET", "/"), END_STREAM));
    let reset = client.wait_for("a reset", |frame| frame.kind == 3);
    assert_eq!(reset.payload, 8_u32.to_be_bytes());
    eventually("it is counted", || {
        let counted = metric(&sluice, "sluice_errors_total{reason=\"client_stalled\"}");
        (counted == Some(1.0)).then_some(())
    });
}

/// The least rate that can be asked for at most, after next to no grace.
const RATES: &str = "limits: {minBodyRate: 1MiB, minResponseRate: 1MiB, rateGrace: 300ms}";

#[test]
fn a_body_that_drips_is_408_and_a_stream_that_does_is_none() {
    let upstream = Upstream::per_request(|_| ok("thanks"));
    let sluice = Sluice::to_with(&upstream, RATES);
    let mut client = Http2::connect(sluice.address());
    let mut sized = request("POST", "/");
    sized.push(("content-length", "1000000"));
    client.send(headers(1, &sized, 0));
    client.send(headers(3, &request("POST", "/"), 0));
    for _ in 0..20 {
        client.send([frame(DATA, 0, 3, b"x"), frame(DATA, 0, 1, b"x")].concat());
        client.send(frame(PING, 0, 0, b"has come"));
        client.wait_for("a pong", |frame| frame.kind == PING);
    }
    let head = client.wait_for("an answer", |frame| frame.kind == HEADERS);
    assert_eq!((head.stream, head.status()), (1, 408));
    client.send(frame(DATA, END_STREAM, 3, b"x"));
    assert_eq!(client.answer(3).text(), "thanks");
}

#[test]
fn a_response_that_is_sipped_is_given_up() {
    let upstream = Upstream::answering(&ok(&"x".repeat(200_000)));
    let sluice = Sluice::to_with(&upstream, RATES);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("GET", "/"), END_STREAM));
    let mut taken = 0;
    while taken < 65_535 {
        taken += client
            .wait_for("data", |frame| frame.kind == DATA)
            .payload
            .len();
    }
    // It moves, and could for ever.
    for _ in 0..20 {
        client.send([window_update(0, 1), window_update(1, 1)].concat());
        client.wait_for("one byte", |frame| frame.kind == DATA);
    }
    let reset = client.wait_for("a reset", |frame| frame.kind == RST_STREAM);
    assert_eq!(reset.payload, CANCEL.to_be_bytes());
    eventually("it is counted", || {
        let counted = metric(&sluice, "sluice_errors_total{reason=\"client_stalled\"}");
        (counted == Some(1.0)).then_some(())
    });
}

#[test]
fn a_silent_client_is_asked_and_closed_when_it_does_not_answer() {
    let (upstream, gate) = gated();
    let keepalive = "http2: {keepalive: {interval: 200ms, timeout: 300ms}}";
    let sluice = Sluice::to_with(&upstream, keepalive);
    let mut dead = Http2::connect(sluice.address());
    dead.send(headers(1, &request("GET", "/held"), END_STREAM));
    // Reads, and answers no PING.
    while dead.frame().is_ok() {}
    let mut there = Http2::connect(sluice.address());
    there.send(headers(1, &request("GET", "/held"), END_STREAM));
    upstream.wait_for_requests(2);
    for _ in 0..3 {
        let ping = there.wait_for("a ping", |frame| frame.kind == PING && frame.flags == 0);
        there.send(frame(PING, ACK, 0, &ping.payload));
    }
    gate.open();
    assert_eq!(there.answer(1).status(), 200);
}

#[test]
fn connections_and_requests_are_counted() {
    let (upstream, gate) = gated();
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    for stream in [1, 3, 5] {
        client.send(headers(stream, &request("GET", "/held"), END_STREAM));
    }
    upstream.wait_for_requests(3);
    let state = |state: &str| {
        let series = format!("sluice_connections{{listener=\"127.0.0.1:0\",state=\"{state}\"}}");
        metric(&sluice, &series)
    };
    eventually("one connection is in use", || {
        let flying = metric(&sluice, "sluice_http_requests_in_flight");
        (state("active") == Some(1.0) && state("idle") == Some(0.0) && flying == Some(3.0))
            .then_some(())
    });
    gate.open();
    for _ in 0..3 {
        client.wait_for("an end", |frame| {
            frame.kind == DATA && frame.flags & END_STREAM != 0
        });
    }
    eventually("it is idle", || {
        (state("active") == Some(0.0) && state("idle") == Some(1.0)).then_some(())
    });
}
