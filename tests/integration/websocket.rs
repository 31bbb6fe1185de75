//! WebSocket and streaming responses with clients and servers that others wrote.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::browser::Browser;
use crate::harness::certificates::Authority;
use crate::harness::foreign::find;
use crate::harness::python::Peer;
use crate::harness::sluice::config;
use crate::harness::{Gate, Sluice, Upstream, eventually, get};
use crate::reload::post;

#[track_caller]
fn start(arguments: &[&str]) -> Option<Peer> {
    Peer::start("websockets", "websocket.py", arguments)
}

/// A server that echoes, and where it listens.
fn server() -> Option<(Peer, String)> {
    let mut server = start(&["server"])?;
    let url = format!("http://127.0.0.1:{}", server.line());
    Some((server, url))
}

#[test]
fn text_binary_large_messages_pings_and_close_codes_go_through() {
    let Some((mut server, url)) = server() else {
        return;
    };
    let sluice = Sluice::start(&config(&url, ""));
    let address = format!("ws://{}/chat", sluice.address());
    let mut client = start(&["conversation", &address]).unwrap();
    assert_eq!(client.line(), "done");
    assert_eq!(server.line(), "closed 4001", "what the client said");
    let metrics = get(sluice.admin(), "/metrics").with_status(200).text();
    let counted = |line: &str| assert!(metrics.contains(line), "{line} in {metrics}");
    counted("\nsluice_tunnels_opened_total{upstream=\"app\"} 2\n");
}

#[test]
fn a_thousand_at_once_stay_through_a_hundred_reloads() {
    let Some((_server, url)) = server() else {
        return;
    };
    let yaml = |round: usize| {
        let header = format!("headers: [{{key: x-round, value: '{round}'}}]");
        config(&url, &header).replace("workers: 1", "workers: 2")
    };
    let sluice = Sluice::start(&yaml(0));
    let address = format!("ws://{}/", sluice.address());
    let mut crowd = start(&["crowd", &address, "1000"]).unwrap();
    assert_eq!(crowd.line(), "open");
    for round in 1..=100 {
        sluice.rewrite(&yaml(round));
        post(&sluice, "/reload").with_status(200);
    }
    crowd.end_input();
    assert_eq!(crowd.line(), "1000 stayed");
}

/// Opens a WebSocket to its own host; what it has got back, and how it was closed.
const SPEAK: &str = "return new Promise((told, failed) => {
    const socket = new WebSocket(`wss://${location.host}/chat`, 'chat');
    const sent = 'x'.repeat(1000000);
    let got = '';
    socket.onopen = () => socket.send(sent);
    socket.onmessage = (message) => {
        got = message.data === sent ? 'all of it' : message.data.length;
        socket.close(4001, 'enough');
    };
    socket.onerror = () => failed(new Error('no WebSocket'));
    socket.onclose = (event) => told(`${got}, ${event.code}`);
});";

#[test]
fn a_browser_opens_one_over_http2() {
    let Some((mut server, url)) = server() else {
        return;
    };
    let ca = Authority::new();
    let log = tempfile::NamedTempFile::new().unwrap();
    let sluice = Sluice::start(&format!(
        "server:\n  listen:\n    address: 127.0.0.1:0\n    tls: {{certificates: [{}]}}\n  workers: 1\n  \
         upstreams:\n    - {{id: chat, url: '{url}'}}\n    - {{id: page, url: builtin://echo}}\n  rules:\n    \
         - {{path: /chat, upstreams: [chat]}}\n    - {{path: /, upstreams: [page]}}\naccessLog:\n  mode: on\n  path: {}\n",
        ca.pair("a", &["localhost"]),
        log.path().display()
    ));
    let page = format!("https://localhost:{}/", sluice.address().port());
    let believing = ["--ignore-certificate-errors"];
    let Some(browser) = Browser::open(&page, &believing) else {
        return;
    };
    assert_eq!(browser.evaluate(SPEAK), "all of it, 4001");
    assert_eq!(server.line(), "closed 4001");
    let line = eventually("a line about it", || {
        let text = std::fs::read_to_string(log.path()).unwrap();
        text.lines()
            .find(|line| line.contains("/chat"))
            .map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["protocol"], "HTTP/2", "{line}");
    assert_eq!(line["status"], 200, "{line}");
}

#[test]
fn events_arrive_as_they_are_sent() {
    for version in ["--http1.1", "--http1.0", "--http2-prior-knowledge"] {
        let Some(mut curl) = find("curl") else { return };
        let gate = Gate::closed();
        let inside = gate.clone();
        let upstream = Upstream::start(move |exchange| {
            exchange.request()?;
            exchange.write(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                 transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
            )?;
            inside.pass();
            exchange.write("9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        });
        let sluice = Sluice::to(&upstream);
        let url = format!("http://{}/events", sluice.address());
        let mut child = curl
            .args(["-sSN", "--max-time", "60", "--noproxy", "*", version, &url])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || lines.next().map(Result::unwrap);
        assert_eq!(line().as_deref(), Some("data: 1"), "before there is more");
        gate.open();
        assert_eq!(line().as_deref(), Some(""));
        assert_eq!(line().as_deref(), Some("data: 2"));
        assert_eq!(line().as_deref(), Some(""));
        assert_eq!(line(), None, "and the end");
        assert!(child.wait().unwrap().success(), "{version}");
    }
}
