//! The access log and tracing of the real program.

use nix::sys::signal::Signal;

use super::echo;
use crate::harness::{Sluice, Upstream, eventually};

fn lines(path: &std::path::Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.lines().filter(|line| line.ends_with('}'));
    whole
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_request_gets_a_line_and_usr1_follows_a_moved_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let sluice = Sluice::start(&echo(
        2,
        &format!(
            "accessLog:\n  mode: on\n  path: {}\n  headers: [cookie]\n",
            path.display()
        ),
    ));
    let get =
        "GET /a?b=c HTTP/1.1\r\nhost: example.com\r\nuser-agent: a\"\tb\r\ncookie: hunter2\r\n\r\n";
    for _ in 0..10 {
        assert_eq!(sluice.request(get).status, 200);
    }
    let written = eventually("ten lines are written", || {
        let lines = lines(&path);
        (lines.len() == 10).then_some(lines)
    });
    let line = &written[0];
    assert_eq!(
        (&line["host"], &line["path"]),
        (&"example.com".into(), &"/a?b=c".into())
    );
    assert_eq!(
        (&line["status"], &line["route"]),
        (&200.into(), &"all".into())
    );
    assert_eq!(
        (&line["generation"], &line["headers"]["cookie"]),
        (&1.into(), &"***".into())
    );
    assert_eq!(line["user_agent"], "a\"\tb");

    let moved = folder.path().join("access.log.1");
    std::fs::rename(&path, &moved).unwrap();
    sluice.signal(Signal::SIGUSR1);
    eventually("the file is made again", || path.exists().then_some(()));
    // Each worker opens it again in its own time; none writes to both.
    eventually("lines reach the new file", || {
        assert_eq!(sluice.request(get).status, 200);
        (!lines(&path).is_empty()).then_some(())
    });
}

#[test]
fn the_log_is_switched_on_and_off_by_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let sluice = Sluice::start(&echo(1, ""));
    assert_eq!(sluice.get("/before").status, 200);
    let on = format!(
        "accessLog:\n  mode: on\n  path: {}\n  fields: [path, generation]\n",
        path.display()
    );
    sluice.rewrite(&echo(1, &on));
    eventually("requests are logged", || {
        assert_eq!(sluice.get("/during").status, 200);
        (!lines(&path).is_empty()).then_some(())
    });
    let first = &lines(&path)[0];
    assert_eq!(
        *first,
        serde_json::json!({"path": "/during", "generation": 2})
    );
}

/// The fields of a protobuf message: number and bytes; numbers are given as their bytes too.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let end = message
            .iter()
            .position(|byte| *byte < 0x80)
            .expect("a varint ends")
            + 1;
        let (number, rest) = message.split_at(end);
        *message = rest;
        number
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
    }
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = match tag & 7 {
            0 => varint(&mut message).to_be_bytes().to_vec(),
            1 => message.split_off(..8).expect("eight bytes").to_vec(),
            2 => {
                let length = varint(&mut message) as usize;
                message
                    .split_off(..length)
                    .expect("as long as it says")
                    .to_vec()
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, value));
    }
    fields
}

fn field(message: &[u8], number: u64) -> Vec<u8> {
    let mut fields = fields(message).into_iter();
    fields
        .find(|(found, _)| *found == number)
        .unwrap_or_else(|| panic!("no field {number}"))
        .1
}

/// Key and value, numbers as text.
fn attributes(message: &[u8], number: u64) -> Vec<(String, String)> {
    let pairs = fields(message)
        .into_iter()
        .filter(|(found, _)| *found == number);
    pairs
        .map(|(_, pair)| {
            let (kind, value) = fields(&field(&pair, 2)).remove(0);
            let value = match kind {
                1 => String::from_utf8(value).unwrap(),
                3 => u64::from_be_bytes(value.try_into().unwrap()).to_string(),
                other => panic!("value of kind {other}"),
            };
            (String::from_utf8(field(&pair, 1)).unwrap(), value)
        })
        .collect()
}

#[test]
fn sampled_requests_reach_the_collector_as_spans() {
    let collector = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let upstream = Upstream::saying("hello");
    let sluice = Sluice::start(&format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 1\n  upstreams:\n    - id: app\n      url: {}\n  \
         rules:\n    - name: all\n      path: /\n      upstreams: [app]\ntracing:\n  endpoint: \
         {}/v1/traces\n  serviceName: edge\n  sampleEvery: 1\n",
        upstream.url(),
        collector.url(),
    ));
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let get = format!(
        "GET /a?b=c HTTP/1.1\r\nhost: x.test\r\ntraceparent: {given}\r\ntracestate: v=1\r\n\r\n"
    );
    assert_eq!(sluice.request(get).status, 200);

    let export = eventually("the collector is sent something", || {
        collector.requests().pop()
    });
    assert_eq!(
        export.head.header("content-type"),
        Some("application/x-protobuf")
    );
    let resource_spans = field(&export.body, 1);
    let resource = attributes(&field(&resource_spans, 1), 1);
    assert!(
        resource.contains(&("service.name".to_owned(), "edge".to_owned())),
        "{resource:?}"
    );
    let span = field(&field(&resource_spans, 2), 2);
    let hex = |bytes: Vec<u8>| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(hex(field(&span, 1)), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(field(&span, 4)), "00f067aa0ba902b7");
    assert_eq!(
        (field(&span, 3), field(&span, 5)),
        (b"v=1".to_vec(), b"GET all".to_vec())
    );
    let time = |number| u64::from_le_bytes(field(&span, number).try_into().unwrap());
    assert!(
        time(7) <= time(8) && time(7) > 1_700_000_000_000_000_000,
        "{} {}",
        time(7),
        time(8)
    );
    let told = attributes(&span, 9);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/a"),
        ("http.route", "all"),
        ("sluice.upstream", "app"),
        ("http.response.status_code", "200"),
    ] {
        assert!(
            told.contains(&(key.to_owned(), value.to_owned())),
            "{key} in {told:?}"
        );
    }
    let forwarded = upstream.requests().remove(0);
    let ours = hex(field(&span, 2));
    let parent = forwarded.head.header("traceparent").unwrap().to_owned();
    assert_eq!(
        parent,
        format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{ours}-01")
    );
    assert_eq!(forwarded.head.header("tracestate"), Some("v=1"));
}

#[test]
fn without_tracing_the_clients_trace_passes_as_it_came() {
    let upstream = Upstream::saying("hello");
    let sluice = Sluice::to(&upstream);
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let get = format!("GET / HTTP/1.1\r\nhost: a\r\ntraceparent: {given}\r\n\r\n");
    assert_eq!(sluice.request(get).status, 200);
    assert_eq!(
        upstream.requests().remove(0).head.header("traceparent"),
        Some(given)
    );
}
