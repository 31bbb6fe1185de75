//! A new binary takes the place of the one that runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use nix::sys::signal::Signal;

use super::{config, echoed, generation, post, reload, start, status, wait_until_all_serve};
use crate::harness::load::{Connections, Load};
use crate::harness::{Client, Launch, Response, Sluice, Upstream, client, eventually, process};

/// Requests that were ever counted.
fn counted(sluice: &Sluice) -> u64 {
    let page = Client::connect(sluice.admin()).get("/metrics").text();
    let counts = page
        .lines()
        .filter(|line| line.starts_with("sluice_http_requests_total{"));
    let count = |line: &str| {
        line.rsplit(' ')
            .next()
            .and_then(|n| n.parse::<f64>().ok())
            .unwrap()
    };
    counts.map(|line| count(line) as u64).sum()
}

#[test]
fn usr2_hands_everything_over_and_no_connection_is_refused() {
    let mut sluice = start(&config(1, 2));
    let fine = |response: &Response| response.status == 200;
    let new = Load::start(sluice.address(), Connections::New, 3, fine);
    let kept = Load::start(sluice.address(), Connections::Kept, 3, fine);
    new.wait_for_more(50);
    kept.wait_for_more(50);
    let before = counted(&sluice);

    sluice.signal(Signal::SIGUSR2);
    sluice.log().wait_for("the successor serves, draining");
    assert_eq!(
        sluice.wait_for_exit().code(),
        Some(0),
        "the old one has drained"
    );
    new.wait_for_more(50);
    let failures = new.stop();
    assert!(failures.is_empty(), "{failures:#?}");
    // A kept connection may be closed under a request that was just sent; it is never refused.
    let refused = kept
        .stop()
        .into_iter()
        .filter(|failure| failure.why.contains("refused"));
    assert_eq!(refused.count(), 0);

    let seen = status(&sluice);
    let successor = u32::try_from(seen["pid"].as_u64().unwrap()).unwrap();
    assert_ne!(successor, sluice.pid());
    assert_eq!(seen["generation"], 2, "numbers go on");
    assert!(counted(&sluice) > before, "counters never go backwards");

    assert_eq!(reload(&sluice, &config(3, 3)).status, 200);
    wait_until_all_serve(&sluice, 3);
    assert_eq!(sluice.get("/").status, 200);
    end(successor);
}

/// Ends a supervisor that a test has not started itself.
fn end(pid: u32) {
    process::signal(pid, Signal::SIGINT);
    eventually("the successor drains as well", || {
        (!process::is_alive(pid)).then_some(())
    });
}

#[test]
fn a_pin_and_the_history_outlive_the_binary() {
    let mut sluice = start(&config(1, 1));
    assert_eq!(reload(&sluice, &config(2, 1)).status, 200);
    let broken = config(3, 1).replace("[echo]", "[nobody]");
    assert_eq!(reload(&sluice, &broken).status, 422);
    assert_eq!(reload(&sluice, &config(4, 1)).status, 200);
    assert_eq!(post(&sluice, "/rollback?generation=1").status, 200);
    let before = status(&sluice);
    sluice.signal(Signal::SIGUSR2);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));

    let mark = || echoed(&sluice.get("/"), "x-mark").unwrap();
    let after = status(&sluice);
    let successor = u32::try_from(after["pid"].as_u64().unwrap()).unwrap();
    assert_eq!((mark().as_str(), &after["pinned"]), ("1", &1.into()));
    let known = after["history"].as_array().unwrap();
    assert_eq!(known.len(), 6, "{after}");
    assert_eq!(known[1..], before["history"].as_array().unwrap()[..]);
    assert!(post(&sluice, "/reload").text().contains("pinned"));

    assert_eq!(post(&sluice, "/rollback?generation=2").status, 200);
    assert_eq!(mark(), "2", "of the old binary's, and it never had it");
    assert_eq!(post(&sluice, "/unpin").status, 200);
    assert_eq!(mark(), "4", "the file");
    end(successor);
}

#[test]
fn a_pin_ends_with_the_contents_that_it_outlasted() {
    let mut sluice = start(&config(1, 1).replace("10ms", "1h"));
    let slow = |mark| config(mark, 1).replace("10ms", "1h");
    assert_eq!(reload(&sluice, &slow(2)).status, 200);
    assert_eq!(post(&sluice, "/rollback").status, 200);
    // Not noticed before the new binary reads it.
    sluice.rewrite(&slow(3));
    sluice.signal(Signal::SIGUSR2);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
    let after = status(&sluice);
    assert!(after["pinned"].is_null(), "{after}");
    assert_eq!(echoed(&sluice.get("/"), "x-mark").as_deref(), Some("3"));
    end(u32::try_from(after["pid"].as_u64().unwrap()).unwrap());
}

#[test]
fn a_successor_that_cannot_serve_leaves_the_old_one_serving() {
    let sluice = start(&config(1, 1));
    sluice.rewrite(&config(2, 1).replace("[echo]", "[nobody]"));
    assert_eq!(post(&sluice, "/reload").status, 422);
    sluice.signal(Signal::SIGUSR2);
    sluice
        .log()
        .wait_for("the successor did not become ready, going on");
    assert_eq!(sluice.get("/").status, 200);
    assert_eq!(generation(&sluice), 1);
    assert_eq!(status(&sluice)["pid"], sluice.pid());
    assert_eq!(reload(&sluice, &config(3, 1)).status, 200);
}

/// The old one begins nothing that it has not handed over, so no number is given by both.
#[test]
fn edits_while_a_successor_starts_get_numbers_of_their_own() {
    let sluice = start(&config(1, 1));
    let mut serving = sluice.pid();
    for mark in 2..8 {
        process::signal(serving, Signal::SIGUSR2);
        sluice.rewrite(&config(mark, 1));
        serving = eventually("the successor serves the edit", || {
            let pid = u32::try_from(status(&sluice)["pid"].as_u64()?).ok()?;
            let seen = echoed(&sluice.get("/"), "x-mark")?;
            (pid != serving && seen == mark.to_string()).then_some(pid)
        });
        eventually("the one before has gone, and it is settled", || {
            (post(&sluice, "/reload").status == 200).then_some(())
        });
    }
    let refused = sluice.log().all("reload rejected");
    assert!(refused.is_empty(), "{refused:?}");
    let done = sluice.log().all("reload done");
    let numbers: Vec<u64> = done.iter().map(|it| it.number("generation")).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    end(serving);
}

/// In the place of the program comes one that takes its time, and fails.
#[test]
fn an_edit_that_waits_for_a_successor_is_served_when_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let [program, other, gate] = ["sluice", "other", "gate"].map(|name| folder.path().join(name));
    fs::copy(Launch::PROGRAM, &program).unwrap();
    let sluice = Launch::new(&config(1, 1)).program(&program).start();
    fs::write(&gate, "closed").unwrap();
    let wait = format!(
        "#!/bin/sh\nwhile [ -e {} ]; do sleep 0.02; done\n",
        gate.display()
    );
    fs::write(&other, wait).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(other, program).unwrap();

    sluice.signal(Signal::SIGUSR2);
    sluice.log().wait_for("successor started");
    thread::scope(|scope| {
        let edit = scope.spawn(|| reload(&sluice, &config(2, 1)));
        sluice.log().wait_for("asked by an operator");
        assert_eq!(sluice.get("/").status, 200);
        assert_eq!(generation(&sluice), 1, "nothing begins meanwhile");
        fs::remove_file(&gate).unwrap();
        let answer = edit.join().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    });
    let told = "the successor did not become ready, going on";
    assert_eq!(sluice.log().all(told).len(), 1);
    assert_eq!(generation(&sluice), 2);
}

/// A container of its own: process 1 is the supervisor that is replaced.
const CONTAINER: [&str; 6] = [
    "unshare",
    "--user",
    "--map-root-user",
    "--pid",
    "--fork",
    "--mount-proc",
];

#[test]
fn process_1_stays_for_its_successors_and_passes_signals_on() {
    let possible = std::process::Command::new(CONTAINER[0])
        .args(&CONTAINER[1..])
        .arg("true")
        .output();
    if !possible.is_ok_and(|tried| tried.status.success()) {
        return eprintln!("skipped: this machine lets nobody make process namespaces");
    }
    let mut sluice = Launch::new(&config(1, 2)).under(&CONTAINER).start();
    let first = sluice.workers()[0];
    let load = Load::start(sluice.address(), Connections::New, 3, |r| r.status == 200);
    load.wait_for_more(50);
    let mut serving = status(&sluice)["pid"].clone();
    assert_eq!(serving, 1);
    for replaced in 1..=3 {
        process::signal(first, Signal::SIGUSR2);
        eventually(
            "the one before has drained, and process 1 follows another",
            || (sluice.log().all("process 1 stands by").len() == replaced).then_some(()),
        );
        let now = status(&sluice)["pid"].clone();
        assert_ne!(now, serving);
        serving = now;
        load.wait_for_more(50);
    }
    process::signal(first, Signal::SIGHUP);
    sluice.log().wait_for("configuration unchanged");
    let failures = load.stop();
    assert!(failures.is_empty(), "{failures:#?}");
    process::signal(first, Signal::SIGTERM);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
    sluice.log().wait_for_end();
}

#[test]
fn what_is_known_of_endpoints_and_clients_outlives_the_binary() {
    let [a, b, c] = ["a", "b", "c"].map(Upstream::saying);
    let failing = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad";
    let bad = Upstream::answering(failing);
    // Nobody listens on the port that it is checked on.
    let dead = crate::harness::port::free_address().port();
    let urls = [a.url(), b.url(), bad.url()].join("', '");
    let yaml = format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 2\n  upstreams:\n    - id: app\n      servers: ['{urls}']\n      \
         balance: round-robin\n      sticky: {{cookie: at}}\n      \
         outlierDetection: {{baseEjectionTime: 1h, maxEjectionTime: 1h}}\n    \
         - id: checked\n      servers: ['{}', '{}']\n      \
         healthCheck: {{type: tcp, port: {dead}, interval: 1h, unhealthyThreshold: 1}}\n  rules:\n    \
         - {{path: /checked, upstreams: [checked]}}\n    - {{path: /, upstreams: [app]}}\n",
        c.url(),
        b.url(),
    );
    let mut sluice = Sluice::start(&yaml);
    let health = |sluice: &Sluice| {
        let seen = client::get(sluice.admin(), "/upstreams").json();
        let upstreams = seen["upstreams"].as_array().unwrap().clone();
        let endpoints = upstreams
            .iter()
            .flat_map(|one| one["endpoints"].as_array().unwrap().clone());
        let health = |one: serde_json::Value| one["health"].as_str().unwrap().to_owned();
        endpoints.map(health).collect::<Vec<_>>()
    };
    let known = ["unknown", "unknown", "ejected", "unhealthy", "unhealthy"];
    eventually("one is ejected and two are unhealthy", || {
        sluice.get("/");
        (health(&sluice) == known).then_some(())
    });
    let first = sluice.get("/").with_status(200);
    let cookie = first.header("set-cookie").unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let keeps = |sluice: &Sluice| {
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\n\r\n");
        for _ in 0..10 {
            let answer = sluice.request(&request).with_status(200);
            assert_eq!(answer.text(), first.text());
            assert_eq!(answer.header("set-cookie"), None);
        }
    };
    keeps(&sluice);
    let tried = bad.requests().len();

    sluice.signal(Signal::SIGUSR2);
    sluice.log().wait_for("the successor serves, draining");
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
    assert_eq!(health(&sluice), known);
    keeps(&sluice);
    for _ in 0..20 {
        sluice.get("/").with_status(200);
    }
    assert_eq!(
        bad.requests().len(),
        tried,
        "it is out for the successor too"
    );
    let successor = u32::try_from(status(&sluice)["pid"].as_u64().unwrap()).unwrap();
    end(successor);
}
