//! Several endpoints of one upstream: which of them a request goes to, and who is left out.

use std::collections::BTreeMap;
use std::net::TcpListener;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::port::free_address;
use crate::harness::process::signal;
use crate::harness::upstream::ok;
use crate::harness::{Gate, Sluice, Upstream, client, eventually};

/// `servers` as in a flow list, `more` as further keys of the upstream.
fn config(servers: &[String], more: &str, workers: u32) -> String {
    format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: {workers}\n  upstreams:\n    - id: app\n      \
         servers: [{}]\n{more}  rules:\n    - path: /\n      upstreams: [app]\n",
        servers.join(", ")
    )
}

fn plain(upstreams: &[&Upstream]) -> Vec<String> {
    upstreams.iter().map(|one| one.url()).collect()
}

/// How often each text was answered.
fn answers(sluice: &Sluice, requests: usize, request: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let answer = sluice.request(request).with_status(200).text();
        *counts.entry(answer).or_default() += 1;
    }
    counts
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn endpoints(sluice: &Sluice) -> Vec<Value> {
    let shown = client::get(sluice.admin(), "/upstreams")
        .with_status(200)
        .text();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown["upstreams"][0]["endpoints"]
        .as_array()
        .unwrap()
        .clone()
}

fn health_of(sluice: &Sluice, address: &str) -> String {
    let all = endpoints(sluice);
    let found = all.iter().find(|one| one["address"] == address);
    let health = found.map(|one| one["health"].clone());
    health
        .and_then(|health| Some(health.as_str()?.to_owned()))
        .unwrap_or_default()
}

#[test]
fn turns_go_by_weight_and_a_backup_waits() {
    let (a, b, c) = (
        Upstream::saying("a"),
        Upstream::saying("b"),
        Upstream::saying("c"),
    );
    let servers = [
        format!("{{url: '{}', weight: 3}}", a.url()),
        format!("'{}'", b.url()),
        format!("{{url: '{}', backup: true}}", c.url()),
    ];
    let sluice = Sluice::start(&config(&servers, "      balance: round-robin\n", 1));
    let counts = answers(&sluice, 40, GET);
    assert_eq!(counts, BTreeMap::from([("a".into(), 30), ("b".into(), 10)]));
    assert!(c.requests().is_empty());
}

#[test]
fn every_policy_serves_and_the_usual_one_uses_all_servers() {
    let upstreams = [
        Upstream::saying("a"),
        Upstream::saying("b"),
        Upstream::saying("c"),
    ];
    let servers = plain(&upstreams.each_ref());
    for policy in [
        "",
        "round-robin",
        "random",
        "least-connections",
        "peak-ewma",
    ] {
        let more = match policy {
            "" => String::new(),
            policy => format!("      balance: {policy}\n"),
        };
        let sluice = Sluice::start(&config(&servers, &more, 1));
        assert_eq!(answers(&sluice, 60, GET).len(), 3, "{policy}");
    }
    // All requests come from one address.
    let sluice = Sluice::start(&config(&servers, "      balance: ip-hash\n", 2));
    assert_eq!(answers(&sluice, 20, GET).len(), 1);
}

#[test]
fn a_key_stays_with_its_server_over_workers_and_reloads() {
    let upstreams = [
        Upstream::saying("a"),
        Upstream::saying("b"),
        Upstream::saying("c"),
    ];
    let servers = plain(&upstreams.each_ref());
    for (on, request) in [
        (
            "{header: X-User}",
            "GET / HTTP/1.1\r\nHost: x\r\nX-User: KEY\r\n\r\n",
        ),
        (
            "{cookie: sid}",
            "GET / HTTP/1.1\r\nHost: x\r\nCookie: a=b; sid=KEY\r\n\r\n",
        ),
        (
            "{query: user}",
            "GET /?x=1&user=KEY HTTP/1.1\r\nHost: x\r\n\r\n",
        ),
    ] {
        let more = format!("      balance: {{policy: consistent-hash, hashOn: {on}}}\n");
        let sluice = Sluice::start(&config(&servers, &more, 2));
        let place = |key: usize| {
            let request = request.replace("KEY", &format!("user-{key}"));
            let counts = answers(&sluice, 4, &request);
            assert_eq!(counts.len(), 1, "{on}: {counts:?}");
            counts.into_keys().next().unwrap()
        };
        let before: Vec<String> = (0..12).map(place).collect();
        let used: std::collections::HashSet<&String> = before.iter().collect();
        assert!(used.len() > 1, "{on}: {before:?}");

        // One server goes: its keys move, all others stay.
        sluice.rewrite(&config(&servers[..2], &more, 2));
        eventually("the third server is gone", || {
            (endpoints(&sluice).len() == 2).then_some(())
        });
        sluice.settle();
        let after: Vec<String> = (0..12).map(place).collect();
        for (before, after) in before.iter().zip(&after) {
            assert!(
                before == after || before == "c",
                "{before} moved to {after}"
            );
        }
    }
}

#[test]
fn one_that_refuses_is_left_out_by_all_workers_carried_over_a_reload_and_comes_back() {
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    let dead = free_address().to_string();
    let mut servers = plain(&[&a, &b]);
    servers.push(format!("'http://{dead}'"));
    let more = "      balance: round-robin\n      outlierDetection: {baseEjectionTime: 8s}\n";
    let sluice = Sluice::start(&config(&servers, more, 2));
    eventually("the dead one is ejected", || {
        sluice.get("/");
        (health_of(&sluice, &dead) == "ejected").then_some(())
    });
    let told = sluice.log().wait_for("endpoint ejected");
    assert_eq!(told.text("endpoint").as_deref(), Some(dead.as_str()));
    let counts = answers(&sluice, 30, GET);
    assert_eq!(counts.len(), 2, "nothing goes there any more: {counts:?}");
    let metrics = client::get(sluice.admin(), "/metrics").text();
    assert!(metrics.contains("sluice_upstream_ejections_total{upstream=\"app\"} 1"));
    let unhealthy =
        format!("sluice_upstream_endpoint_healthy{{endpoint=\"{dead}\",upstream=\"app\"}} 0");
    let same =
        format!("sluice_upstream_endpoint_healthy{{upstream=\"app\",endpoint=\"{dead}\"}} 0");
    assert!(
        metrics.contains(&unhealthy) || metrics.contains(&same),
        "{metrics}"
    );

    let changed = config(&servers, more, 2).replace("workers: 2", "via: true\n  workers: 2");
    sluice.rewrite(&changed);
    sluice.log().wait_for("reload done");
    sluice.settle();
    if health_of(&sluice, &dead) == "ejected" {
        answers(&sluice, 10, GET);
    }
    let ejections = sluice.log().all("endpoint ejected").len();
    let server = TcpListener::bind(&dead).unwrap();
    let back = Upstream::on(server, |exchange| {
        while exchange.request()?.is_some() {
            exchange.write(ok("back"))?;
        }
        Ok(())
    });
    let told = sluice.log().wait_for("endpoint on trial");
    assert_eq!(told.text("endpoint").as_deref(), Some(dead.as_str()));
    eventually("it gets requests again", || {
        sluice.get("/");
        (!back.requests().is_empty()).then_some(())
    });
    let told = sluice.log().wait_for("endpoint back");
    assert_eq!(told.text("endpoint").as_deref(), Some(dead.as_str()));
    assert!(ejections >= 1);
}

#[test]
fn statuses_eject_too_and_when_all_fail_all_are_asked() {
    let bad = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad";
    let (a, b) = (Upstream::answering(bad), Upstream::answering(bad));
    let more = "      balance: round-robin\n      outlierDetection: {maxEjectionPercent: 100, baseEjectionTime: 60s}\n";
    let sluice = Sluice::start(&config(&plain(&[&a, &b]), more, 1));
    eventually("both are ejected", || {
        sluice.get("/");
        let all = endpoints(&sluice);
        all.iter()
            .all(|one| one["health"] == "ejected")
            .then_some(())
    });
    let before = (a.requests().len(), b.requests().len());
    for _ in 0..10 {
        sluice.get("/").with_status(503);
    }
    assert!(a.requests().len() > before.0 && b.requests().len() > before.1);
}

#[test]
fn what_a_killed_worker_had_in_flight_is_not_in_flight_any_more() {
    let gate = Gate::closed();
    let upstream = Upstream::behind_gate(&gate, "x");
    let sluice = Sluice::start(&config(&plain(&[&upstream]), "", 1));
    let mut clients: Vec<_> = (0..5).map(|_| sluice.connect()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    let in_flight = || endpoints(&sluice)[0]["requestsInFlight"].as_u64().unwrap();
    eventually("five are in flight", || (in_flight() == 5).then_some(()));
    signal(sluice.workers()[0], Signal::SIGKILL);
    eventually("none is in flight", || (in_flight() == 0).then_some(()));
    gate.open();
    eventually("the next worker serves", || {
        (sluice.get("/").status == 200).then_some(())
    });
    assert_eq!(in_flight(), 0);
}
