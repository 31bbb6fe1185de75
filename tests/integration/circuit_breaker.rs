//! Bounds on what an upstream is asked at once, the queue before them, and the second copy of a
//! request that takes long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::load::{Connections, Load};
use crate::harness::upstream::ok;
use crate::harness::{Client, Gate, Sluice, Upstream, eventually};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

fn config(workers: u16, servers: &[SocketAddr], upstream: &str) -> String {
    let servers: Vec<_> = servers
        .iter()
        .map(|one| format!("'http://{one}'"))
        .collect();
    format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: {workers}\n  errorHeader: true\n  upstreams:\n    - id: app\n      \
         servers: [{}]\n      {upstream}\n  rules:\n    - path: /\n      upstreams: [app]\n",
        servers.join(", ")
    )
}

fn asking(sluice: &Sluice) -> Client {
    let mut client = sluice.connect();
    client.send(GET);
    client
}

#[test]
fn what_is_over_waits_and_what_is_over_that_is_refused() {
    let gate = Gate::closed();
    let upstream = Upstream::behind_gate(&gate, "served");
    let breaker = "circuitBreaker: {maxRequests: 1, maxPendingRequests: 1, pendingTimeout: 1h}";
    let sluice = Sluice::start(&config(1, &[upstream.address()], breaker));
    let mut first = asking(&sluice);
    upstream.wait_for_requests(1);
    let mut second = asking(&sluice);
    let refused = eventually("the queue is full", || {
        let mut third = asking(&sluice);
        let answer = third.try_response("GET").unwrap();
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.header("x-sluice-error"), Some("upstream_overflow"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(upstream.requests().len(), 1, "one at a time");
    gate.open();
    assert_eq!(first.response("GET").with_status(200).text(), "served");
    assert_eq!(second.response("GET").with_status(200).text(), "served");
}

#[test]
fn nobody_waits_longer_than_allowed() {
    let gate = Gate::closed();
    let upstream = Upstream::behind_gate(&gate, "served");
    let breaker = "circuitBreaker: {maxRequests: 1, pendingTimeout: 200ms}";
    let sluice = Sluice::start(&config(1, &[upstream.address()], breaker));
    let mut first = asking(&sluice);
    upstream.wait_for_requests(1);
    let late = sluice.get("/").with_status(503);
    assert_eq!(
        late.header("x-sluice-error"),
        Some("upstream_queue_timeout")
    );
    assert_eq!(late.header("retry-after"), Some("1"));
    gate.open();
    first.response("GET").with_status(200);
    sluice.get("/").with_status(200);
}

#[test]
fn who_waits_and_goes_away_leaves_the_queue() {
    let gate = Gate::closed();
    let upstream = Upstream::behind_gate(&gate, "served");
    let breaker = "circuitBreaker: {maxRequests: 1, maxPendingRequests: 1, pendingTimeout: 1h}";
    let sluice = Sluice::start(&config(1, &[upstream.address()], breaker));
    let mut first = asking(&sluice);
    upstream.wait_for_requests(1);
    for _ in 0..5 {
        drop(asking(&sluice));
    }
    gate.open();
    first.response("GET").with_status(200);
    sluice.get("/").with_status(200);
}

/// How many requests were under way at once, at most.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

fn counting(crowd: &Arc<Crowd>) -> Upstream {
    let crowd = Arc::clone(crowd);
    Upstream::start(move |exchange| {
        while exchange.request()?.is_some() {
            let now = crowd.now.fetch_add(1, Ordering::SeqCst) + 1;
            crowd.most.fetch_max(now, Ordering::SeqCst);
            std::thread::yield_now();
            crowd.now.fetch_sub(1, Ordering::SeqCst);
            exchange.write(ok("served"))?;
        }
        Ok(())
    })
}

#[test]
fn requests_in_flight_are_bounded_over_all_workers() {
    for breaker in [
        "circuitBreaker: {maxRequests: 2, pendingTimeout: 1h}",
        "circuitBreaker: {endpoint: {maxRequests: 2}, pendingTimeout: 1h}",
    ] {
        let crowd = Arc::<Crowd>::default();
        let upstream = counting(&crowd);
        let sluice = Sluice::start(&config(2, &[upstream.address()], breaker));
        let load = Load::start(sluice.address(), Connections::New, 8, |response| {
            response.status == 200
        });
        load.wait_for_more(300);
        let failures = load.stop();
        assert!(failures.is_empty(), "{failures:#?}");
        let most = crowd.most.load(Ordering::SeqCst);
        assert!((1..=2).contains(&most), "{breaker}: {most} at once");
    }
}

#[test]
fn a_full_endpoint_leaves_requests_to_the_others() {
    let gate = Gate::closed();
    let (slow, fast) = (
        Upstream::behind_gate(&gate, "served"),
        Upstream::saying("fast"),
    );
    let servers = [slow.address(), fast.address()];
    let breaker = "circuitBreaker: {endpoint: {maxRequests: 1}, pendingTimeout: 1h}";
    let sluice = Sluice::start(&config(1, &servers, breaker));
    let mut held: Vec<Client> = Vec::new();
    while slow.requests().is_empty() {
        // One of two goes to the slow one.
        held.push(asking(&sluice));
        eventually("it has arrived", || {
            (slow.requests().len() + fast.requests().len() >= held.len()).then_some(())
        });
    }
    for _ in 0..6 {
        assert_eq!(sluice.get("/").with_status(200).text(), "fast");
    }
    assert_eq!(slow.requests().len(), 1);
    gate.open();
}

#[test]
fn connections_are_bounded_by_worker() {
    for breaker in [
        "circuitBreaker: {maxConnections: 1, pendingTimeout: 1h}",
        "circuitBreaker: {endpoint: {maxConnections: 1}, pendingTimeout: 1h}",
    ] {
        let upstream = Upstream::saying("served");
        let sluice = Sluice::start(&config(1, &[upstream.address()], breaker));
        let load = Load::start(sluice.address(), Connections::Kept, 4, |response| {
            response.status == 200
        });
        load.wait_for_more(200);
        let failures = load.stop();
        assert!(failures.is_empty(), "{failures:#?}");
        assert_eq!(upstream.connections(), 1, "{breaker}");
    }
}

#[test]
fn the_faster_of_two_answers_counts_and_the_slower_try_is_given_up() {
    let gate = Gate::closed();
    let (slow, fast) = (
        Upstream::behind_gate(&gate, "served"),
        Upstream::saying("fast"),
    );
    let servers = [slow.address(), fast.address()];
    let sluice = Sluice::start(&config(1, &servers, "hedge: {after: 50ms}"));
    for _ in 0..4 {
        assert_eq!(sluice.get("/").with_status(200).text(), "fast");
    }
    let given_up = slow.requests().len();
    assert!(given_up > 0, "the slow one was asked");

    let posted = |number: usize| {
        let post = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx";
        let mut client = sluice.connect();
        client.send(post);
        eventually("it has arrived", || {
            let arrived = slow.requests().len() + fast.requests().len();
            (arrived >= number).then_some(())
        });
        client
    };
    let before = slow.requests().len() + fast.requests().len();
    let mut clients = vec![posted(before + 1), posted(before + 2)];
    assert_eq!(
        slow.requests().len(),
        given_up + 1,
        "one of them waits there"
    );
    gate.open();
    for client in &mut clients {
        client.response("POST").with_status(200);
    }
    let posts = |server: &Upstream| {
        let requests = server.requests();
        requests
            .iter()
            .filter(|r| r.head.method() == "POST")
            .count()
    };
    assert_eq!(posts(&slow) + posts(&fast), 2, "neither was sent twice");
    eventually("the server sees its clients gone", || {
        (slow.ended_connections() >= given_up).then_some(())
    });
}

#[test]
fn what_is_given_up_for_a_faster_answer_tells_how_slow_a_server_is() {
    let gate = Gate::closed();
    let (slow, fast) = (
        Upstream::behind_gate(&gate, "slow"),
        Upstream::saying("fast"),
    );
    let servers = [slow.address(), fast.address()];
    let upstream = "balance: peak-ewma\n      hedge: {after: 50ms}";
    let sluice = Sluice::start(&config(1, &servers, upstream));
    for _ in 0..100 {
        sluice.get("/").with_status(200);
    }
    let asked = slow.requests().len();
    assert!(asked < 30, "{asked} of 100, where chance gives half");
    gate.open();
}

#[test]
fn without_a_hedge_a_slow_server_is_waited_for() {
    let gate = Gate::closed();
    let (slow, fast) = (
        Upstream::behind_gate(&gate, "served"),
        Upstream::saying("fast"),
    );
    let servers = [slow.address(), fast.address()];
    let yaml = config(1, &servers, "hedge: {after: 50ms}");
    let yaml = yaml.replace(
        "    - path: /\n",
        "    - {path: /once, upstreams: [app], hedge: {after: 1s, max: 0}}\n    - path: /\n",
    );
    let sluice = Sluice::start(&yaml);
    let mut clients: Vec<Client> = (0..2).map(|_| sluice.connect()).collect();
    for client in &mut clients {
        client.send("GET /once HTTP/1.1\r\nhost: x\r\n\r\n");
    }
    slow.wait_for_requests(1);
    fast.wait_for_requests(1);
    gate.open();
    for client in &mut clients {
        client.response("GET").with_status(200);
    }
    assert_eq!(slow.requests().len() + fast.requests().len(), 2);
}

#[test]
fn an_answer_that_could_be_bettered_does_not_wait_for_room() {
    let busy = Upstream::answering("HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy");
    let settings =
        "circuitBreaker: {maxRequests: 1, pendingTimeout: 1h}\n      retry: {on: [503, reset]}";
    let sluice = Sluice::start(&config(1, &[busy.address()], settings));
    assert_eq!(sluice.get("/").with_status(503).text(), "busy");

    // A try without an answer gives its place back before the next asks for one.
    let breaks = Upstream::start(|exchange| exchange.request().map(drop));
    let sluice = Sluice::start(&config(1, &[breaks.address()], settings));
    sluice.get("/").with_status(502);
    assert_eq!(breaks.requests().len(), 3);
}

#[test]
fn a_status_is_retried_at_the_bound_too_and_the_bound_holds() {
    let bad = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad";
    let (bad, crowd) = (Upstream::answering(bad), Arc::<Crowd>::default());
    let good = counting(&crowd);
    let retry = "retry: {on: [gateway-error], backoff: {base: 1ms, max: 1ms}}\n      balance: round-robin\n      \
                 outlierDetection: {consecutiveErrors: 0}";
    for bounds in [
        "maxRequests: 1",
        "maxRequests: 1, endpoint: {maxRequests: 1}",
        "maxConnections: 1",
    ] {
        let breaker = format!("circuitBreaker: {{{bounds}, pendingTimeout: 10s}}\n      {retry}");
        let sluice = Sluice::start(&config(1, &[bad.address(), good.address()], &breaker));
        let before = bad.requests().len();
        let load: Vec<_> = std::thread::scope(|scope| {
            let one = || (0..10).map(|_| sluice.get("/").status).collect::<Vec<_>>();
            let all: Vec<_> = (0..3).map(|_| scope.spawn(one)).collect();
            all.into_iter()
                .flat_map(|one| one.join().unwrap())
                .collect()
        });
        assert_eq!(load, [200; 30], "{bounds}");
        assert!(bad.requests().len() > before, "{bounds}: some were retried");
        assert_eq!(crowd.most.load(Ordering::SeqCst), 1, "{bounds}");
    }
}
