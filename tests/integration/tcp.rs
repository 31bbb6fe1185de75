//! TCP listeners between the real program and programs that others wrote.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::harness::certificates::Authority;
use crate::harness::foreign::{find, run};
use crate::harness::nginx::Nginx;
use crate::harness::secure::Secure;
use crate::harness::{Client, Sluice, Upstream, eventually, get};

mod endpoints;
mod introductions;
mod life;

/// Sends back what it gets, line by line.
fn echoing() -> Upstream {
    Upstream::start(|exchange| {
        loop {
            let line = exchange.wire.read_through(b"\n")?;
            exchange.write(line)?;
        }
    })
}

fn tcp(upstream: &Upstream, more: &str) -> String {
    format!(
        "server:\n  listen: {{address: 127.0.0.1:0, protocol: tcp, upstream: app}}\n  workers: 2\n  upstreams:\n    \
         - {{id: app, url: '{}'}}\n{more}  rules: []\n",
        upstream.address()
    )
}

#[test]
fn what_passed_is_in_the_log_and_in_the_metrics() {
    let upstream = echoing();
    let log = tempfile::NamedTempFile::new().unwrap();
    let logged = format!("accessLog:\n  mode: on\n  path: {}\n", log.path().display());
    let sluice = Sluice::start(&(tcp(&upstream, "") + &logged));
    let mut client = Client::connect(sluice.address());
    client.send("hello\n");
    client.read_through("hello\n");
    let metrics = get(sluice.admin(), "/metrics").with_status(200).text();
    let has = |text: &str| {
        assert!(
            metrics.lines().any(|l| l.contains(text)),
            "{text} in {metrics}"
        )
    };
    has("sluice_tcp_connections{listener=\"127.0.0.1:0\",upstream=\"app\"} 1");
    has("upstream=\"app\",direction=\"to_upstream\"} 6");
    client.finish_sending();
    client.assert_ended();
    let line = eventually("a line in the access log", || {
        let text = std::fs::read_to_string(log.path()).unwrap();
        text.lines().next().map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    for (field, value) in [
        ("protocol", "TCP".into()),
        ("upstream", "app".into()),
        ("bytes_received", 6.into()),
        ("bytes_sent", 6.into()),
        ("method", serde_json::Value::Null),
        ("status", serde_json::Value::Null),
        ("endpoint", upstream.address().to_string().into()),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
}

fn tls_server(ca: &Authority, name: &str) -> Option<Nginx> {
    ca.pair(name, &[name]);
    let (cert, key) = (
        ca.path(&format!("{name}.crt")),
        ca.path(&format!("{name}.key")),
    );
    Nginx::serving(&format!(
        "listen 127.0.0.1:PORT ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {}; ssl_certificate_key {};\n\
         location / {{ return 200 '{name} got $ssl_server_name'; }}",
        cert.display(),
        key.display()
    ))
}

#[test]
fn tls_passes_through_by_server_name() {
    let ca = Authority::new();
    let started = (tls_server(&ca, "shop"), tls_server(&ca, "rest"));
    let ((Some(shop), Some(rest)), Some(_)) = (started, find("curl")) else {
        return;
    };
    let sluice = Sluice::start(&format!(
        "server:\n  listen:\n    address: 127.0.0.1:0\n    protocol: tcp\n    routes:\n      \
         - {{sni: [shop.example.com, '*.shop.example.com'], upstream: shop}}\n    upstream: rest\n  workers: 2\n  upstreams:\n    \
         - {{id: shop, url: '{}'}}\n    - {{id: rest, url: '{}'}}\n  rules: []\n",
        shop.address(),
        rest.address()
    ));
    for (name, expected) in [
        ("shop.example.com", "shop"),
        ("a.b.SHOP.example.com", "shop"),
        ("example.com", "rest"),
    ] {
        for version in ["--tlsv1.2", "--tlsv1.3"] {
            let told = fetch(&sluice, name, version);
            assert_eq!(told, format!("{expected} got {}", name.to_lowercase()));
        }
    }
    // Without a name, as for an address.
    let url = format!("https://{}/", sluice.address());
    let output =
        run(Command::new("curl").args(["-sSk", "--max-time", "60", "--noproxy", "*", &url]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "rest got ");
}

fn fetch(sluice: &Sluice, name: &str, version: &str) -> String {
    let to = format!("::{}", sluice.address());
    let url = format!("https://{name}/");
    let output = run(Command::new("curl")
        .args([
            "-sSk",
            "--max-time",
            "60",
            "--noproxy",
            "*",
            "--connect-to",
            &to,
        ])
        .args([
            version,
            "--tls-max",
            version.trim_start_matches("--tlsv"),
            &url,
        ]));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Ends TLS for two names; what one of them gets goes elsewhere.
fn ending_tls(ca: &Authority, more: &str, app: &Upstream, other: &Upstream) -> String {
    format!(
        "server:\n  listen:\n    address: 127.0.0.1:0\n    protocol: tcp\n    tls:\n      \
         certificates: [{}, {}]\n{more}    routes: [{{sni: other.test, upstream: other}}]\n    upstream: app\n  \
         workers: 1\n  upstreams:\n    - {{id: app, url: '{}'}}\n    - {{id: other, url: '{}'}}\n  rules: []\n",
        ca.pair("app", &["app.test"]),
        ca.pair("other", &["other.test"]),
        app.address(),
        other.address()
    )
}

#[test]
fn clients_that_say_nothing_of_tls_are_let_go_in_time() {
    let ca = Authority::new();
    let upstream = echoing();
    let ending = ending_tls(&ca, "", &upstream, &upstream);
    let passing = tcp(&upstream, "").replace(
        "upstream: app}",
        "upstream: app, routes: [{sni: app.test, upstream: app}]}",
    );
    for yaml in [ending, passing] {
        let bound = "  limits: {handshakeTimeout: 300ms}\n  rules: []";
        let sluice = Sluice::start(&yaml.replace("  rules: []", bound));
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        let openings: [&[u8]; 3] = [b"", b"\x16", &hello];
        let silent = openings.iter().cycle().take(30).map(|opening| {
            let mut client = Client::connect(sluice.address());
            client.send(opening);
            client
        });
        for mut client in silent.collect::<Vec<_>>() {
            // A word about why is an alert; what was not read makes the end a reset.
            let said = client.wire.read_to_end().unwrap_or_default();
            assert!(said.len() <= 7, "{said:?}");
        }
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn clients_without_a_certificate_are_kept_out_where_one_is_required() {
    let ca = Authority::new();
    let upstream = answering_at_the_end("app");
    let require = format!("      clientAuth: {{ca: {}}}\n", ca.ca().display());
    let sluice = Sluice::start(&ending_tls(&ca, &require, &upstream, &upstream));
    let address = sluice.address();
    let refused = Secure::trusting(&ca.pem)
        .try_connect(address, "app.test")
        .and_then(|mut connection| connection.rest());
    assert!(refused.is_err());
    let own = ca.issue_to("client", &["client.test"]);
    let mut known = Secure::showing(&ca.pem, Some(&own)).connect(address, "app.test");
    known.send("hello");
    known.finish_sending();
    assert_eq!(known.rest().unwrap(), "app got hello");
    assert_eq!(upstream.connections(), 1);
}

/// Says a text after its client has ended.
fn answering_at_the_end(text: &'static str) -> Upstream {
    Upstream::start(move |exchange| {
        let got = exchange.wire.read_to_end()?;
        exchange.write(format!("{text} got {}", String::from_utf8_lossy(&got)))
    })
}

#[test]
fn tls_is_ended_and_what_is_inside_goes_on() {
    let ca = Authority::new();
    let (app, other) = (answering_at_the_end("app"), answering_at_the_end("other"));
    let sluice = Sluice::start(&ending_tls(&ca, "", &app, &other));
    let client = Secure::trusting(&ca.pem);
    for name in ["app", "other"] {
        let mut connection = client.connect(sluice.address(), &format!("{name}.test"));
        connection.send("hello");
        connection.finish_sending();
        assert_eq!(connection.rest().unwrap(), format!("{name} got hello"));
    }
    let mut plain = Client::connect(sluice.address());
    plain.send("hello\n");
    plain.assert_ended();
    let metrics = get(sluice.admin(), "/metrics").with_status(200).text();
    let has = |text: &str| assert!(metrics.contains(text), "{text} in {metrics}");
    has("sluice_tls_handshakes_total{listener=\"127.0.0.1:0\",result=\"completed\"} 2\n");
    has("sluice_tls_handshakes_total{listener=\"127.0.0.1:0\",result=\"plaintext\"} 1\n");
    has("sluice_tcp_connections_total{listener=\"127.0.0.1:0\",upstream=\"other\"} 1\n");
    assert_eq!(app.connections(), 1, "the one that spoke TLS");
}

#[test]
fn a_connection_that_breaks_off_is_no_end_to_a_client_of_tls() {
    let ca = Authority::new();
    let breaking = Upstream::start(|exchange| {
        exchange.wire.read_exact(5)?;
        let socket = socket2::SockRef::from(exchange.wire.stream());
        socket.set_linger(Some(std::time::Duration::ZERO))
    });
    let sluice = Sluice::start(&ending_tls(&ca, "", &breaking, &breaking));
    let mut connection = Secure::trusting(&ca.pem).connect(sluice.address(), "app.test");
    connection.send("hello");
    assert!(connection.rest().is_err());
}

#[test]
fn openssl_speaks_to_a_plain_server_through_it() {
    let Some(mut openssl) = find("openssl") else {
        return;
    };
    let ca = Authority::new();
    let upstream = echoing();
    let sluice = Sluice::start(&ending_tls(&ca, "", &upstream, &upstream));
    let mut child = openssl
        .args(["s_client", "-quiet", "-verify_return_error", "-CAfile"])
        .arg(ca.ca())
        .args(["-servername", "app.test", "-verify_hostname", "app.test"])
        .args(["-connect", &sluice.address().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = child.stdin.take().unwrap();
    let mut heard = BufReader::new(child.stdout.take().unwrap()).lines();
    for text in ["hello", "again"] {
        writeln!(said, "{text}").unwrap();
        assert_eq!(heard.next().unwrap().unwrap(), text);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What is inside is not known, so nothing is agreed on.
    let output = Command::new("openssl")
        .args(["s_client", "-alpn", "h2,http/1.1", "-connect"])
        .arg(sluice.address().to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("No ALPN negotiated"), "{told}");
}
