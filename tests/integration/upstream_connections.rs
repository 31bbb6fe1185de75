//! Connections to upstreams: kept within bounds, replaced when they turn out dead, and no request sent
//! twice that may have been acted upon.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::upstream::ok;
use crate::harness::{DEADLINE, Gate, Sluice, Upstream, eventually};

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
    let upstream = Upstream::behind_gate(&gate, "x");
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

/// A server that waits this long for the next request on a connection, and says what ended it.
fn impatient(patience: Duration, answer: String, ends: &Arc<Mutex<Vec<End>>>) -> Upstream {
    let ends = Arc::clone(ends);
    Upstream::start(move |exchange| {
        let set = exchange.wire.stream().set_read_timeout(Some(patience));
        set.unwrap();
        let end = loop {
            match exchange.request() {
                Ok(Some(_)) => exchange.write(&answer)?,
                Ok(None) => break End::ByProxy,
                Err(_) => break End::ByServer,
            }
        };
        // Before anybody hears of it: a request that came in between would find it open.
        let _gone = exchange.wire.stream().shutdown(std::net::Shutdown::Both);
        ends.lock().unwrap().push(end);
        Ok(())
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    ByProxy,
    ByServer,
}

#[test]
fn what_a_server_says_of_its_idle_connections_is_believed() {
    let ends = Arc::default();
    let answer = ok("x").replace("\r\n\r\n", "\r\nkeep-alive: timeout=2, max=100\r\n\r\n");
    let upstream = impatient(DEADLINE, answer, &ends);
    let sluice = Sluice::to(&upstream);
    let response = sluice.get("/").with_status(200);
    assert_eq!(
        response.header("keep-alive"),
        None,
        "it is not the client's"
    );
    eventually("it is retired long before a minute", || {
        (*ends.lock().unwrap() == [End::ByProxy]).then_some(())
    });
}

#[test]
fn when_a_server_closes_idle_connections_is_learnt() {
    let ends = Arc::default();
    let upstream = impatient(Duration::from_millis(2_500), ok("x"), &ends);
    let sluice = Sluice::to(&upstream);
    let mut rounds = 0;
    eventually(
        "a connection is retired before the server closes it",
        || {
            rounds += 1;
            sluice.get("/").with_status(200);
            eventually("the connection has ended", || {
                (ends.lock().unwrap().len() == rounds).then_some(())
            });
            (ends.lock().unwrap().last() == Some(&End::ByProxy)).then_some(())
        },
    );
    let ends = ends.lock().unwrap();
    assert!(
        ends.starts_with(&[End::ByServer, End::ByServer]),
        "{ends:?}"
    );
}
