//! HTTP/2 over TLS, on both sides: what servers agree to, and what a request says of its client.

use std::fs;
use std::net::SocketAddr;

use super::{certificates, config};
use crate::harness::certificates::Authority;
use crate::harness::foreign::{find, run};
use crate::harness::http2::PREFACE;
use crate::harness::nginx::Nginx;
use crate::harness::secure::Secure;
use crate::harness::{Response, Sluice, eventually, port};

/// An nginx that says how it was spoken to, over which connection; with HTTP/2 or without it.
#[track_caller]
fn nginx(ca: &Authority, address: SocketAddr, http2: &str) -> Option<Nginx> {
    let (cert, key) = (ca.path("app.crt"), ca.path("app.key"));
    let server = format!(
        "listen 127.0.0.1:PORT ssl {http2};
         ssl_certificate {}; ssl_certificate_key {};
         client_max_body_size 0;
         location / {{ return 200 \"$server_protocol $scheme $host $connection $http_upgrade\"; }}
         location /file {{ root FOLDER; }}",
        cert.display(),
        key.display()
    );
    Nginx::serving_at(address, &server)
}

fn authority() -> Authority {
    let ca = Authority::new();
    ca.pair("app", &["app.test"]);
    ca
}

/// Everything there, with more lines for the upstream and more for its `tls`.
fn proxy(address: SocketAddr, ca: &Authority, upstream: &str, alpn: &str) -> Sluice {
    let url = format!(
        "https://{address}{upstream}\n      tls: {{ca: {}, serverName: app.test{alpn}}}",
        ca.ca().display()
    );
    Sluice::start(&crate::harness::sluice::config(&url, "errorHeader: true"))
}

const EITHER: &str = ", alpn: [h2, http/1.1]";
const H2: &str = "\n      protocol: h2";

#[test]
fn nginx_is_spoken_to_by_what_was_asked_for_or_agreed_on() {
    let (ca, address) = (authority(), port::free_address());
    let Some(server) = nginx(&ca, address, "http2") else {
        return;
    };
    let file = vec![b'x'; 3_000_000];
    fs::write(server.folder().join("file"), &file).unwrap();
    for (upstream, alpn, protocol) in [
        (H2, "", "HTTP/2.0 https"),
        (H2, ", alpn: [h2]", "HTTP/2.0 https"),
        ("", EITHER, "HTTP/2.0 https"),
        ("\n      protocol: auto", ", alpn: [h2]", "HTTP/2.0 https"),
        ("", "", "HTTP/1.1 https"),
        ("\n      protocol: http1", "", "HTTP/1.1 https"),
    ] {
        let sluice = proxy(address, &ca, upstream, alpn);
        let first = sluice.get("/").with_status(200).text();
        assert!(first.starts_with(protocol), "{upstream}{alpn}: {first}");
        assert_eq!(sluice.get("/file").with_status(200).body, file);
        let body = "y".repeat(300_000);
        let posted = sluice.request(format!(
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\nconnection: close\r\n\r\n{body}"
        ));
        assert!(posted.with_status(200).text().starts_with(protocol));
        // The same connection.
        assert_eq!(sluice.get("/").with_status(200).text(), first);
    }
}

#[test]
fn a_server_without_http2_is_used_without_it_or_not_at_all() {
    let (ca, address) = (authority(), port::free_address());
    let Some(_server) = nginx(&ca, address, "") else {
        return;
    };
    let sluice = proxy(address, &ca, "", EITHER);
    let first = sluice.get("/").with_status(200).text();
    assert!(first.starts_with("HTTP/1.1 https"), "{first}");
    assert_eq!(sluice.get("/").with_status(200).text(), first, "it is kept");
    let many: Vec<Response> = std::thread::scope(|scope| {
        let one = || sluice.get("/").with_status(200);
        let all: Vec<_> = (0..20).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(many.iter().all(|one| one.text().starts_with("HTTP/1.1")));

    let strict = proxy(address, &ca, H2, "");
    let refused = strict.get("/").with_status(502);
    assert_eq!(refused.header("x-sluice-error"), Some("upstream_tls"));
    let told = strict.log().wait_for("no TLS with a server");
    let why = told.text("error").unwrap();
    assert!(why.contains("HTTP/2") || why.contains("Protocol"), "{why}");
}

#[test]
fn a_server_that_learns_or_forgets_http2_is_followed() {
    let (ca, address) = (authority(), port::free_address());
    let Some(mut server) = nginx(&ca, address, "") else {
        return;
    };
    let sluice = proxy(
        address,
        &ca,
        "\n      outlierDetection: {consecutiveErrors: 0}",
        EITHER,
    );
    let asked = |protocol: &str| {
        eventually(protocol, || {
            let answer = sluice.get("/");
            (answer.status == 200 && answer.text().starts_with(protocol)).then_some(())
        });
    };
    asked("HTTP/1.1 https");
    for (http2, protocol) in [
        ("http2", "HTTP/2.0"),
        ("", "HTTP/1.1"),
        ("http2", "HTTP/2.0"),
    ] {
        drop(server);
        server = nginx(&ca, address, http2).unwrap();
        asked(protocol);
    }
}

#[test]
fn a_change_of_protocol_takes_a_connection_of_http1() {
    let (ca, address) = (authority(), port::free_address());
    let Some(_server) = nginx(&ca, address, "http2") else {
        return;
    };
    let sluice = proxy(address, &ca, "", EITHER);
    assert!(sluice.get("/").text().starts_with("HTTP/2.0 "));
    let asked = sluice.request(
        "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    // nginx says what it has seen instead of changing anything.
    let text = asked.with_status(200).text();
    assert!(
        text.starts_with("HTTP/1.1 ") && text.ends_with(" websocket"),
        "{text}"
    );
    assert!(sluice.get("/").text().starts_with("HTTP/2.0 "));
}

/// curl over HTTP/2, as to `https://a.test`.
#[track_caller]
pub(super) fn curl(sluice: &Sluice, ca: &Authority, arguments: &[&str]) -> Option<String> {
    let mut curl = find("curl")?;
    curl.args(["-sS", "--max-time", "60", "--noproxy", "*", "--http2"])
        .args(["--connect-to", &format!("a.test:443:{}", sluice.address())])
        .arg("--cacert")
        .arg(ca.ca())
        .args(arguments)
        .arg("https://a.test/seen");
    Some(String::from_utf8_lossy(&run(&mut curl).stdout).into_owned())
}

#[test]
fn a_request_of_http2_says_the_same_of_its_client_as_any_other() {
    let ca = Authority::new();
    let mut tls = certificates(&[ca.pair("a", &["a.test"])]);
    tls.push(format!("clientAuth: {{ca: {}}}", ca.ca().display()));
    let own = ca.issue_to("client", &["client.test"]);
    ca.write("client", &own);
    let log = ca.path("access.log");
    let more = format!(
        "  headers:\n    - {{key: x-scheme, value: $scheme}}\n    \
         - {{key: x-who, value: $tls.client.subject}}\n    \
         - {{key: x-san, value: $tls.client.san}}\n    - {{key: x-sni, value: $tls.sni}}\n    \
         - {{key: x-tls, value: $tls.version}}\naccessLog: {{mode: on, path: '{}'}}",
        log.display()
    );
    let sluice = Sluice::start(&config(&tls, &more));
    let (cert, key) = (ca.path("client.crt"), ca.path("client.key"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let Some(told) = curl(&sluice, &ca, &["--cert", cert, "--key", key]) else {
        return;
    };
    for header in [
        "[\"x-forwarded-proto\",\"https\"]",
        "[\"x-scheme\",\"https\"]",
        "[\"x-who\",\"O=Example,CN=client\"]",
        "[\"x-san\",\"DNS:client.test\"]",
        "[\"x-sni\",\"a.test\"]",
        "[\"x-tls\",\"TLSv1.3\"]",
    ] {
        assert!(told.contains(header), "{header}: {told}");
    }
    let line = eventually("a line in the access log", || {
        let text = fs::read_to_string(&log).ok()?;
        text.lines().next().map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["protocol"], "HTTP/2");
    assert_eq!(line["tls_version"], "TLSv1.3");
    let cipher = line["tls_cipher"].as_str().unwrap();
    assert!(cipher.starts_with("TLS_"), "{line}");
}

/// A browser sends requests for all names of a certificate, and for those at the same address, over
/// the connection that it has.
#[test]
fn a_connection_is_shared_by_the_names_of_its_certificate_alone() {
    let ca = Authority::new();
    let pairs = [
        ca.pair("a", &["a.test", "also-a.test"]),
        ca.pair("b", &["b.test"]),
    ];
    let sluice = Sluice::start(&config(&certificates(&pairs), ""));
    let status = |host: &str| {
        let host = format!("Host: {host}");
        let told = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}"];
        curl(&sluice, &ca, &[&["-H", &host], &told[..]].concat())
    };
    let Some(other) = status("b.test") else {
        return;
    };
    assert_eq!(other, "2 421");
    assert_eq!(status("also-a.test").unwrap(), "2 200");
    assert_eq!(status("a.test:443").unwrap(), "2 200");
    assert_eq!(status("nobody.test").unwrap(), "2 200");
}

#[test]
fn what_was_agreed_on_is_what_is_spoken() {
    let ca = Authority::new();
    let tls = certificates(&[ca.pair("a", &["a.test"])]);
    let sluice = Sluice::start(&config(&tls, ""));
    let client = Secure::trusting(&ca.pem);
    let spoken = |protocols: &[&str], text: &str| {
        let client = client.offering(protocols);
        let mut connection = client.connect(sluice.address(), "a.test");
        connection.send(text);
        connection.rest().unwrap()
    };
    let get = "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
    let preface = std::str::from_utf8(PREFACE).unwrap();
    for protocols in [&["http/1.1"][..], &[]] {
        let answer = spoken(protocols, get);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let answer = spoken(protocols, preface);
        assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    }
    // Without an answer of HTTP/1.1 to what was agreed to be HTTP/2.
    let answer = spoken(&["h2"], get);
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
}

#[test]
fn a_client_that_offers_nothing_known_is_told_so() {
    let ca = Authority::new();
    let mut tls = certificates(&[ca.pair("a", &["a.test"])]);
    for version in ["1.2", "1.3"] {
        tls.push(format!("maxVersion: {version}"));
        let sluice = Sluice::start(&config(&tls, ""));
        tls.pop();
        let client = Secure::trusting(&ca.pem).offering(&["spdy/3"]);
        let refused = client.try_connect(sluice.address(), "a.test").err();
        let refused = refused.map(|error| error.to_string());
        let told = Some("received fatal alert: NoApplicationProtocol".to_owned());
        assert_eq!(refused, told, "{version}");
    }
}
