//! HTTP/2 with upstreams: what they are sent, which connections it takes, and how those end.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::harness::foreign::find;
use crate::harness::http2::{
    CANCEL, DATA, END_STREAM, GOAWAY, Http2, RST_STREAM, frame, headers, request, reset, response,
};
use crate::harness::port::free_address;
use crate::harness::{Gate, Sluice, eventually};

/// An upstream of HTTP/2, frame by frame, and how many connections it has had.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Runs `serve` for each connection, counted from 1, in a thread of its own.
    fn start(
        settings: &'static [(u16, u32)],
        serve: impl Fn(usize, &mut Http2) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::<AtomicUsize>::default();
        let (count, serve) = (Arc::clone(&connections), Arc::new(serve));
        thread::spawn(move || {
            while let Ok(mut connection) = Http2::accept(&listener, settings) {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let serve = Arc::clone(&serve);
                // One that ends is an ordinary end.
                thread::spawn(move || serve(number, &mut connection));
            }
        });
        Server { port, connections }
    }

    fn proxy(&self, upstream: &str) -> Sluice {
        let url = format!(
            "http://127.0.0.1:{}\n      protocol: h2c{upstream}",
            self.port
        );
        Sluice::start(&crate::harness::sluice::config(&url, "errorHeader: true"))
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

#[test]
fn clients_of_both_kinds_share_a_connection() {
    let server = Server::start(&[], |_, connection| {
        loop {
            let asked = connection.request()?;
            connection.offer(response(asked.stream, b"shared"))?;
        }
    });
    let sluice = server.proxy("");
    let mut client = Http2::connect(sluice.address());
    for stream in (1..40).step_by(2) {
        assert_eq!(client.get(stream, "/").text(), "shared");
        assert_eq!(sluice.get("/").with_status(200).text(), "shared");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn values_come_without_the_space_around_them() {
    let server = Server::start(&[], |_, connection| {
        loop {
            let asked = connection.request()?;
            let spaced = [(":status", "200"), ("x-space", " a\t")];
            connection.offer(headers(asked.stream, &spaced, END_STREAM))?;
        }
    });
    let answer = server.proxy("").get("/").with_status(200);
    assert!(answer.head.raw.contains("\r\nx-space: a\r\n"), "{answer:?}");
}

#[test]
fn a_change_of_protocol_that_http2_does_not_know_reaches_no_client() {
    let server = Server::start(&[], |_, connection| {
        loop {
            let asked = connection.request()?;
            let switched = headers(asked.stream, &[(":status", "101")], 0);
            connection.offer([switched, response(asked.stream, b"evil")].concat())?;
        }
    });
    let sluice = server.proxy("");
    let answer = sluice.get("/").with_status(502);
    assert_eq!(answer.header("x-sluice-error"), Some("upstream_malformed"));
    assert!(answer.interim.is_empty(), "{answer:?}");
    let mut client = Http2::connect(sluice.address());
    assert_eq!(client.get(1, "/").statuses, [502]);
}

#[test]
fn another_connection_is_opened_when_all_are_full_up_to_a_bound() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let server = Server::start(&[(3, 1)], move |_, connection| {
        loop {
            let asked = connection.request()?;
            inside.pass();
            connection.offer(response(asked.stream, b"late"))?;
        }
    });
    let http2 = "\n      http2: {maxConnections: 2, maxConcurrentStreams: 1}";
    let sluice = server.proxy(http2);
    let mut client = Http2::connect(sluice.address());
    for stream in [1, 3, 5] {
        client.send(headers(stream, &request("GET", "/"), END_STREAM));
    }
    eventually("two connections", || {
        (server.connections() == 2).then_some(())
    });
    gate.open();
    for _ in 0..3 {
        client.wait_for("an end", |frame| {
            frame.kind == DATA && frame.flags & END_STREAM != 0
        });
    }
    assert_eq!(server.connections(), 2);
}

#[test]
fn what_a_goaway_leaves_out_is_sent_again() {
    let server = Server::start(&[], |number, connection| {
        loop {
            let asked = connection.request()?;
            if number == 1 && asked.stream > 1 {
                // Nothing behind stream 1 was looked at.
                connection.offer(frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]))?;
                continue;
            }
            connection.offer(response(asked.stream, number.to_string().as_bytes()))?;
        }
    });
    let sluice = server.proxy("");
    let mut client = Http2::connect(sluice.address());
    assert_eq!(client.get(1, "/").text(), "1");
    // A POST too: it is sure that it was not seen.
    client.send(headers(3, &request("POST", "/"), 0));
    client.send(frame(DATA, END_STREAM, 3, b"body"));
    let answer = client.answer(3);
    assert_eq!(answer.text(), "2", "{answer:?}");
    assert_eq!(client.get(5, "/").text(), "2");
}

#[test]
fn a_refused_stream_is_sent_again() {
    let server = Server::start(&[], |_, connection| {
        let first = connection.request()?;
        connection.offer(reset(first.stream, 7))?;
        loop {
            let asked = connection.request()?;
            connection.offer(response(asked.stream, b"second"))?;
        }
    });
    let sluice = server.proxy("\n      retry: {on: [refused-stream], attempts: 2}");
    let mut client = Http2::connect(sluice.address());
    assert_eq!(client.get(1, "/").text(), "second");
}

#[test]
fn a_client_that_gives_up_cancels_the_stream_alone() {
    let cancelled = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&cancelled);
    let server = Server::start(&[], move |_, connection| {
        connection.request()?;
        let end = connection.wait_for("a reset", |frame| frame.kind == RST_STREAM);
        assert_eq!(end.payload, CANCEL.to_be_bytes());
        counter.fetch_add(1, Ordering::SeqCst);
        let asked = connection.request()?;
        connection.offer(response(asked.stream, b"still there"))?;
        connection.request().map(drop)
    });
    let sluice = server.proxy("");
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("GET", "/"), END_STREAM));
    eventually("the request is there", || {
        (server.connections() == 1).then_some(())
    });
    client.send(reset(1, CANCEL));
    eventually("it is cancelled", || {
        (cancelled.load(Ordering::SeqCst) == 1).then_some(())
    });
    assert_eq!(client.get(3, "/").text(), "still there");
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_reload_keeps_the_connections() {
    let server = Server::start(&[], |_, connection| {
        loop {
            let asked = connection.request()?;
            connection.offer(response(asked.stream, b"kept"))?;
        }
    });
    let sluice = server.proxy("");
    sluice.get("/").with_status(200);
    let url = format!("http://127.0.0.1:{}\n      protocol: h2c", server.port);
    sluice.rewrite(&crate::harness::sluice::config(&url, "via: true"));
    eventually("it is reloaded", || {
        (sluice.log().all("reload done").len() == 2).then_some(())
    });
    assert_eq!(
        sluice.get("/").with_status(200).header("via"),
        Some("1.1 sluice")
    );
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_dead_upstream_is_found_by_pings() {
    let server = Server::start(&[], |_, connection| {
        // Reads, and answers nothing.
        while connection.frame().is_ok() {}
        Ok(())
    });
    let keepalive = "\n      http2: {keepalive: {interval: 200ms, timeout: 200ms}}";
    let sluice = server.proxy(keepalive);
    sluice.get("/").with_status(502);
}

#[test]
fn nginx_is_spoken_to_in_http2() {
    let Some(mut nginx) = find("nginx") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    std::fs::write(folder.path().join("large"), &large).unwrap();
    let address = free_address();
    let root = folder.path().display();
    let text = format!(
        "daemon off; master_process off; pid {root}/pid; error_log {root}/error; \
         events {{}} http {{ access_log off; server {{ listen {address} http2; root {root}; }} }}"
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let mut child = nginx.arg("-c").arg(&file).spawn().unwrap();
    let url = format!("http://{address}\n      protocol: h2c");
    let sluice = Sluice::start(&crate::harness::sluice::config(&url, ""));
    eventually("nginx answers", || {
        (sluice.get("/large").status == 200).then_some(())
    });
    let over_http1 = sluice.get("/large").with_status(200);
    assert_eq!(
        over_http1.header("server").map(|name| &name[..5]),
        Some("nginx")
    );
    assert!(over_http1.body == large);
    let over_http2 = Http2::connect(sluice.address()).get(1, "/large");
    assert!(over_http2.body == large);
    sluice.get("/none").with_status(404);
    let _gone = child.kill();
    let _reaped = child.wait();
}

/// A bound on connections is none on the requests that share them.
#[test]
fn a_bound_on_connections_counts_those_that_are_shared() {
    for (bounds, streams, connections) in [
        ("maxConnections: 1", 100, 1),
        ("endpoint: {maxConnections: 1}", 100, 1),
        ("endpoint: {maxConnections: 2}", 3, 2),
        ("maxConnections: 2", 3, 2),
    ] {
        let gate = Gate::closed();
        let inside = gate.clone();
        let server = Server::start(&[], move |_, connection| {
            let mut asked = Vec::new();
            // All that will come over this connection, then the answers.
            while asked.len() < if streams == 100 { 6 } else { 3 } {
                asked.push(connection.request()?.stream);
            }
            inside.pass();
            for stream in asked {
                connection.offer(response(stream, b"served"))?;
            }
            loop {
                let asked = connection.request()?;
                connection.offer(response(asked.stream, b"served"))?;
            }
        });
        let sluice = server.proxy(&format!(
            "\n      http2: {{maxConcurrentStreams: {streams}}}\n      circuitBreaker: {{{bounds}, pendingTimeout: 20s}}"
        ));
        let mut client = Http2::connect(sluice.address());
        for stream in (1..12).step_by(2) {
            client.send(headers(stream, &request("GET", "/"), END_STREAM));
        }
        eventually("as many connections as allowed", || {
            (server.connections() == connections).then_some(())
        });
        gate.open();
        for _ in 0..6 {
            client.wait_for("an end", |frame| {
                frame.kind == DATA && frame.flags & END_STREAM != 0
            });
        }
        assert_eq!(server.connections(), connections, "{bounds}");
        assert_eq!(client.get(13, "/").text(), "served", "{bounds}");
    }
}
