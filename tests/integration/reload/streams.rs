//! What lasts longer than a generation.

use super::{post, status};
use crate::harness::sluice::config;
use crate::harness::{Gate, Sluice, Upstream, eventually};

/// A response whose end waits until the test opens the gate.
fn long_response(gate: &Gate) -> Upstream {
    let inside = gate.clone();
    Upstream::start(move |exchange| {
        exchange.request()?;
        exchange.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        inside.pass();
        exchange.write("4\r\nlast\r\n0\r\n\r\n")
    })
}

#[test]
fn a_long_response_survives_the_removal_of_its_upstream_and_of_its_worker() {
    let gate = Gate::closed();
    let upstream = long_response(&gate);
    let sluice = Sluice::start(&config(&upstream.url(), "").replace("workers: 1", "workers: 3"));
    let mut streams: Vec<_> = (0..12).map(|_| sluice.connect()).collect();
    for stream in &mut streams {
        stream.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.read_through("first\r\n");
    }
    for _ in 0..5 {
        sluice.rewrite(&config("builtin://echo", ""));
        assert_eq!(post(&sluice, "/reload").status, 200);
        sluice.rewrite(&config(&upstream.url(), ""));
        assert_eq!(post(&sluice, "/reload").status, 200);
    }
    assert!(status(&sluice)["generation"].as_u64().unwrap() >= 11);
    gate.open();
    for stream in &mut streams {
        stream.read_through("last\r\n0\r\n\r\n");
    }
    eventually("the workers that were too many have ended", || {
        (sluice.workers().len() == 1).then_some(())
    });
}

#[test]
fn an_upgraded_connection_survives_reloads() {
    let upstream = Upstream::start(|exchange| {
        exchange.head()?;
        exchange.write(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
        )?;
        loop {
            let line = exchange.wire.read_through(b"\n")?;
            exchange.write(line)?;
        }
    });
    let sluice = Sluice::start(&config(&upstream.url(), ""));
    let mut socket = sluice.connect();
    socket.send("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    assert!(socket.head().start_line.contains("101"));
    for round in 0..5 {
        sluice.rewrite(&config(
            "builtin://echo",
            &format!("errorHeader: {}", round % 2 == 0),
        ));
        assert_eq!(post(&sluice, "/reload").status, 200);
        socket.send(format!("round {round}\n"));
        assert_eq!(socket.read_through("\n"), format!("round {round}\n"));
    }
}

#[test]
fn orphaned_streams_are_broken_off_where_the_config_says_so_and_others_go_on() {
    let (gate, kept_gate) = (Gate::closed(), Gate::closed());
    let (gone, kept) = (long_response(&gate), long_response(&kept_gate));
    let both = |rules: &str| {
        format!(
            "server:\n  listen: 127.0.0.1:0\n  workers: 1\n  upstreams:\n    - {{id: gone, url: '{}'}}\n    \
             - {{id: kept, url: '{}'}}\n  rules:\n{rules}    - {{path: /kept, upstreams: [kept]}}\n\
             reload:\n  orphanedStreams: drain\ndrain:\n  timeout: 500ms\n",
            gone.url(),
            kept.url(),
        )
    };
    let sluice = Sluice::start(&both("    - {path: /gone, upstreams: [gone]}\n"));
    let mut streams: Vec<_> = ["/gone", "/gone", "/gone", "/kept"]
        .map(|path| {
            let mut stream = sluice.connect();
            stream.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
            stream.read_through("first\r\n");
            stream
        })
        .into();
    sluice.rewrite(&both(""));
    assert_eq!(post(&sluice, "/reload").status, 200);
    let mut last = streams.pop().unwrap();
    for stream in &mut streams {
        stream.assert_ended();
    }
    kept_gate.open();
    last.read_through("last\r\n0\r\n\r\n");
    gate.open();
}
