//! The admin port from outside: probes through a life, status and config, calls that change something.

use nix::sys::signal::Signal;

use super::{echo, metric};
use crate::harness::sluice::Launch;
use crate::harness::{Gate, Sluice, Upstream, eventually, foreign, get, request};

fn post(sluice: &Sluice, path: &str) -> crate::harness::Response {
    request(
        sluice.admin(),
        format!("POST {path} HTTP/1.1\r\nhost: a\r\n\r\n"),
    )
}

#[test]
fn ready_while_it_serves_and_not_from_the_first_moment_of_a_drain() {
    let gate = Gate::closed();
    let behind = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        exchange.request()?;
        behind.pass();
        exchange
            .wire
            .write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    });
    let mut sluice = Sluice::to(&upstream);
    assert_eq!(
        get(sluice.admin(), "/readyz").with_status(200).text(),
        "ok\n"
    );
    assert_eq!(
        get(sluice.admin(), "/healthz").with_status(200).text(),
        "ok\n"
    );
    let verbose = get(sluice.admin(), "/livez?verbose")
        .with_status(200)
        .text();
    assert_eq!(verbose, "[+] supervisor ok\n[+] worker-0 ok\n");

    let mut client = sluice.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("the request is at the upstream", || {
        (!upstream.requests().is_empty()).then_some(())
    });
    sluice.signal(Signal::SIGTERM);
    eventually("it says that it drains", || {
        let ready = get(sluice.admin(), "/readyz");
        (ready.status == 503 && ready.text() == "serving: draining\n").then_some(())
    });
    assert_eq!(
        get(sluice.admin(), "/livez").status,
        200,
        "draining is alive"
    );
    assert_eq!(get(sluice.admin(), "/status").json()["state"], "draining");
    gate.open();
    assert_eq!(client.response("GET").status, 200);
    assert!(sluice.wait_for_exit().success());
}

#[test]
fn a_reload_asked_for_is_answered_with_its_result() {
    let sluice = Sluice::start(&echo(1, ""));
    sluice.rewrite(
        "server:\n  listen: 127.0.0.1:0\n  rules:\n    - path: /\n      upstreams: [nobody]\n",
    );
    let refused = post(&sluice, "/reload");
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("nobody"), "{}", refused.text());
    let status = get(sluice.admin(), "/status").json();
    assert_eq!(status["generation"], 1);
    assert_eq!(status["lastReload"]["result"], "rejected");
    assert!(
        !status["lastReload"]["errors"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        metric(sluice.admin(), "sluice_config_last_reload_successful"),
        Some(0.0)
    );
    assert_eq!(
        get(sluice.admin(), "/readyz").status,
        200,
        "the old generation serves on"
    );

    sluice.rewrite(&echo(1, "log:\n  level: debug\n"));
    let taken = post(&sluice, "/reload");
    assert_eq!(taken.status, 200, "{}", taken.text());
    assert_eq!(taken.json()["generation"], 2);
    assert_eq!(
        metric(sluice.admin(), "sluice_config_last_reload_successful"),
        Some(1.0)
    );
}

#[test]
fn secrets_are_shown_nowhere() {
    let yaml = "server:\n  listen: 127.0.0.1:0\n  workers: 1\n  upstreams:\n    - id: app\n      url: \
                builtin://echo\n  headers:\n    - key: x-secret\n      value: env:HIDDEN\n    - key: \
                authorization\n      value: Bearer hunter2\n  rules:\n    - path: /\n      upstreams: \
                [app]\nlog:\n  level: trace\nadmin:\n  listen: 127.0.0.1:0\n  token: env:TOKEN\n";
    let sluice = Launch::new(yaml)
        .env("HIDDEN", "hunter1")
        .env("TOKEN", "hunter3")
        .start();
    assert!(
        sluice.get("/").text().contains("hunter1"),
        "the upstream gets the value"
    );
    let config = get(sluice.admin(), "/config").with_status(200);
    assert_eq!(config.json()["generation"], 1);
    let shown = get(sluice.admin(), "/config?format=yaml").with_status(200);
    let shown = shown.text();
    assert!(
        shown.starts_with("generation: 1\n") && shown.contains("\n  workers:"),
        "{shown}"
    );
    for path in [
        "/config",
        "/config?format=yaml",
        "/status",
        "/metrics",
        "/routes",
        "/upstreams",
        "/",
    ] {
        let shown = get(sluice.admin(), path).with_status(200).text();
        assert!(!shown.contains("hunter"), "{path}: {shown}");
    }
    let refused = request(
        sluice.admin(),
        "POST /reload HTTP/1.1\r\nhost: a\r\nauthorization: Bearer wrong\r\n\r\n",
    );
    assert_eq!(refused.status, 403);
    let granted = request(
        sluice.admin(),
        "POST /reload HTTP/1.1\r\nhost: a\r\nauthorization: Bearer hunter3\r\n\r\n",
    );
    assert_eq!(granted.status, 200, "{}", granted.text());
    assert!(
        !sluice.log().text().contains("hunter"),
        "{}",
        sluice.log().text()
    );
}

#[test]
fn promtool_has_no_remark_on_what_is_scraped() {
    let Some(mut promtool) = foreign::find("promtool") else {
        return;
    };
    let sluice = Sluice::start(&echo(2, ""));
    assert_eq!(sluice.get("/").status, 200);
    let text = get(sluice.admin(), "/metrics").text();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics");
    std::fs::write(&file, text).unwrap();
    let output = promtool
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty() && output.stdout.is_empty(),
        "{output:?}"
    );
}

#[test]
fn the_terminal_shows_what_the_port_tells() {
    let sluice = Sluice::start(&echo(1, ""));
    assert_eq!(sluice.get("/").status, 200);
    let url = format!("http://{}", sluice.admin());
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sluice"));
        let output = command
            .args(arguments)
            .args(["--admin", &url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&["wait-ready", "--timeout", "20s"]), "ready\n");
    let status = run(&["status"]);
    assert!(
        status.contains("serving  generation 1") && status.contains("\nall "),
        "{status}"
    );
    assert!(run(&["status", "--json"]).starts_with('{'));
    assert!(run(&["top", "--count", "2", "--every", "10ms"]).contains("REQ/S"));
    assert!(run(&["reload"]).contains("(generation "));
    assert!(!run(&["log-level", "debug"]).is_empty());
}
