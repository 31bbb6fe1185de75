//! Checks over TLS: as requests are sent there, by the same settings, with a handshake each.

use std::net::{SocketAddr, TcpListener};

use super::wait_for;
use crate::harness::certificates::Authority;
use crate::harness::foreign::python;
use crate::harness::nginx::Nginx;
use crate::harness::{Sluice, Upstream, port};

/// An nginx that lets in whom the authority vouches for, and says how it was asked.
#[track_caller]
fn nginx(ca: &Authority) -> Option<Nginx> {
    ca.pair("app", &["app.test"]);
    ca.write("client", &ca.issue_to("proxy", &["proxy.test"]));
    let server = format!(
        "listen 127.0.0.1:PORT ssl http2;
         ssl_certificate {}; ssl_certificate_key {};
         ssl_client_certificate {}; ssl_verify_client on;
         location / {{ return 200 \"$server_protocol $scheme $ssl_server_name $ssl_client_verify $ssl_session_reused\"; }}",
        ca.path("app.crt").display(),
        ca.path("app.key").display(),
        ca.ca().display(),
    );
    Nginx::serving_at(port::free_address(), &server)
}

/// A server without TLS that does not wait for a request.
fn talking() -> Upstream {
    Upstream::start(|exchange| exchange.write("HTTP/1.1 400 Bad Request\r\n\r\n"))
}

/// What is written under `tls` to be let in by it.
fn settings(ca: &Authority) -> String {
    format!(
        "ca: {}, serverName: app.test, clientCert: {}, clientKey: {}",
        ca.ca().display(),
        ca.path("client.crt").display(),
        ca.path("client.key").display()
    )
}

fn proxy(address: SocketAddr, upstream: &str, how: &str) -> Sluice {
    let check = check(upstream).replace("Threshold: 1", &format!("Threshold: 1{how}"));
    let url = format!("https://{address}\n      {check}");
    Sluice::start(&crate::harness::sluice::config(&url, ""))
}

/// The lines of an upstream.
fn check(upstream: &str) -> String {
    format!("{upstream}\n      healthCheck: {{interval: 50ms, timeout: 5s, unhealthyThreshold: 1}}")
}

#[test]
fn a_server_is_checked_as_requests_are_sent_to_it() {
    let ca = Authority::new();
    let Some(server) = nginx(&ca) else { return };
    let own = settings(&ca);
    // Sessions are not resumed, so that a check sees what a new client sees.
    let body = |protocol: &str| format!(", expectedBody: '{protocol} https app.test SUCCESS .'");
    for (upstream, protocol) in [
        (format!("tls: {{{own}}}"), "HTTP/1.1"),
        (format!("protocol: h2\n      tls: {{{own}}}"), "HTTP/2.0"),
        (format!("tls: {{{own}, alpn: [h2, http/1.1]}}"), "HTTP/2.0"),
    ] {
        let sluice = proxy(server.address(), &upstream, &body(protocol));
        wait_for(&sluice, server.address(), "healthy");
    }
    let blind = own.replace(&format!("ca: {}", ca.ca().display()), "verify: false");
    let sluice = proxy(
        server.address(),
        &format!("tls: {{{blind}}}"),
        ", type: tcp",
    );
    wait_for(&sluice, server.address(), "healthy");
}

#[test]
fn what_is_wrong_with_a_handshake_is_wrong_with_the_server() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let Some(server) = nginx(&ca) else { return };
    let own = settings(&ca);
    let error = |tls: &str, check: &str| {
        let sluice = proxy(server.address(), &format!("tls: {{{tls}}}"), check);
        wait_for(&sluice, server.address(), "unhealthy")
    };
    let ours = ca.ca().display().to_string();
    let theirs = stranger.ca().display().to_string();
    for check in ["", ", type: tcp", ", type: grpc"] {
        let unknown = error(&own.replace(&ours, &theirs), check);
        assert!(
            unknown.contains("no TLS: invalid peer certificate"),
            "{unknown}"
        );
    }
    let other = error(&own.replace("app.test", "other.test"), "");
    assert!(other.contains("other.test"), "{other}");
    let nobody = error(&format!("ca: {ours}, serverName: app.test"), "");
    assert_eq!(nobody, "status 400");

    let plain = talking();
    let sluice = proxy(plain.address(), &format!("tls: {{{own}}}"), ", type: tcp");
    let error = wait_for(&sluice, plain.address(), "unhealthy");
    assert!(error.contains("no TLS: "), "{error}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let late = check(&format!("tls: {{{own}}}")).replace("5s", "200ms");
    let url = format!("https://{address}\n      {late}");
    let sluice = Sluice::start(&crate::harness::sluice::config(&url, ""));
    let error = wait_for(&sluice, address, "unhealthy");
    assert_eq!(error, "no answer within 200ms");
}

#[test]
fn a_port_for_checks_may_be_without_tls() {
    let ca = Authority::new();
    let side = Upstream::saying("fine");
    let own = format!("tls: {{ca: {}}}", ca.ca().display());
    let port = side.address().port();
    let address = port::free_address();
    let check = format!(", port: {port}, scheme: http, expectedBody: fine");
    wait_for(&proxy(address, &own, &check), address, "healthy");
    let talking = talking();
    let check = format!(", port: {}", talking.address().port());
    let error = wait_for(&proxy(address, &own, &check), address, "unhealthy");
    assert!(error.contains("no TLS: "), "{error}");
}

#[test]
fn grpcio_says_over_tls_whether_it_serves() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let ca = Authority::new();
    ca.pair("app", &["app.test"]);
    let Some(mut python) = python("grpc", "grpc_server.py") else {
        return;
    };
    let mut child = python
        .args([ca.path("app.crt"), ca.path("app.key")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address: SocketAddr = format!("127.0.0.1:{}", line.trim()).parse().unwrap();
    let tls = format!("tls: {{ca: {}, serverName: app.test}}", ca.ca().display());
    for (upstream, service, health) in [
        (format!("protocol: h2\n      {tls}"), "test.Echo", "healthy"),
        (tls.clone(), "test.Echo", "healthy"),
        (tls, "test.Other", "unhealthy"),
    ] {
        let sluice = proxy(
            address,
            &upstream,
            &format!(", type: grpc, service: {service}"),
        );
        wait_for(&sluice, address, health);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
