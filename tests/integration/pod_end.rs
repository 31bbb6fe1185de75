//! The end of a pod under load. At the edge: told to stop, the proxy first goes on serving while
//! load balancers learn of it, then finishes what it has. Beside an application: it goes on until
//! the application has let go of it.

use std::io::ErrorKind;
use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::harness::load::{Connections, Load};
use crate::harness::sluice::config;
use crate::harness::{Client, Gate, Launch, Response, Sluice, Upstream, eventually, get};

/// Long enough to do what a test does in it on a busy machine.
const MIN_DELAY: &str = "8s";
const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const DOWNLOAD: usize = 1 << 20;

/// `/download` gives half and the rest once the gate is open, `/chat` becomes a stream that answers
/// each line, all else is answered at once.
fn application(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |exchange| {
        while let Some(request) = exchange.request()? {
            if request.head.raw.starts_with("GET /download") {
                exchange.write(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {DOWNLOAD}\r\n\r\n"
                ))?;
                exchange.write("x".repeat(DOWNLOAD / 2))?;
                gate.pass();
                exchange.write("x".repeat(DOWNLOAD / 2))?;
            } else if request.head.raw.starts_with("GET /chat") {
                exchange.write(SWITCHING)?;
                loop {
                    let line = exchange.wire.read_through(b"\n")?;
                    exchange.write(&line)?;
                }
            } else {
                exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            }
        }
        Ok(())
    })
}

fn start(upstream: &Upstream, min_delay: &str, more: &str) -> Sluice {
    let yaml = config(&upstream.url(), "").replace("workers: 1", "workers: 2");
    let launch = Launch::new(&(yaml + more));
    launch.env("SLUICE_DRAIN_MIN_DELAY", min_delay).start()
}

fn begin_download(sluice: &Sluice) -> Client {
    let mut client = sluice.connect();
    client.send("GET /download HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    client
}

fn begin_chat(sluice: &Sluice) -> Client {
    let mut client = sluice.connect();
    client.send(UPGRADE);
    assert_eq!(client.head().status(), 101);
    say(&mut client, "hello");
    client
}

#[track_caller]
fn say(chat: &mut Client, word: &str) {
    let line = format!("{word}\n");
    chat.send(&line);
    assert_eq!(chat.read_through("\n"), line);
}

/// Asks for it to end, and waits until it says so.
fn terminate(sluice: &Sluice, signal: Signal) {
    sluice.signal(signal);
    sluice.log().wait_for("draining");
}

fn readiness(sluice: &Sluice) -> u16 {
    get(sluice.admin(), "/readyz").status
}

#[track_caller]
fn wait_until_refused(sluice: &Sluice) {
    eventually("new connections are refused", || {
        match TcpStream::connect(sluice.address()) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Some(()),
            _ => None,
        }
    });
}

fn is_served(response: &Response) -> bool {
    response.status == 200 && response.text() == "ok"
}

#[test]
fn at_the_edge_everything_in_flight_ends_by_itself() {
    let gate = Gate::closed();
    let upstream = application(&gate);
    let mut sluice = start(&upstream, MIN_DELAY, "");
    let new = Load::start(sluice.address(), Connections::New, 4, is_served);
    new.wait_for_more(50);
    let mut download = begin_download(&sluice);
    let mut chat = begin_chat(&sluice);
    let mut kept = sluice.connect();
    assert_eq!(kept.get("/").header("connection"), None);
    assert_eq!(readiness(&sluice), 200);

    terminate(&sluice, Signal::SIGTERM);
    assert_eq!(readiness(&sluice), 503);
    // Load balancers do not know yet: whoever comes is served, and told to go.
    new.wait_for_more(50);
    assert_eq!(new.stop().len(), 0);
    assert_eq!(kept.get("/").header("connection"), Some("close"));
    say(&mut chat, "still there");

    wait_until_refused(&sluice);
    say(&mut chat, "and still");
    gate.open();
    let body = download.wire.read_exact(DOWNLOAD).unwrap();
    assert!(body.iter().all(|byte| *byte == b'x'));
    drop(chat);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
    assert_eq!(sluice.log().all("drained").len(), 1);
}

#[test]
fn at_the_edge_what_does_not_end_is_cut_off_at_the_timeout() {
    let gate = Gate::closed();
    let upstream = application(&gate);
    let mut sluice = start(&upstream, "100ms", "drain:\n  timeout: 500ms\n");
    let _download = begin_download(&sluice);
    let _chat = begin_chat(&sluice);
    terminate(&sluice, Signal::SIGTERM);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
}

#[test]
fn an_interrupt_does_not_wait_for_load_balancers() {
    let upstream = Upstream::saying("ok");
    // Longer than any test waits.
    let mut sluice = start(&upstream, "1h", "");
    terminate(&sluice, Signal::SIGINT);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
}

#[test]
fn a_worker_that_dies_while_load_balancers_learn_is_replaced() {
    let upstream = Upstream::saying("ok");
    let mut sluice = start(&upstream, MIN_DELAY, "");
    terminate(&sluice, Signal::SIGTERM);
    for worker in sluice.workers() {
        crate::harness::process::signal(worker, Signal::SIGKILL);
    }
    assert_eq!(sluice.get("/").with_status(200).text(), "ok");
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
}

#[test]
fn a_sidecar_serves_until_the_applications_last_connection_has_ended() {
    let gate = Gate::closed();
    let upstream = application(&gate);
    let mut sluice = start(
        &upstream,
        "0s",
        "lifecycle: sidecar\ndrain:\n  timeout: 1h\n",
    );
    let mut kept = sluice.connect();
    kept.get("/").with_status(200);
    terminate(&sluice, Signal::SIGTERM);
    assert_eq!(readiness(&sluice), 503);
    // On its connection, and on new ones, and nothing tells it to close them.
    for _ in 0..10 {
        assert_eq!(kept.get("/").with_status(200).header("connection"), None);
        let another = sluice.get("/");
        assert_eq!(another.with_status(200).header("connection"), None);
    }
    drop(kept);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
}

#[test]
fn a_sidecar_ends_at_the_timeout() {
    let upstream = Upstream::saying("ok");
    let mut sluice = start(
        &upstream,
        "0s",
        "lifecycle: sidecar\ndrain:\n  timeout: 500ms\n",
    );
    let mut kept = sluice.connect();
    kept.get("/").with_status(200);
    terminate(&sluice, Signal::SIGTERM);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
}

#[test]
fn a_sidecar_without_connections_waits_as_long_as_it_is_told_to() {
    let upstream = Upstream::saying("ok");
    let mut sluice = start(&upstream, "5s", "lifecycle: sidecar\n");
    let started = std::time::Instant::now();
    terminate(&sluice, Signal::SIGTERM);
    // The application may still open its first.
    assert_eq!(sluice.get("/").with_status(200).text(), "ok");
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
    assert!(started.elapsed().as_secs() >= 5, "it did not wait");
}

#[test]
fn a_job_ends_the_proxy_when_its_work_is_done() {
    let upstream = Upstream::saying("ok");
    let mut sluice = start(&upstream, "1h", "lifecycle: sidecar\n");
    sluice.get("/").with_status(200);
    let quit = "POST /quitquitquit HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let answer = crate::harness::request(sluice.admin(), quit);
    assert!(answer.status < 300, "{}", answer.text());
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
}
