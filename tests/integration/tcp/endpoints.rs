//! Which endpoint a connection gets.

use std::net::TcpListener;

use super::echoing;
use crate::harness::{Client, Sluice, Upstream, eventually, get};

/// All connections to these servers, with these lines about the upstream.
fn yaml(servers: &[&str], more: &str) -> String {
    format!(
        "server:\n  listen: {{address: 127.0.0.1:0, protocol: tcp, upstream: app}}\n  workers: 1\n  upstreams:\n    \
         - id: app\n      servers: [{}]\n{more}  rules: []\n",
        servers.join(", ")
    )
}

/// An address at which nobody listens, for as long as the test keeps the port.
fn dead() -> (socket2::Socket, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address.to_string())
}

fn say(client: &mut Client, what: &str) {
    client.send(format!("{what}\n"));
    assert_eq!(client.read_through("\n"), format!("{what}\n"));
}

/// A series' value, 0 where there is none.
fn metric(sluice: &Sluice, series: &str) -> f64 {
    let page = get(sluice.admin(), "/metrics").with_status(200).text();
    let mut lines = page.lines().filter_map(|line| line.strip_prefix(series));
    lines
        .next()
        .map_or(0.0, |value| value.trim().parse().unwrap())
}

#[test]
fn a_dead_one_is_passed_over_and_then_left_out() {
    let (upstream, (_port, nobody)) = (echoing(), dead());
    let live = upstream.address().to_string();
    let outliers = "      outlierDetection: {consecutiveErrors: 3, baseEjectionTime: 1h, maxEjectionTime: 1h}\n      \
                    balance: round-robin\n";
    let sluice = Sluice::start(&yaml(&[&nobody, &live], outliers));
    let mut open = Vec::new();
    for round in 0..20 {
        let mut client = Client::connect(sluice.address());
        say(&mut client, &format!("round {round}"));
        open.push(client);
    }
    let of_app = |name: &str| metric(&sluice, &format!("sluice_{name}{{upstream=\"app\"}}"));
    assert_eq!(of_app("upstream_ejections_total"), 1.0);
    assert_eq!(upstream.connections(), 20);
    drop(open);
    // Told at their ends.
    eventually("so many were tried elsewhere, and then no more", || {
        (of_app("upstream_retries_total") == 3.0).then_some(())
    });
}

#[test]
fn one_that_checks_find_dead_gets_none() {
    let (upstream, (_port, nobody)) = (echoing(), dead());
    let live = upstream.address().to_string();
    let checks = "      healthCheck: {type: tcp, interval: 50ms, unhealthyThreshold: 1, healthyThreshold: 1}\n      \
                  balance: round-robin\n";
    let sluice = Sluice::start(&yaml(&[&nobody, &live], checks));
    let healthy = |address: &str| {
        let labels = format!("upstream=\"app\",endpoint=\"{address}\"");
        metric(
            &sluice,
            &format!("sluice_upstream_endpoint_healthy{{{labels}}}"),
        )
    };
    eventually("the checks know", || {
        (healthy(&nobody) == 0.0 && healthy(&live) == 1.0).then_some(())
    });
    for _ in 0..10 {
        let mut client = Client::connect(sluice.address());
        say(&mut client, "hello");
        client.finish_sending().assert_ended();
    }
    let retries = metric(&sluice, "sluice_upstream_retries_total{upstream=\"app\"}");
    assert_eq!(retries, 0.0);
}

#[test]
fn where_none_is_there_it_is_closed() {
    let ((_one, first), (_two, second)) = (dead(), dead());
    let sluice = Sluice::start(&yaml(&[&first, &second], ""));
    Client::connect(sluice.address()).assert_ended();
    let failed = "sluice_errors_total{reason=\"connect_failed\"}";
    eventually("it is counted", || {
        (metric(&sluice, failed) == 1.0).then_some(())
    });
}

#[test]
fn the_circuit_breaker_bounds_connections_and_those_that_wait() {
    let upstream = echoing();
    let breaker =
        "      circuitBreaker: {maxConnections: 1, maxPendingRequests: 1, pendingTimeout: 1h}\n";
    let live = upstream.address().to_string();
    let sluice = Sluice::start(&yaml(&[&live], breaker));
    let mut first = Client::connect(sluice.address());
    say(&mut first, "hello");
    let mut second = Client::connect(sluice.address());
    second.send("it waits\n");
    let busy = "sluice_connections{listener=\"127.0.0.1:0\",state=\"active\"}";
    eventually("the second waits", || {
        (metric(&sluice, busy) == 2.0).then_some(())
    });
    Client::connect(sluice.address()).assert_ended();
    let refused = "sluice_errors_total{reason=\"upstream_overflow\"}";
    eventually("it is counted", || {
        (metric(&sluice, refused) == 1.0).then_some(())
    });
    assert_eq!(upstream.connections(), 1);
    first.finish_sending().assert_ended();
    assert_eq!(second.read_through("\n"), "it waits\n");
}

#[test]
fn a_client_keeps_its_endpoint_by_its_address() {
    let tellers: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| Upstream::start(move |exchange| exchange.write(name)))
        .into();
    let servers: Vec<_> = tellers.iter().map(|t| t.address().to_string()).collect();
    let servers: Vec<_> = servers.iter().map(String::as_str).collect();
    let trusting = "proxyProtocol: {trustedSources: [127.0.0.0/8]}, upstream: app";
    let yaml = yaml(&servers, "      balance: ip-hash\n").replace("upstream: app", trusting);
    let sluice = Sluice::start(&yaml);
    let of = |address: usize| {
        let mut client = Client::connect(sluice.address());
        client.send(format!(
            "PROXY TCP4 192.0.2.{address} 198.51.100.2 56324 443\r\n"
        ));
        client.finish_sending();
        String::from_utf8(client.wire.read_to_end().unwrap()).unwrap()
    };
    let chosen: Vec<_> = (0..20).map(of).collect();
    assert_eq!(chosen, (0..20).map(of).collect::<Vec<_>>());
    let mut different = chosen.clone();
    different.sort();
    different.dedup();
    assert!(different.len() > 1, "{chosen:?}");
}

#[test]
fn one_that_does_not_answer_is_passed_over_in_time() {
    // Its queue is full, so that a connection to it comes to nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = socket2::SockRef::from(&silent);
    socket.listen(0).unwrap();
    let address = silent.local_addr().unwrap();
    let mut filling = Vec::new();
    for _ in 0..4 {
        let one = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        one.set_nonblocking(true).unwrap();
        // Under way, as long as there is room.
        let _pending = one.connect(&address.into());
        filling.push(one);
    }
    let upstream = echoing();
    let (silent, live) = (address.to_string(), upstream.address().to_string());
    let more = "      timeouts: {connect: 300ms}\n      balance: round-robin\n";
    let sluice = Sluice::start(&yaml(&[&silent, &live], more));
    for _ in 0..4 {
        say(&mut Client::connect(sluice.address()), "hello");
    }
    assert_eq!(upstream.connections(), 4);
}
