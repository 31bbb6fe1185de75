//! gRPC through the proxy, by Python's grpcio on both sides; and gRPC-Web, byte by byte.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use nix::sys::signal::Signal;

use crate::harness::certificates::Authority;
use crate::harness::foreign::python;
use crate::harness::{Client, Sluice, Upstream, eventually};

/// A gRPC server of grpcio.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    #[track_caller]
    fn start() -> Option<Server> {
        Server::run(&[])
    }

    /// With TLS by this certificate.
    #[track_caller]
    fn start_with(ca: &Authority, name: &str) -> Option<Server> {
        let file = |end: &str| ca.path(&format!("{name}.{end}"));
        Server::run(&[file("crt"), file("key")])
    }

    #[track_caller]
    fn run(arguments: &[std::path::PathBuf]) -> Option<Server> {
        let mut child = python("grpc", "grpc_server.py")?
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.trim().parse().unwrap();
        Some(Server { child, port })
    }

    /// Everything to this server.
    fn config(&self, server: &str) -> String {
        let url = format!("http://127.0.0.1:{}\n      protocol: h2c", self.port);
        crate::harness::sluice::config(&url, server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[track_caller]
fn run(sluice: &Sluice, scenario: &str) {
    run_with(sluice, scenario, None);
}

/// Over TLS where it is told whom to believe.
#[track_caller]
fn run_with(sluice: &Sluice, scenario: &str, ca: Option<&Path>) {
    let address = sluice.address().to_string();
    let mut client = python("grpc", "grpc_client.py").expect("a server was started");
    client
        .args([&address, scenario])
        .envs(ca.map(|ca| ("GRPC_CA", ca)));
    let output = client.output().unwrap();
    assert!(
        output.status.success(),
        "{scenario}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[track_caller]
fn scenario(name: &str) {
    let Some(server) = Server::start() else {
        return;
    };
    let sluice = Sluice::start(&server.config(""));
    run(&sluice, name);
}

#[test]
fn the_four_kinds_of_calls() {
    scenario("calls");
}

#[test]
fn a_deadline_ends_the_call_on_both_sides() {
    scenario("deadline");
}

#[test]
fn a_cancelled_call_is_cancelled_at_the_server() {
    scenario("cancellation");
}

#[test]
fn large_messages_both_ways() {
    scenario("large");
}

#[test]
fn all_of_it_over_tls_to_the_server() {
    let ca = Authority::new();
    ca.pair("app", &["app.test"]);
    let Some(server) = Server::start_with(&ca, "app") else {
        return;
    };
    let ca = ca.ca();
    let chosen = ["protocol: h2", "protocol: auto"];
    for (protocol, alpn) in chosen.into_iter().zip(["", ", alpn: [h2, http/1.1]"]) {
        let url = format!(
            "https://127.0.0.1:{}\n      {protocol}\n      tls: {{ca: {}, serverName: app.test{alpn}}}",
            server.port,
            ca.display()
        );
        let sluice = Sluice::start(&crate::harness::sluice::config(&url, ""));
        for scenario in ["calls", "deadline", "cancellation", "large"] {
            run(&sluice, scenario);
        }
    }
}

#[test]
fn all_of_it_over_tls_from_the_client() {
    let Some(server) = Server::start() else {
        return;
    };
    let ca = Authority::new();
    let tls = format!("tls: {{certificates: [{}]}}", ca.pair("a", &["a.test"]));
    let listen = format!("listen: {{address: '127.0.0.1:0', {tls}}}");
    let yaml = server.config("").replace("listen: 127.0.0.1:0", &listen);
    let sluice = Sluice::start(&yaml);
    for scenario in ["calls", "deadline", "cancellation", "large"] {
        run_with(&sluice, scenario, Some(&ca.ca()));
    }
}

#[test]
fn errors_of_the_proxy_are_statuses_of_grpc() {
    let Some(server) = Server::start() else {
        return;
    };
    let nobody = crate::harness::sluice::config("http://127.0.0.1:1\n      protocol: h2c", "");
    run(&Sluice::start(&nobody), "unavailable");
    let elsewhere = server.config("").replace("path: /", "path: /other");
    run(&Sluice::start(&elsewhere), "unimplemented");
}

#[test]
fn a_call_that_one_server_is_too_busy_for_goes_to_another_where_asked() {
    let (Some(busy), Some(other)) = (Server::start(), Server::start()) else {
        return;
    };
    // Ejected, it would get none of them.
    let common =
        "protocol: h2c\n      balance: round-robin\n      outlierDetection: {consecutiveErrors: 0}";
    let retry = "retry: {on: [unavailable], methods: [POST]}";
    for (retry, fail) in [("", "10"), (retry, "0")] {
        let url = format!("http://127.0.0.1:{}", busy.port);
        let second = format!("http://127.0.0.1:{}", other.port);
        let yaml = crate::harness::sluice::config(&url, "");
        let yaml = yaml.replace(
            &format!("      url: {url}\n"),
            &format!("      servers: ['{url}', '{second}']\n      {common}\n      {retry}\n"),
        );
        let sluice = Sluice::start(&yaml);
        let mut client = python("grpc", "grpc_client.py").expect("a server was started");
        let address = sluice.address().to_string();
        client.args([&address, "busy", &busy.port.to_string()]);
        let output = client.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            told.trim(),
            fail,
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// A client that holds a stream open and says on it what it is told.
struct Holder {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Holder {
    fn start(sluice: &Sluice) -> Holder {
        let mut child = python("grpc", "grpc_client.py")
            .expect("a server was started")
            .args([&sluice.address().to_string(), "hold"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut holder = Holder {
            child,
            input,
            output,
        };
        assert_eq!(holder.line(), "re: begin");
        holder
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn say(&mut self, text: &str) {
        writeln!(self.input.as_mut().unwrap(), "{text}").unwrap();
        assert_eq!(self.line(), format!("re: {text}"));
    }

    #[track_caller]
    fn end(mut self) {
        self.input = None;
        let served = self.line();
        assert!(
            served.ends_with(" served") && served != "0 served",
            "{served}"
        );
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn a_stream_lives_through_reloads_and_calls_do_not_fail() {
    let Some(server) = Server::start() else {
        return;
    };
    let sluice = Sluice::start(&server.config(""));
    let mut holder = Holder::start(&sluice);
    for round in 1..=5 {
        sluice.rewrite(&server.config(&format!("headers: [{{key: x-round, value: '{round}'}}]")));
        eventually("it is reloaded", || {
            (sluice.log().all("reload done").len() > round).then_some(())
        });
        holder.say(&format!("round {round}"));
    }
    holder.end();
}

#[test]
fn a_stream_lives_through_the_drain_of_its_worker_and_calls_do_not_fail() {
    let Some(server) = Server::start() else {
        return;
    };
    let two = server.config("").replace("workers: 1", "workers: 2");
    let sluice = Sluice::start(&two);
    let mut holders = [Holder::start(&sluice), Holder::start(&sluice)];
    for workers in [1, 2, 1] {
        sluice.rewrite(&two.replace("workers: 2", &format!("workers: {workers}")));
        eventually("so many workers serve", || {
            let status = crate::harness::get(sluice.admin(), "/status").json();
            let all = status["workers"].as_array()?.iter();
            let serving = all.filter(|worker| worker["state"] == "serving");
            (serving.count() == workers).then_some(())
        });
        for holder in &mut holders {
            holder.say(&format!("{workers} workers"));
        }
    }
    holders.into_iter().for_each(Holder::end);
    sluice.signal(Signal::SIGTERM);
}

/// One message of gRPC.
fn message(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[0][..], &length, text].concat()
}

fn web(sluice: &Sluice, kind: &str, body: &[u8]) -> crate::harness::Response {
    let mut client: Client = sluice.connect();
    let head = format!(
        "POST /test.Echo/Unary HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nX-Ask: web\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    client.send([head.as_bytes(), body].concat());
    client.response("POST").with_status(200)
}

const TRAILERS: &[u8] = b"grpc-status: 0\r\n";

#[test]
fn grpc_web_is_translated_where_asked() {
    let Some(server) = Server::start() else {
        return;
    };
    let sent = message(b"hello");
    for at in [
        "      protocol: h2c\n      grpcWeb: true",
        "      protocol: h2c",
    ] {
        let yaml = server.config("").replace("      protocol: h2c", at);
        let yaml = match at.contains("grpcWeb") {
            true => yaml,
            false => yaml.replace("    - path: /\n", "    - path: /\n      grpcWeb: true\n"),
        };
        let sluice = Sluice::start(&yaml);
        let response = web(&sluice, "application/grpc-web+proto", &sent);
        assert_eq!(
            response.header("content-type"),
            Some("application/grpc-web+proto")
        );
        assert!(response.body.starts_with(&sent), "{:?}", response.text());
        let rest = &response.body[sent.len()..];
        assert_eq!(rest[0], 0x80);
        let text = String::from_utf8_lossy(&rest[5..]).into_owned();
        assert!(text.contains("grpc-status: 0\r\n"), "{text}");
        assert!(text.contains("x-trailer: web\r\n"), "{text}");
        assert!(rest.len() > TRAILERS.len());
        // `AAAAAAVoZWxsbw==` is the message in base64.
        let response = web(&sluice, "application/grpc-web-text", b"AAAAAAVoZWxsbw==");
        assert_eq!(
            response.header("content-type"),
            Some("application/grpc-web-text")
        );
        assert!(
            response.text().starts_with("AAAAAAVoZWxsbw=="),
            "{}",
            response.text()
        );
    }
}

#[test]
fn grpc_web_that_nobody_asked_to_translate_goes_on_as_it_is() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    web(&sluice, "application/grpc-web-text", b"AAAA");
    let head = upstream.the_request().head;
    assert_eq!(
        head.header("content-type"),
        Some("application/grpc-web-text")
    );
    let nobody = crate::harness::sluice::config("http://127.0.0.1:1", "errorHeader: true");
    let refused = web(&Sluice::start(&nobody), "application/grpc", b"");
    assert_eq!(refused.header("grpc-status"), Some("14"));
    assert_eq!(refused.header("x-sluice-error"), Some("connect_failed"));
    assert_eq!(refused.header("content-type"), Some("application/grpc"));
    assert!(refused.body.is_empty());
}
