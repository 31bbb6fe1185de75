//! TLS that is ended at a listener: which certificate, which session, which requests.

use std::io::{Read, Write};
use std::net::TcpStream;

use sha2::Digest;

use crate::harness::certificates::Authority;
use crate::harness::secure::Secure;
use crate::harness::{Sluice, eventually, process, request};

mod choices;
mod clients;
mod files;
mod foreign;
mod hostile;
mod http2;
mod upstreams;

/// A listener with these lines under `tls:`, and one for plain HTTP, answered by the echo.
pub(crate) fn config(tls: &[String], more: &str) -> String {
    let tls: String = tls.iter().map(|line| format!("        {line}\n")).collect();
    format!(
        "server:\n  listen:\n    - address: 127.0.0.1:0\n      tls:\n{tls}  workers: 2\n  \
         upstreams:\n    - id: app\n      url: builtin://echo\n  rules:\n    - path: /\n      \
         upstreams: [app]\n{more}\nreload:\n  debounce: 10ms\n"
    )
}

pub(crate) fn certificates(pairs: &[String]) -> Vec<String> {
    vec![format!("certificates: [{}]", pairs.join(", "))]
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let ca = Authority::new();
    let (a, b) = (ca.issue(&["a.test"]), ca.issue(&["*.b.test"]));
    let pairs = [ca.write("a", &a), ca.write("b", &b)];
    let sluice = Sluice::start(&config(&certificates(&pairs), ""));
    let client = Secure::trusting(&ca.pem);
    let shown = |name: &str| client.connect(sluice.address(), name).shown();
    assert_eq!(shown("a.test"), a.der);
    assert_eq!(shown("x.b.test"), b.der);
    let told = client.try_connect(sluice.address(), "other.test");
    let told = told.err().unwrap().to_string();
    assert!(
        told.contains("certificate"),
        "the first one, which is not for it: {told}"
    );

    let answer = client
        .connect(sluice.address(), "a.test")
        .last_get("a.test");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("[\"x-forwarded-proto\",\"https\"]"),
        "{answer}"
    );
}

#[test]
fn a_session_goes_on_with_any_worker_and_with_its_successor() {
    let ca = Authority::new();
    let pairs = [ca.pair("a", &["a.test"])];
    let sluice = Sluice::start(&config(&certificates(&pairs), ""));
    let client = Secure::trusting(&ca.pem);
    let visit = || {
        let mut connection = client.connect(sluice.address(), "a.test");
        let resumed = connection.is_resumed();
        // With the answer come the tickets for the next one.
        connection.last_get("a.test");
        resumed
    };
    assert!(!visit(), "the first is new");
    let before = sluice.workers();
    assert_eq!(before.len(), 2);
    for worker in before {
        assert!((0..8).all(|_| visit()), "some at each worker");
        process::signal(worker, nix::sys::signal::Signal::SIGKILL);
        eventually("the worker is replaced", || {
            let now = sluice.workers();
            (now.len() == 2 && !now.contains(&worker)).then_some(())
        });
    }
    assert!((0..8).all(|_| visit()), "with workers that were not there");
}

#[test]
fn a_session_is_of_no_use_where_clients_have_to_show_who_they_are() {
    let ca = Authority::new();
    let pair = ca.pair("a", &["a.test"]);
    let open = certificates(std::slice::from_ref(&pair));
    let mut closed = open.clone();
    closed.push(format!("clientAuth: {{ca: {}}}", ca.ca().display()));
    let headers = "  headers:\n    - {key: x-who, value: $tls.client.subject}\n    - {key: x-san, \
                   value: $tls.client.san}\n    - {key: x-print, value: $tls.client.fingerprint}\n";
    let sluice = Sluice::start(&config(&open, headers));
    let client = Secure::trusting(&ca.pem);
    client
        .connect(sluice.address(), "a.test")
        .last_get("a.test");
    assert!(client.connect(sluice.address(), "a.test").is_resumed());

    sluice.rewrite(&config(&closed, headers));
    sluice.log().wait_for("reload done");
    eventually("a client without a certificate is refused", || {
        let connected = client.try_connect(sluice.address(), "a.test");
        let refused = connected
            .and_then(|mut c| c.try_last_get("a.test"))
            .is_err();
        refused.then_some(())
    });
    let own = ca.issue_to("client", &["client.test"]);
    let showing = Secure::showing(&ca.pem, Some(&own));
    for _ in ["new", "resumed"] {
        let answer = showing
            .connect(sluice.address(), "a.test")
            .last_get("a.test");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains("[\"x-who\",\"O=Example,CN=client\"]"),
            "{answer}"
        );
        assert!(
            answer.contains("[\"x-san\",\"DNS:client.test\"]"),
            "{answer}"
        );
        let print: String = sha2::Sha256::digest(&own.der)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(answer.contains(&print), "{answer}");
    }
}

#[test]
fn a_request_for_a_host_of_another_certificate_is_sent_elsewhere() {
    let ca = Authority::new();
    let pairs = [
        ca.pair("a", &["a.test", "also-a.test"]),
        ca.pair("b", &["b.test"]),
    ];
    let sluice = Sluice::start(&config(&certificates(&pairs), ""));
    let client = Secure::trusting(&ca.pem);
    let status = |name: &str, host: &str| {
        let answer = client.connect(sluice.address(), name).last_get(host);
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status("a.test", "b.test"), "421");
    assert_eq!(status("b.test", "a.test:8443"), "421");
    assert_eq!(status("a.test", "also-a.test"), "200");
    assert_eq!(status("a.test", "A.test:443"), "200");
    assert_eq!(status("a.test", "nobody.test"), "200");
    assert_eq!(status("a.test", "127.0.0.1"), "200");
}

#[test]
fn plain_http_on_a_port_of_tls_is_told_so() {
    let ca = Authority::new();
    let pairs = [ca.pair("a", &["a.test"])];
    let sluice = Sluice::start(&config(&certificates(&pairs), ""));
    let told = request(sluice.address(), "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
    assert!(told.with_status(400).text().contains("TLS"));
}

#[test]
fn whoever_does_not_shake_hands_is_let_go_and_others_are_served() {
    let ca = Authority::new();
    let pairs = [ca.pair("a", &["a.test"])];
    let limits = "  limits:\n    handshakeTimeout: 300ms\n    handshakes: 4\n";
    let sluice = Sluice::start(&config(&certificates(&pairs), limits));
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let openings: [&[u8]; 5] = [
        b"",
        b"\x16",
        &hello,
        b"\x80\x2e\x01\x00\x02garbage",
        &[0x16, 3, 1, 0, 4, 1, 0, 0, 0],
    ];
    let mut silent: Vec<TcpStream> = Vec::new();
    for opening in openings.iter().cycle().take(40) {
        let mut stream = TcpStream::connect(sluice.address()).unwrap();
        stream.write_all(opening).unwrap();
        silent.push(stream);
    }
    let client = Secure::trusting(&ca.pem);
    let answer = client
        .connect(sluice.address(), "a.test")
        .last_get("a.test");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for mut stream in silent {
        stream
            .set_read_timeout(Some(crate::harness::DEADLINE))
            .unwrap();
        let mut said = Vec::new();
        // Reset or closed; a word about why is an alert of seven bytes.
        let _ended = stream.read_to_end(&mut said);
        assert!(said.len() <= 7, "{said:?}");
    }
    assert_eq!(sluice.log().all("worker exited").len(), 0);
}

#[test]
fn one_handshake_too_many_ends_the_oldest() {
    let ca = Authority::new();
    let pairs = [ca.pair("a", &["a.test"])];
    let limits = "  limits:\n    handshakeTimeout: 1h\n    handshakes: 4\n";
    let yaml = config(&certificates(&pairs), limits).replace("workers: 2", "workers: 1");
    let sluice = Sluice::start(&yaml);
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let begun: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut stream = TcpStream::connect(sluice.address()).unwrap();
            stream.write_all(&hello).unwrap();
            stream
        })
        .collect();
    let crowded = "sluice_tls_handshakes_total{listener=\"127.0.0.1:0\",result=\"crowded\"} 6\n";
    eventually("six of them give way", || {
        let metrics = crate::harness::get(sluice.admin(), "/metrics").text();
        metrics.contains(crowded).then_some(())
    });
    let client = Secure::trusting(&ca.pem);
    let answer = client
        .connect(sluice.address(), "a.test")
        .last_get("a.test");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(begun);
}

#[test]
fn plain_http_is_sent_to_https_and_told_to_stay_there() {
    let ca = Authority::new();
    let tls = certificates(&[ca.pair("a", &["a.test"])]);
    let yaml = config(&tls, "").replace(
        "server:\n  listen:\n    - address: 127.0.0.1:0\n",
        "server:\n  trustedProxies: [127.0.0.0/8]\n  listen:\n    - address: 127.0.0.2:0\n      \
         redirectHttps: {port: 8443}\n      hsts: {maxAge: 1h}\n    - address: 127.0.0.1:0\n      \
         hsts: {maxAge: 1h, includeSubDomains: true}\n",
    );
    let sluice = Sluice::start(&yaml);
    let plain = sluice.address_of("127.0.0.2:0");
    let sent = request(
        plain,
        "POST /a?b=c HTTP/1.1\r\nhost: a.test:80\r\ncontent-length: 2\r\n\r\nhi",
    );
    let sent = sent.with_status(308);
    assert_eq!(sent.header("location"), Some("https://a.test:8443/a?b=c"));
    assert_eq!(sent.header("strict-transport-security"), None);
    let behind = "GET / HTTP/1.1\r\nhost: a.test\r\nx-forwarded-proto: https\r\n\r\n";
    let behind = request(plain, behind).with_status(200);
    assert_eq!(
        behind.header("strict-transport-security"),
        Some("max-age=3600")
    );
    let nameless = request(plain, "GET / HTTP/1.0\r\n\r\n");
    nameless.with_status(400);

    let client = Secure::trusting(&ca.pem);
    let answer = client
        .connect(sluice.address_of("127.0.0.1:0"), "a.test")
        .last_get("a.test");
    let told = "\r\nstrict-transport-security: max-age=3600; includeSubDomains\r\n";
    assert!(answer.contains(told), "{answer}");
}

#[test]
fn handshakes_are_counted_by_how_they_ended() {
    let ca = Authority::new();
    let tls = certificates(&[ca.pair("a", &["a.test"])]);
    let sluice = Sluice::start(&config(&tls, ""));
    let client = Secure::trusting(&ca.pem);
    for _ in 0..2 {
        client
            .connect(sluice.address(), "a.test")
            .last_get("a.test");
    }
    let stranger = Secure::trusting(&Authority::new().pem);
    assert!(stranger.try_connect(sluice.address(), "a.test").is_err());
    request(sluice.address(), "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").with_status(400);
    let mut nonsense = TcpStream::connect(sluice.address()).unwrap();
    nonsense.write_all(b"\x01\x02\x03").unwrap();
    for result in ["completed", "resumed", "refused", "plaintext", "malformed"] {
        let name = format!(
            "sluice_tls_handshakes_total{{listener=\"127.0.0.1:0\",result=\"{result}\"}} 1"
        );
        eventually(&name, || {
            let metrics = crate::harness::get(sluice.admin(), "/metrics").text();
            metrics.contains(&name).then_some(())
        });
    }
}
