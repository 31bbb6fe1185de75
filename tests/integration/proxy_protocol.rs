//! The PROXY protocol between the real program and programs that others wrote.

use crate::harness::foreign::{find, run};
use crate::harness::nginx::Nginx;
use crate::harness::{Sluice, Upstream, sluice::config};

const TRUSTING: &str =
    "listen: {address: 127.0.0.1:0, proxyProtocol: {trustedSources: [127.0.0.0/8]}}";

fn trusting(url: &str, more: &str) -> String {
    config(url, more).replace("listen: 127.0.0.1:0", TRUSTING)
}

#[test]
fn the_client_that_a_load_balancer_tells_is_the_one_that_is_seen() {
    let upstream = Upstream::saying("ok");
    let headers = "headers:\n  - {key: x-seen, value: $ip}";
    let yaml = trusting(&upstream.url(), headers) + "accessLog:\n  mode: on\n  path: ";
    let log = tempfile::NamedTempFile::new().unwrap();
    let sluice = Sluice::start(&format!("{yaml}{}\n", log.path().display()));
    let mut client = sluice.connect();
    client.send("PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n");
    client
        .request("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .with_status(200);
    client
        .request("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .with_status(200);
    let seen = upstream.wait_for_requests(2);
    for request in seen {
        assert_eq!(request.head.header("x-seen"), Some("192.0.2.7"));
        assert_eq!(request.head.header("x-forwarded-for"), Some("192.0.2.7"));
    }
    let line = crate::harness::eventually("a line in the access log", || {
        let text = std::fs::read_to_string(log.path()).unwrap();
        text.lines().next().map(str::to_owned)
    });
    assert!(line.contains("\"client\":\"192.0.2.7\""), "{line}");
}

#[test]
fn curl_speaks_for_itself() {
    let Some(mut curl) = find("curl") else { return };
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::start(&trusting(&upstream.url(), ""));
    let url = format!("http://{}/[1-3]", sluice.address());
    let output = run(curl.args(["-sS", "--max-time", "60", "--haproxy-protocol", &url]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "okokok");
    let seen = upstream.wait_for_requests(3);
    assert_eq!(seen[0].head.header("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn nginx_reads_what_it_is_told_in_both_versions() {
    let server = "listen 127.0.0.1:PORT proxy_protocol;\n\
                  location / { return 200 $proxy_protocol_addr:$proxy_protocol_port; }";
    let Some(nginx) = Nginx::serving(server) else {
        return;
    };
    for version in ["v1", "v2"] {
        let yaml = trusting(&nginx.url(), "").replace(
            "  rules:",
            &format!("      proxyProtocol: {version}\n  rules:"),
        );
        let sluice = Sluice::start(&yaml);
        for client in [
            "TCP4 192.0.2.7 198.51.100.2 56324 443",
            "TCP6 2001:db8::7 ::1 56324 443",
        ] {
            let mut wire = sluice.connect();
            wire.send(format!("PROXY {client}\r\n"));
            for _ in 0..2 {
                let answer = wire
                    .request("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                    .with_status(200);
                let ip = client.split(' ').nth(1).unwrap();
                assert_eq!(answer.text(), format!("{ip}:56324"), "{version}");
            }
        }
    }
}
