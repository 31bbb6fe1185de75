//! Requests that fail at one server and are sent to another: what is tried again, what is not, and
//! that clients cannot tell as long as one server is well.

use std::net::SocketAddr;
use std::time::Instant;

use crate::harness::load::{Connections, Load};
use crate::harness::port::free_address;
use crate::harness::upstream::{Recorded, ok};
use crate::harness::{Gate, Sluice, Upstream, eventually};

/// One upstream of these servers, by one worker; `upstream` is more of its settings.
fn config(servers: &[SocketAddr], upstream: &str) -> String {
    let servers: Vec<_> = servers
        .iter()
        .map(|one| format!("'http://{one}'"))
        .collect();
    format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 1\n  errorHeader: true\n  upstreams:\n    - id: app\n      \
         servers: [{}]\n{upstream}  rules:\n    - path: /\n      upstreams: [app]\n",
        servers.join(", ")
    )
}

/// Answers every request with these bytes and closes.
fn breaking(answer: &'static str) -> Upstream {
    Upstream::start(move |exchange| {
        exchange.request()?;
        exchange.write(answer)
    })
}

fn get(sluice: &Sluice) -> u16 {
    sluice.get("/").status
}

#[test]
fn with_two_of_three_well_clients_cannot_tell() {
    for (what, broken) in [
        ("refuses", None),
        ("closes without a word", Some(breaking(""))),
        ("answers garbage", Some(breaking("garbage\r\n\r\n"))),
        (
            "breaks off in the head",
            Some(breaking("HTTP/1.1 200 OK\r\nx: ")),
        ),
    ] {
        let (one, two) = (Upstream::saying("one"), Upstream::saying("two"));
        let bad = broken.as_ref().map_or_else(free_address, Upstream::address);
        let sluice = Sluice::start(&config(&[one.address(), bad, two.address()], ""));
        for _ in 0..30 {
            assert_eq!(get(&sluice), 200, "one server {what}");
        }
        if let Some(broken) = broken {
            assert!(!broken.requests().is_empty(), "it had its chance");
        }
    }
}

#[test]
fn a_server_that_accepts_and_hangs_costs_one_try() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let hangs = Upstream::start(move |exchange| {
        exchange.request()?;
        inside.pass();
        Ok(())
    });
    let well = Upstream::saying("well");
    let servers = [hangs.address(), well.address()];
    let sluice = Sluice::start(&config(&servers, "      timeouts: {perTry: 200ms}\n"));
    for _ in 0..4 {
        assert_eq!(get(&sluice), 200);
    }
    assert!(!hangs.requests().is_empty(), "it had its chance");
    gate.open();
}

#[test]
fn what_no_server_has_seen_is_sent_elsewhere_whatever_it_is() {
    let well = Upstream::per_request(|request| ok(&String::from_utf8_lossy(&request.body)));
    let sluice = Sluice::start(&config(&[free_address(), well.address()], ""));
    for number in 0..10 {
        let body = format!("order {number}");
        let length = body.len();
        let post = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
        assert_eq!(sluice.request(post).with_status(200).text(), body);
    }
    assert_eq!(well.requests().len(), 10);
}

#[test]
fn what_a_server_may_have_acted_on_is_not_sent_again() {
    let breaks = breaking("");
    let well = Upstream::saying("well");
    let sluice = Sluice::start(&config(&[breaks.address(), well.address()], ""));
    let answers: Vec<u16> = (0..10)
        .map(|number| {
            let post =
                format!("POST /{number} HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc");
            sluice.request(post).status
        })
        .collect();
    assert!(
        answers.contains(&502) && answers.contains(&200),
        "{answers:?}"
    );
    let mut seen: Vec<String> = [&breaks, &well]
        .iter()
        .flat_map(|server| server.requests())
        .map(|request| request.head.target().to_owned())
        .collect();
    seen.sort();
    let expected: Vec<String> = (0..10).map(|number| format!("/{number}")).collect();
    assert_eq!(seen, expected, "each reached one server once");
}

/// A request with a body that reaches a server which breaks, and then the other.
fn sent_twice(method: &str, upstream: &str, length: usize) -> (u16, Vec<Recorded>) {
    let breaks = breaking("");
    let well = Upstream::saying("well");
    let servers = [breaks.address(), well.address()];
    let sluice = Sluice::start(&config(&servers, upstream));
    let body = "b".repeat(length);
    let request =
        format!("{method} / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
    let mut status = 0;
    // Whose turn is first is the balancer's business; by the second it was the one that breaks.
    for _ in 0..2 {
        status = sluice.request(&request).status;
        if !breaks.requests().is_empty() {
            break;
        }
    }
    assert!(!breaks.requests().is_empty());
    (status, well.requests())
}

#[test]
fn a_small_body_is_sent_again_whole_and_a_large_one_is_not() {
    let small = "      retry: {bufferBytes: 2KiB}\n";
    let (status, requests) = sent_twice("PUT", small, 2048);
    assert_eq!(status, 200);
    assert!(
        requests
            .iter()
            .all(|request| request.body == vec![b'b'; 2048])
    );
    let (status, _) = sent_twice("PUT", small, 100_000);
    assert_eq!(status, 502);
    let told = "      retry: {on: [reset], methods: [POST]}\n";
    let (status, requests) = sent_twice("POST", told, 50_000);
    assert_eq!(status, 200);
    assert!(requests.iter().all(|request| request.body.len() == 50_000));
    let (status, _) = sent_twice("GET", "      retry: {attempts: 1}\n", 0);
    assert_eq!(status, 502);
}

fn status_503(text: &str) -> String {
    let length = text.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: {length}\r\nx-from: app\r\n\r\n{text}"
    )
}

#[test]
fn chosen_statuses_are_tried_again_and_the_last_answer_is_passed_on_whole() {
    let busy = Upstream::answering(&status_503("busy"));
    let well = Upstream::saying("well");
    let servers = [busy.address(), well.address()];
    for (on, all_are_well) in [("503", true), ("gateway-error", true), ("500", false)] {
        let sluice = Sluice::start(&config(&servers, &format!("      retry: {{on: [{on}]}}\n")));
        let answers: Vec<u16> = (0..10).map(|_| get(&sluice)).collect();
        assert_eq!(!answers.contains(&503), all_are_well, "{on}: {answers:?}");
    }

    let counter = std::sync::atomic::AtomicUsize::new(0);
    let alone = Upstream::per_request(move |_| {
        let number = counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        status_503(&format!("busy, try {number}"))
    });
    let sluice = Sluice::start(&config(
        &[alone.address()],
        "      retry: {on: [503], backoff: {base: 1ms, max: 1ms}}\n",
    ));
    let answer = sluice.get("/").with_status(503);
    assert_eq!(answer.text(), "busy, try 3");
    assert_eq!(answer.header("x-from"), Some("app"));
    assert_eq!(alone.requests().len(), 3);
    assert_eq!(alone.connections(), 1, "answers that are let go are read");
}

#[test]
fn a_rule_may_say_otherwise() {
    let busy = Upstream::answering(&status_503("busy"));
    let yaml = config(&[busy.address()], "      retry: {on: [503]}\n").replace(
        "    - path: /\n",
        "    - {path: /once, upstreams: [app], retry: {attempts: 1}}\n    - path: /\n",
    );
    let sluice = Sluice::start(&yaml);
    sluice.get("/once").with_status(503);
    assert_eq!(busy.requests().len(), 1);
    sluice.get("/").with_status(503);
    assert_eq!(busy.requests().len(), 4);
}

#[test]
fn calls_that_failed_are_tried_again_by_their_status() {
    let unavailable =
        Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\ngrpc-status: 14\r\n\r\n");
    let well = Upstream::saying("well");
    let servers = [unavailable.address(), well.address()];
    let sluice = Sluice::start(&config(&servers, "      retry: {on: [unavailable]}\n"));
    for _ in 0..6 {
        assert_eq!(sluice.get("/").with_status(200).text(), "well");
    }
    assert!(!unavailable.requests().is_empty());
}

#[test]
fn retries_do_not_multiply_an_outage() {
    let busy = Upstream::answering(&status_503("busy"));
    let retry = "      retry: {on: [503], backoff: {base: 1ms, max: 1ms}, budget: {percent: 20, minPerSecond: 1}}\n";
    let sluice = Sluice::start(&config(&[busy.address()], retry));
    let began = Instant::now();
    let mut client = sluice.connect();
    for _ in 0..200 {
        client.get("/").with_status(503);
    }
    let seconds = began.elapsed().as_secs() as usize;
    let sent = busy.requests().len();
    // A fifth, and one a second over the ten seconds before each.
    let most = 200 + 40 + 10 + seconds + 1;
    assert!(sent > 200 && sent <= most, "{sent} for 200 requests");
}

#[test]
fn retries_are_counted_and_logged() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let well = Upstream::saying("well");
    let yaml = format!(
        "{}accessLog: {{mode: on, path: {}}}\n",
        config(&[free_address(), well.address()], ""),
        log.display()
    );
    let sluice = Sluice::start(&yaml);
    for _ in 0..2 {
        assert_eq!(get(&sluice), 200);
    }
    let lines = eventually("two lines are written", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines = text.lines().filter(|line| line.ends_with('}'));
        let lines: Vec<serde_json::Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (lines.len() == 2).then_some(lines)
    });
    let mut attempts: Vec<_> = lines.iter().map(|line| line["attempts"].as_u64()).collect();
    attempts.sort();
    assert_eq!(attempts, [Some(1), Some(2)]);
    assert!(
        lines
            .iter()
            .all(|line| line["endpoint"] == well.address().to_string())
    );
    let page = crate::harness::get(sluice.admin(), "/metrics").text();
    let counted = page.contains("sluice_upstream_retries_total{upstream=\"app\"} 1\n");
    assert!(counted, "{page}");
}

/// A server that can be killed as a process is, and started again where it was.
struct Backend {
    address: SocketAddr,
    running: Option<Sluice>,
}

impl Backend {
    fn yaml(listen: &str) -> String {
        format!(
            "server:\n  listen: {listen}\n  workers: 1\n  upstreams: [{{id: echo, url: 'builtin://echo'}}]\n  \
             rules: [{{path: /, upstreams: [echo]}}]\n"
        )
    }

    fn start() -> Backend {
        let running = Sluice::start(&Backend::yaml("127.0.0.1:0"));
        Backend {
            address: running.address(),
            running: Some(running),
        }
    }

    fn kill(&mut self) {
        self.running = None;
    }

    fn start_again(&mut self) {
        self.running = Some(Sluice::start(&Backend::yaml(&self.address.to_string())));
    }
}

#[test]
fn a_server_that_is_killed_under_load_and_comes_back_fails_no_request() {
    let mut backends = [Backend::start(), Backend::start(), Backend::start()];
    let servers: Vec<_> = backends.iter().map(|one| one.address).collect();
    let sluice = Sluice::start(&config(&servers, ""));
    let load = Load::start(sluice.address(), Connections::Kept, 8, |response| {
        response.status == 200
    });
    for backend in &mut backends {
        load.wait_for_more(200);
        backend.kill();
        load.wait_for_more(200);
        backend.start_again();
    }
    load.wait_for_more(200);
    let failures = load.stop();
    assert!(failures.is_empty(), "{failures:#?}");
}
