//! The life and death of the processes: a worker that is killed takes only its own requests along, a
//! program that is told to stop finishes what it has begun.

use std::io;
use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::harness::load::{Connections, Failure, Load, visit_until_refused};
use crate::harness::process::{is_alive, signal};
use crate::harness::sluice::Launch;
use crate::harness::upstream::ok;
use crate::harness::{Client, Gate, Sluice, Upstream, eventually};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn with_workers(upstream: &Upstream, workers: usize, more: &str) -> Sluice {
    let yaml = crate::harness::sluice::config(&upstream.url(), "");
    Sluice::start(&(yaml.replace("workers: 1", &format!("workers: {workers}")) + more))
}

/// An upstream that answers half, then the rest once the gate is open.
fn halved(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |exchange| {
        while exchange.request()?.is_some() {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")?;
            gate.pass();
            exchange.write("56789")?;
        }
        Ok(())
    })
}

/// Kills one worker with SIGKILL and waits until it is gone; gives back when that was seen.
fn kill_one(sluice: &Sluice) -> Instant {
    let victim = sluice.workers()[0];
    signal(victim, Signal::SIGKILL);
    eventually("the killed worker is gone", || {
        (!is_alive(victim)).then(Instant::now)
    })
}

#[test]
fn each_worker_is_a_process_below_the_supervisor() {
    let upstream = Upstream::saying("ok");
    let sluice = with_workers(&upstream, 3, "");
    assert_eq!(sluice.workers().len(), 3);
    let started = sluice.log().all("worker started");
    let mut slots: Vec<u64> = started.iter().map(|event| event.number("slot")).collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2]);
    let mut logged: Vec<u64> = started.iter().map(|event| event.number("pid")).collect();
    let mut living: Vec<u64> = sluice.workers().into_iter().map(u64::from).collect();
    logged.sort_unstable();
    living.sort_unstable();
    assert_eq!(logged, living);
}

#[test]
fn each_log_line_says_which_process_wrote_it() {
    let upstream = Upstream::saying("ok");
    let mut sluice = with_workers(&upstream, 1, "");
    sluice.signal(Signal::SIGTERM);
    sluice.wait_for_exit();
    sluice.log().wait_for_end();
    let events = sluice.log().events();
    assert!(events.len() > 2, "{events:#?}");
    for event in &events {
        let process = event
            .text("process")
            .unwrap_or_else(|| panic!("no process in {event:?}"));
        assert!(
            ["supervisor", "worker-0"].contains(&process.as_str()),
            "{process}"
        );
    }
}

#[test]
fn a_killed_worker_takes_only_its_own_requests_along() {
    let clients = 8;
    let upstream = Upstream::saying("ok");
    let sluice = with_workers(&upstream, 2, "");
    let right = |response: &crate::harness::Response| response.status == 200;
    let new = Load::start(sluice.address(), Connections::New, clients, right);
    let kept = Load::start(sluice.address(), Connections::Kept, clients, right);
    new.wait_for_more(200);
    kept.wait_for_more(200);
    let mut gone = Vec::new();
    for round in 0..3 {
        gone.push(kill_one(&sluice));
        new.wait_for_more(200);
        kept.wait_for_more(200);
        eventually("the worker is replaced", || {
            (sluice.workers().len() == 2).then_some(())
        });
        assert!(
            new.failures().len() <= (round + 1) * clients,
            "{:#?}",
            new.failures()
        );
    }
    let failures = [new.stop(), kept.stop()].concat();
    // At most one for each client and death, and none on a connection opened after a death was over
    // and before the next began.
    assert!(failures.len() <= 3 * 2 * clients, "{failures:#?}");
    let after = |failure: &&Failure| {
        failure.connections == Connections::New && gone.iter().all(|gone| failure.began > *gone)
    };
    assert_eq!(
        failures.iter().find(after).map(|f| &f.why),
        None,
        "a new connection was not served"
    );
}

#[test]
fn connections_in_the_queue_of_a_dead_worker_are_served_by_its_replacement() {
    let upstream = Upstream::saying("ok");
    let sluice = with_workers(&upstream, 1, "");
    let victim = sluice.workers()[0];
    // Stopped, it accepts nothing: these wait in the socket when it dies.
    signal(victim, Signal::SIGSTOP);
    let mut waiting: Vec<Client> = (0..20).map(|_| sluice.connect()).collect();
    for client in &mut waiting {
        client.send(GET);
    }
    signal(victim, Signal::SIGKILL);
    for client in &mut waiting {
        client.response("GET").with_status(200);
    }
    assert_ne!(sluice.workers(), [victim]);
}

#[test]
fn requests_of_the_other_workers_go_on_when_one_is_killed() {
    let gate = Gate::closed();
    let upstream = halved(&gate);
    let sluice = with_workers(&upstream, 2, "");
    let mut clients: Vec<Client> = (0..16).map(|_| sluice.connect()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    upstream.wait_for_requests(16);
    kill_one(&sluice);
    gate.open();
    let answers: Vec<io::Result<_>> = clients.iter_mut().map(|c| c.try_response("GET")).collect();
    let whole = answers.iter().filter(|answer| answer.is_ok()).count();
    // The kernel spreads connections by hash: 16 on one of two workers happens once in 32,768 runs.
    assert!((1..16).contains(&whole), "{whole} of 16 survived");
    for answer in answers.into_iter().flatten() {
        assert_eq!(answer.text(), "0123456789");
    }
}

#[test]
fn term_finishes_what_is_in_flight_and_exits_with_0() {
    let gate = Gate::closed();
    let upstream = halved(&gate);
    let mut sluice = with_workers(&upstream, 2, "");
    let mut idle = sluice.connect();
    let mut busy = sluice.connect();
    busy.send(GET);
    busy.read_through("01234");
    sluice.signal(Signal::SIGTERM);
    sluice.log().wait_for("draining");
    assert!(
        idle.wire.read_to_end().unwrap().is_empty(),
        "idle connections are closed"
    );
    assert!(sluice.workers().len() < 3, "nothing new is started");
    gate.open();
    busy.read_through("56789");
    let status = sluice.wait_for_exit();
    assert_eq!(status.code(), Some(0), "{status}");
    sluice.log().wait_for_end();
}

#[test]
fn whoever_was_let_in_before_the_end_is_served() {
    let upstream = Upstream::saying("ok");
    for _ in 0..10 {
        let mut sluice = with_workers(&upstream, 2, "");
        let address = sluice.address();
        let visitors: Vec<_> = (0..4)
            .map(|_| thread::spawn(move || visit_until_refused(address)))
            .collect();
        upstream.wait_for_requests(20);
        signal(sluice.pid(), Signal::SIGTERM);
        for visitor in visitors {
            visitor.join().unwrap();
        }
        assert_eq!(sluice.wait_for_exit().code(), Some(0));
    }
}

#[test]
fn quit_and_int_stop_it_as_term_does() {
    for told in [Signal::SIGQUIT, Signal::SIGINT] {
        let upstream = Upstream::saying("ok");
        let mut sluice = with_workers(&upstream, 1, "");
        sluice.get("/").with_status(200);
        sluice.signal(told);
        assert_eq!(sluice.wait_for_exit().code(), Some(0), "{told}");
    }
}

#[test]
fn a_request_that_arrives_on_a_kept_connection_while_draining_is_answered_or_never_begun() {
    let upstream = Upstream::saying("ok");
    let mut sluice = with_workers(&upstream, 1, "");
    let load = Load::start(sluice.address(), Connections::Kept, 4, |r| r.status == 200);
    load.wait_for_more(100);
    sluice.signal(Signal::SIGTERM);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
    let failures = load.stop();
    let broken = |failure: &&Failure| failure.why.contains("in the middle");
    assert_eq!(
        failures.iter().find(broken).map(|failure| &failure.why),
        None
    );
}

#[test]
fn the_deadline_of_a_drain_ends_what_does_not_end_by_itself() {
    let gate = Gate::closed();
    let upstream = halved(&gate);
    let mut sluice = with_workers(&upstream, 1, "drain:\n  timeout: 300ms\n");
    let mut stuck = sluice.connect();
    stuck.send(GET);
    stuck.read_through("01234");
    sluice.signal(Signal::SIGTERM);
    sluice.wait_for_exit();
    assert!(stuck.wire.read_exact(5).is_err(), "the answer never ended");
    sluice.log().wait_for_end();
}

#[test]
fn a_second_int_stops_at_once() {
    let gate = Gate::closed();
    let upstream = halved(&gate);
    let mut sluice = with_workers(&upstream, 1, "");
    let mut stuck = sluice.connect();
    stuck.send(GET);
    stuck.read_through("01234");
    sluice.signal(Signal::SIGINT);
    sluice.log().wait_for("draining");
    sluice.signal(Signal::SIGINT);
    sluice.wait_for_exit();
    assert!(stuck.wire.read_exact(5).is_err());
}

#[test]
fn workers_whose_supervisor_is_killed_drain_and_exit() {
    let gate = Gate::closed();
    let upstream = halved(&gate);
    let mut sluice = with_workers(&upstream, 2, "");
    let workers = sluice.workers();
    assert_eq!(workers.len(), 2);
    let mut busy = sluice.connect();
    busy.send(GET);
    busy.read_through("01234");
    sluice.signal(Signal::SIGKILL);
    sluice.wait_for_exit();
    eventually("the idle worker exits", || {
        (workers.iter().filter(|worker| is_alive(**worker)).count() <= 1).then_some(())
    });
    gate.open();
    busy.read_through("56789");
    eventually("both workers exit", || {
        workers
            .iter()
            .all(|worker| !is_alive(*worker))
            .then_some(())
    });
    sluice.log().wait_for_end();
}

#[test]
fn a_worker_that_keeps_dying_is_replaced_ever_more_slowly_and_never_given_up() {
    let upstream = Upstream::saying("ok");
    let sluice = with_workers(&upstream, 1, "");
    for death in 1..=4 {
        let victim = eventually("a worker lives", || sluice.workers().first().copied());
        signal(victim, Signal::SIGKILL);
        eventually("another takes its place", || {
            let exited = sluice.log().all("worker exited").len();
            let now = sluice.workers();
            (exited >= death && now.first().is_some_and(|pid| *pid != victim)).then_some(())
        });
    }
    sluice.get("/").with_status(200);
}

#[test]
fn workers_auto_starts_at_least_one() {
    let upstream = Upstream::saying("ok");
    let yaml = crate::harness::sluice::config(&upstream.url(), "");
    let sluice = Sluice::start(&yaml.replace("workers: 1", "workers: auto"));
    assert!(!sluice.workers().is_empty());
    sluice.get("/").with_status(200);
}

#[test]
fn an_address_that_is_taken_is_an_error_at_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let yaml = crate::harness::sluice::config("builtin://echo", "");
    let yaml = yaml.replace("127.0.0.1:0", &address.to_string());
    let mut sluice = Launch::new(&yaml).spawn();
    assert_eq!(sluice.wait_for_exit().code(), Some(1));
    sluice.log().wait_for_end();
    let log = sluice.log().text();
    assert!(
        log.contains(&address.to_string()),
        "the address is not named in\n{log}"
    );
}

#[test]
fn an_invalid_config_at_start_exits_with_1_and_all_its_errors() {
    let yaml = "server:\n  listen: 127.0.0.1:0\n  upstreams: []\n  rules:\n    - path: '('\n      \
                upstreams: [nobody]\n";
    let mut sluice = Launch::new(yaml).spawn();
    assert_eq!(sluice.wait_for_exit().code(), Some(1));
    sluice.log().wait_for_end();
    let log = sluice.log().text();
    for part in [
        "server.rules[0].path",
        "server.rules[0].upstreams[0]",
        "nobody",
    ] {
        assert!(log.contains(part), "{part} is not in\n{log}");
    }
}

#[test]
fn the_middle_of_a_long_answer_survives_the_death_of_another_worker_and_term() {
    let (gate, half) = (Gate::closed(), "x".repeat(100_000));
    let (inside, text) = (gate.clone(), half.clone());
    let upstream = Upstream::start(move |exchange| {
        let Some(request) = exchange.request()? else {
            return Ok(());
        };
        if request.head.target() == "/quick" {
            return exchange.write(ok("quick"));
        }
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n{text}"
        ))?;
        inside.pass();
        exchange.write(&text)
    });
    let mut sluice = with_workers(&upstream, 1, "");
    let mut long = sluice.connect();
    long.send(GET);
    long.read_through(&half);
    sluice.get("/quick").with_status(200);
    sluice.signal(Signal::SIGTERM);
    sluice.log().wait_for("draining");
    gate.open();
    long.read_through(&half);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
}

#[test]
fn an_edited_file_is_served_on_the_connections_that_are_open() {
    let (old, new) = (Upstream::saying("old"), Upstream::saying("new"));
    let sluice = with_workers(&old, 2, "");
    let mut client = sluice.connect();
    assert_eq!(client.get("/").text(), "old");
    let yaml = crate::harness::sluice::config(&new.url(), "");
    sluice.rewrite(&yaml.replace("workers: 1", "workers: 2"));
    eventually("the edited config is served", || {
        (client.get("/").with_status(200).text() == "new").then_some(())
    });
    sluice.settle();
    assert_eq!(sluice.get("/").text(), "new");
}
