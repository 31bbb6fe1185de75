use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::{Lines, escape};
use crate::model::config::observe::AccessLogFormat;
use crate::model::fields::Fields;
use crate::model::load;
use crate::model::resolved::Address;
use crate::proxy::error::Reason;
use crate::proxy::observe::writer::Writer;
use crate::proxy::observe::{Observation, Watched};

struct Logged {
    lines: Lines,
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Logged {
    fn with(more: &str) -> Logged {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let yaml = format!(
            "server:\n  listen: 80\n  upstreams:\n    - id: app\n      url: builtin://echo\n  rules:\n    \
             - name: all\n      path: /\n      upstreams: [app]\naccessLog:\n  mode: on\n  path: {}\n{more}",
            path.display()
        );
        let loaded = load(&yaml, &mut |_| Err("none".to_owned()));
        let config = loaded
            .config
            .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let log = config.access_log.clone().unwrap();
        let writer = Rc::new(Writer::open(&log.destination, log.buffer as usize).unwrap());
        Logged {
            lines: Lines::build(&config, &log, writer, 3),
            path,
            _folder: folder,
        }
    }

    fn written(&self) -> String {
        self.lines.writer.finish();
        std::fs::read_to_string(&self.path).unwrap()
    }
}

fn seen() -> Observation {
    let mut seen = Observation::begin(Watched::nothing(7), 2, "192.0.2.1:999".parse().unwrap());
    seen.target = "/a?b=%20".parse().unwrap();
    seen.host = Some(Bytes::from_static(b"example.com"));
    seen.user_agent = Some(Bytes::from_static(b"evil\t\"\xe9"));
    seen.route = Some(0);
    seen.upstream = Some(0);
    seen.endpoint = Some(Address::Ip("[::1]:80".parse().unwrap()));
    seen.attempts = 2;
    seen.connect = Some(Duration::from_micros(1_500));
    seen.upstream_head = Some(Duration::from_millis(7));
    seen.duration = Duration::from_micros(12_345);
    seen.status = Some(StatusCode::OK);
    seen.response_bytes = 5;
    seen
}

#[test]
fn a_line_is_json_with_every_field() {
    let log = Logged::with("");
    log.lines.request(&seen());
    let line = log.written();
    let parsed: serde_json::Value =
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
    let fields: Vec<_> = crate::model::config::observe::LogField::ALL
        .map(|field| field.name())
        .to_vec();
    assert_eq!(parsed.as_object().unwrap().len(), fields.len());
    for (name, value) in [
        ("client", serde_json::json!("192.0.2.1")),
        ("method", "GET".into()),
        ("host", "example.com".into()),
        ("path", "/a?b=%20".into()),
        ("protocol", "HTTP/1.1".into()),
        ("status", 200.into()),
        ("bytes_sent", 5.into()),
        ("duration_ms", serde_json::json!(12.345)),
        ("route", "all".into()),
        ("upstream", "app".into()),
        ("endpoint", "[::1]:80".into()),
        ("upstream_status", 200.into()),
        ("upstream_connect_ms", serde_json::json!(1.5)),
        ("attempts", 2.into()),
        ("reason", serde_json::Value::Null),
        ("trace_id", serde_json::Value::Null),
        ("worker", 3.into()),
        ("generation", 7.into()),
    ] {
        assert_eq!(parsed[name], value, "{name} in {line}");
    }
    let time = parsed["time"].as_str().unwrap();
    assert!(
        time.len() == 24 && time.starts_with("20") && time.ends_with('Z'),
        "{time}"
    );
}

#[test]
fn text_is_the_values_alone() {
    let log = Logged::with(
        "  format: text\n  fields: [client, method, path, status, reason, user_agent]\n",
    );
    let mut seen = seen();
    seen.user_agent = Some(Bytes::from_static(b"a b"));
    log.lines.request(&seen);
    seen.reason = Some(Reason::NoRoute);
    seen.status = None;
    seen.user_agent = None;
    log.lines.request(&seen);
    let reason = Reason::NoRoute.code();
    assert_eq!(
        log.written(),
        format!("192.0.2.1 GET /a?b=%20 200 - \"a b\"\n192.0.2.1 GET /a?b=%20 - {reason} -\n")
    );
}

#[test]
fn headers_are_logged_by_name_and_credentials_masked() {
    let log = Logged::with("  fields: [status]\n  headers: [X-Team, Authorization, x-absent]\n");
    let headers = Fields::of(&[("X-Team", "blue"), ("Authorization", "Bearer hunter2")]);
    let mut seen = seen();
    seen.headers = log.lines.capture(&headers);
    log.lines.request(&seen);
    let expected =
        r#"{"status":200,"headers":{"x-team":"blue","authorization":"***","x-absent":null}}"#;
    assert_eq!(log.written(), format!("{expected}\n"));
}

#[test]
fn one_of_so_many_is_logged() {
    let log = Logged::with("  fields: [status]\n");
    let mut lines = log.lines;
    lines.settings.one_of = 10;
    (0..95).for_each(|_| lines.request(&seen()));
    lines.writer.finish();
    assert_eq!(
        std::fs::read_to_string(&log.path).unwrap().lines().count(),
        9
    );
}

#[test]
fn what_the_proxy_answered_is_not_the_upstreams_status() {
    let log = Logged::with("  format: text\n  fields: [status, upstream_status]\n");
    assert_eq!(log.lines.settings.format, AccessLogFormat::Text);
    let mut seen = seen();
    seen.reason = Some(Reason::UpstreamBodyBroken);
    log.lines.request(&seen);
    seen.upstream_head = None;
    seen.reason = Some(Reason::ConnectFailed);
    seen.status = Some(Reason::ConnectFailed.status());
    log.lines.request(&seen);
    assert_eq!(log.written(), "200 200\n502 -\n");
}

#[test]
fn whatever_a_client_sends_a_line_stays_a_line() {
    proptest::proptest!(|(text: Vec<u8>)| {
        let mut line = vec![b'"'];
        escape(&text, &mut line);
        line.push(b'"');
        let parsed: String = serde_json::from_slice(&line).unwrap();
        proptest::prop_assert!(!line.iter().any(|byte| *byte < 0x20 || *byte == 0x7f));
        proptest::prop_assert!(text.len() > 1024 || parsed == String::from_utf8_lossy(&text));
    });
    let mut line = Vec::new();
    escape("a\u{202e}b\u{85}c\"\\\n".as_bytes(), &mut line);
    assert_eq!(
        String::from_utf8(line).unwrap(),
        r#"a\u202eb\u0085c\"\\\u000a"#
    );
    let mut line = Vec::new();
    escape(&[b'x'; 5_000], &mut line);
    assert_eq!(line.len(), 1024 + 3);
}
