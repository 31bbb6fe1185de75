//! Connections to upstreams: kept within bounds, replaced when they turn out dead, and no request sent
//! twice that may have been acted upon.

use crate::harness::upstream::ok;
use crate::harness::{Gate, Sluice, Upstream, eventually};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_kept_connection_that_turns_out_dead_is_replaced() {
    // Each connection serves one request, then is closed without a word when the next comes.
    let upstream = Upstream::start(|exchange| {
        exchange.request()?;
        exchange.write(ok("served"))?;
        exchange.wire.read_head().map(drop)
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    for _ in 0..10 {
        assert_eq!(client.get("/").with_status(200).text(), "served");
    }
    let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(client.request(post).with_status(200).text(), "served");
}

#[test]
fn a_request_that_may_have_been_acted_upon_is_not_sent_twice() {
    // A POST whose body has been read: whether it was acted upon, nobody but the upstream knows.
    let upstream = Upstream::start(|exchange| {
        exchange.request()?;
        exchange.write(ok("served"))?;
        exchange.request().map(drop)
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.get("/").with_status(200);
    let post = "POST /pay HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    client.request(post).with_status(502);
    let paid = upstream
        .requests()
        .iter()
        .filter(|r| r.head.target() == "/pay")
        .count();
    assert_eq!(paid, 1);
}

#[test]
fn connections_to_an_upstream_are_kept_within_bounds() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        while exchange.request()?.is_some() {
            inside.pass();
            exchange.write(ok("x"))?;
        }
        Ok(())
    });
    let sluice = Sluice::start(&format!(
        "
        server:
          listen: 127.0.0.1:0
          workers: 1
          upstreams:
            - {{id: app, url: '{}', keepalive: {{idleConnections: 2}}}}
          rules:
            - {{path: /, upstreams: [app]}}
        ",
        upstream.url()
    ));
    let mut clients: Vec<_> = (0..5).map(|_| sluice.connect()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    upstream.wait_for_requests(5);
    assert_eq!(upstream.connections(), 5);
    gate.open();
    for client in &mut clients {
        client.response("GET").with_status(200);
    }
    eventually("all but two idle connections are closed", || {
        (upstream.ended_connections() == 3).then_some(())
    });
}

#[test]
fn an_idle_connection_to_an_upstream_is_closed_in_time() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::start(&format!(
        "
        server:
          listen: 127.0.0.1:0
          workers: 1
          upstreams:
            - {{id: app, url: '{}', keepalive: {{idleTimeout: 200ms}}}}
          rules:
            - {{path: /, upstreams: [app]}}
        ",
        upstream.url()
    ));
    sluice.get("/").with_status(200);
    eventually("the idle connection is closed", || {
        (upstream.ended_connections() == 1).then_some(())
    });
    sluice.get("/").with_status(200);
    assert_eq!(upstream.connections(), 2);
}
