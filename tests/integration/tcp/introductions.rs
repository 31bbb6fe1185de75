//! The PROXY protocol with TCP listeners, and TLS on either side of it.

use crate::harness::certificates::Authority;
use crate::harness::foreign::{find, run};
use crate::harness::nginx::Nginx;
use crate::harness::secure::Secure;
use crate::harness::{Client, Sluice, eventually};

const TRUSTING: &str = "proxyProtocol: {trustedSources: [127.0.0.0/8]}";
const TELLS: &str = "location / { return 200 $proxy_protocol_addr:$proxy_protocol_port; }";

/// A listener with these lines, and what is beside the upstream's url.
fn yaml(listener: &str, url: &str, upstream: &str) -> String {
    format!(
        "server:\n  listen:\n    - address: 127.0.0.1:0\n      protocol: tcp\n      upstream: app\n{listener}  \
         workers: 1\n  upstreams:\n    - id: app\n      url: {url}\n{upstream}  rules: []\n"
    )
}

fn ending_tls(ca: &Authority) -> String {
    let pair = ca.pair("a", &["a.test"]);
    format!("      tls: {{certificates: [{pair}]}}\n")
}

#[test]
fn who_the_client_is_goes_from_one_to_the_next() {
    let server = format!("listen 127.0.0.1:PORT proxy_protocol; {TELLS}");
    let Some(nginx) = Nginx::serving(&server) else {
        return;
    };
    let trusting = format!("      {TRUSTING}\n");
    for version in ["v1", "v2"] {
        let upstream = format!("      proxyProtocol: {version}\n");
        let sluice = Sluice::start(&yaml(&trusting, &nginx.url(), &upstream));
        let mut client = Client::connect(sluice.address());
        client.send("PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n");
        for _ in 0..2 {
            let answer = client.request("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            assert_eq!(answer.with_status(200).text(), "192.0.2.7:56324");
        }
        // Where nobody is trusted, it is as it comes.
        let sluice = Sluice::start(&yaml("", &nginx.url(), &upstream));
        let mut client = Client::connect(sluice.address());
        let own = client.wire.stream().local_addr().unwrap();
        let answer = client.request("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(answer.with_status(200).text(), own.to_string());
    }
}

#[test]
fn the_header_comes_before_the_handshake() {
    let server = format!("listen 127.0.0.1:PORT proxy_protocol; {TELLS}");
    let (Some(nginx), Some(mut curl)) = (Nginx::serving(&server), find("curl")) else {
        return;
    };
    let ca = Authority::new();
    let listener = format!("      {TRUSTING}\n{}", ending_tls(&ca));
    let sluice = Sluice::start(&yaml(&listener, &nginx.url(), "      proxyProtocol: v2\n"));
    let to = format!("a.test:443:{}", sluice.address());
    let output = run(curl
        .args(["-sS", "--max-time", "60", "--noproxy", "*", "--cacert"])
        .arg(ca.ca())
        .args([
            "--haproxy-protocol",
            "--connect-to",
            &to,
            "-w",
            " %{local_port}",
        ])
        .arg("https://a.test/"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let (address, port) = told.split_once(' ').unwrap();
    assert_eq!(address, format!("127.0.0.1:{port}"));
}

#[test]
fn tls_is_spoken_to_the_upstream_where_its_url_says_so() {
    let ca = Authority::new();
    ca.pair("up", &["up.test"]);
    let server = format!(
        "listen 127.0.0.1:PORT ssl proxy_protocol; ssl_certificate {}; ssl_certificate_key {};\n\
         location / {{ return 200 '$ssl_server_name $ssl_alpn_protocol $proxy_protocol_addr'; }}",
        ca.path("up.crt").display(),
        ca.path("up.key").display()
    );
    let Some(nginx) = Nginx::serving(&server) else {
        return;
    };
    let url = format!("https://{}", nginx.address());
    let upstream = |name: &str| {
        format!(
            "      proxyProtocol: v2\n      tls: {{ca: {}, serverName: {name}}}\n",
            ca.ca().display()
        )
    };
    let asked = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let sluice = Sluice::start(&yaml("", &url, &upstream("up.test")));
    let answer = Client::connect(sluice.address()).request(asked);
    assert_eq!(answer.with_status(200).text(), "up.test  127.0.0.1");

    // Ended here, and begun anew.
    let sluice = Sluice::start(&yaml(&ending_tls(&ca), &url, &upstream("up.test")));
    let mut client = Secure::trusting(&ca.pem).connect(sluice.address(), "a.test");
    let answer = client.last_get("x");
    assert!(answer.ends_with("up.test  127.0.0.1"), "{answer}");

    let sluice = Sluice::start(&yaml("", &url, &upstream("another.test")));
    let mut client = Client::connect(sluice.address());
    client.send(asked);
    client.assert_ended();
    let failed = "sluice_errors_total{reason=\"upstream_tls\"} 1\n";
    eventually("it is counted", || {
        let metrics = crate::harness::get(sluice.admin(), "/metrics").text();
        metrics.contains(failed).then_some(())
    });
}
