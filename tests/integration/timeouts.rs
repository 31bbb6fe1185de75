//! How long an upstream may take, phase by phase, and what the client sees when it takes longer.

use crate::harness::sluice::config;
use crate::harness::upstream::ok;
use crate::harness::{Gate, Response, Sluice, Upstream};

/// The program with these timeouts of its upstream.
fn start(upstream: &Upstream, timeouts: &str) -> Sluice {
    let url = upstream.url();
    let yaml = config(&url, "errorHeader: true");
    let with = format!("url: {url}\n      timeouts: {{{timeouts}}}\n");
    Sluice::start(&yaml.replace(&format!("url: {url}\n"), &with))
}

/// Sends these bytes of an answer, and no more until the gate opens.
fn stopping_after(answer: &'static str, gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |exchange| {
        exchange.request()?;
        exchange.write(answer)?;
        gate.pass();
        Ok(())
    })
}

#[track_caller]
fn assert_late(response: &Response, reason: &str) {
    assert_eq!(response.status, 504, "{}", response.head.raw);
    assert_eq!(response.header("x-sluice-error"), Some(reason));
}

#[test]
fn each_phase_has_its_reason() {
    let gate = Gate::closed();
    for (timeout, reason) in [
        ("responseHeader: 200ms", "upstream_timeout"),
        ("perTry: 200ms", "upstream_try_timeout"),
        ("request: 200ms", "request_timeout"),
        ("request: 200ms, perTry: 1h", "request_timeout"),
        ("perTry: 200ms, request: 1h", "upstream_try_timeout"),
        (
            "perTry: 200ms, responseHeader: 200ms",
            "upstream_try_timeout",
        ),
        ("perTry: 1h, responseHeader: 200ms", "upstream_timeout"),
    ] {
        let upstream = stopping_after("", &gate);
        let sluice = start(&upstream, timeout);
        assert_late(&sluice.get("/"), reason);
    }
    gate.open();
}

#[test]
fn a_body_that_takes_too_long_breaks_off_visibly() {
    const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\nhalf";
    let gate = Gate::closed();
    for timeout in ["idle: 200ms", "request: 300ms"] {
        for answer in [LENGTH, CHUNKED, UNTIL_CLOSE] {
            let upstream = stopping_after(answer, &gate);
            let sluice = start(&upstream, timeout);
            let mut client = sluice.connect();
            client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            let answer = client.try_response("GET");
            assert!(answer.is_err(), "{timeout}: {answer:?}");
        }
    }
    gate.open();
}

#[test]
fn a_client_that_reads_slowly_does_not_prolong_a_request() {
    let endless = Upstream::start(|exchange| {
        exchange.request()?;
        exchange.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        loop {
            exchange.write(format!("10000\r\n{}\r\n", "x".repeat(0x10000)))?;
        }
    });
    let sluice = start(&endless, "request: 500ms");
    let mut client = sluice.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    crate::harness::eventually("the upstream is let go", || {
        (endless.ended_connections() == 1).then_some(())
    });
    assert!(client.try_response("GET").is_err());
}

#[test]
fn a_rule_may_be_more_or_less_patient() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        exchange.request()?;
        inside.pass();
        exchange.write(ok("late"))
    });
    let url = upstream.url();
    let yaml = config(&url, "errorHeader: true").replace(
        "    - path: /\n",
        "    - {path: /soon, upstreams: [app], timeouts: {responseHeader: 200ms}}\n    - path: /\n",
    );
    let sluice = Sluice::start(&yaml);
    assert_late(&sluice.get("/soon"), "upstream_timeout");
    let mut patient = sluice.connect();
    patient.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    upstream.wait_for_requests(2);
    gate.open();
    assert_eq!(patient.response("GET").with_status(200).text(), "late");
}

#[test]
fn the_builtin_upstream_is_held_to_it_too() {
    let url = "builtin://echo";
    let yaml = config(url, "errorHeader: true");
    let with = format!("url: {url}\n      timeouts: {{request: 200ms}}\n");
    let sluice = Sluice::start(&yaml.replace(&format!("url: {url}\n"), &with));
    assert_late(&sluice.get("/?delay=20000"), "request_timeout");
}
