//! What is counted, logged and traced of requests that really went through.

use std::time::Duration;

use tokio::net::TcpListener;

use super::support::{Stage, Wire, play, within};
use crate::model::config::observe::{
    AccessLog, AccessLogFormat, LogDestination, LogField, Tracing,
};
use crate::proxy::error::Reason;
use crate::shm::series::{ConnectionState, FIRST_NAME, Family, Key, NONE, method_and_code};

/// As `Names::assign` gives them out for the stage's configuration.
const ROUTE: u32 = FIRST_NAME;
const UPSTREAM: u32 = FIRST_NAME + 1;
const LISTENER: u32 = FIRST_NAME + 2;

fn counted(stage: &Stage, key: Key) -> u64 {
    stage
        .observer
        .totals()
        .scalars
        .get(&key)
        .copied()
        .unwrap_or_default()
}

fn requests(route: u32, upstream: u32, method: &str, code: u16) -> Key {
    let detail = method_and_code(&method.parse().unwrap(), code);
    Key::new(Family::Requests, route, upstream, detail)
}

async fn answer(stage: &Stage, request: &str, response: &str) -> (Wire, Wire) {
    let (mut client, mut upstream, _) = stage.forwarded(request).await;
    upstream.send(response).await;
    client.head().await;
    stage.observed().await;
    (client, upstream)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[test]
fn requests_are_counted_by_route_upstream_method_and_code() {
    play(
        |_| {},
        |stage| async move {
            let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";
            let (_client, _upstream) = answer(&stage, post, OK).await;
            assert_eq!(counted(&stage, requests(ROUTE, UPSTREAM, "POST", 200)), 1);
            let bytes = |family| counted(&stage, Key::new(family, ROUTE, UPSTREAM, 0));
            assert_eq!(
                (bytes(Family::RequestBytes), bytes(Family::ResponseBytes)),
                (3, 5)
            );
            let totals = stage.observer.totals();
            for key in [
                Key::new(Family::RequestDuration, ROUTE, UPSTREAM, 0),
                Key::new(Family::UpstreamDuration, UPSTREAM, 0, 0),
                Key::new(Family::UpstreamConnect, UPSTREAM, 0, 0),
            ] {
                assert_eq!(
                    totals.histograms.get(&key).map(|read| read.count()),
                    Some(1),
                    "{key:?}"
                );
            }
            let state = |state| {
                counted(
                    &stage,
                    Key::new(Family::Connections, LISTENER, state as u32, 0),
                )
            };
            assert_eq!(
                (state(ConnectionState::Active), state(ConnectionState::Idle)),
                (0, 1)
            );
            let active = ConnectionState::Active as u32;
            assert_eq!(
                counted(
                    &stage,
                    Key::new(Family::UpstreamConnections, UPSTREAM, active, 0)
                ),
                0
            );
            assert_eq!(counted(&stage, Key::new(Family::InFlight, 0, 0, 0)), 0);
        },
    );
}

#[test]
fn refusals_are_counted_by_reason_without_a_route() {
    play(
        |config| config.rules.clear(),
        |stage| async move {
            let mut client = stage.client().await;
            client.send("GET /x HTTP/1.1\r\nhost: a\r\n\r\n").await;
            client.head().await;
            stage.observed().await;
            assert_eq!(counted(&stage, requests(NONE, NONE, "GET", 404)), 1);
            let reason = Reason::NoRoute.index() as u32;
            assert_eq!(counted(&stage, Key::new(Family::Errors, reason, 0, 0)), 1);
        },
    );
}

#[test]
fn the_access_log_gets_a_line_when_the_worker_has_drained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog {
        destination: LogDestination::File(path.to_str().unwrap().to_owned()),
        format: AccessLogFormat::Text,
        fields: vec![
            LogField::Method,
            LogField::Path,
            LogField::Status,
            LogField::Route,
        ],
        headers: vec!["cookie".to_owned()],
        one_of: 1,
        buffer: 1 << 20,
    };
    play(
        |config| config.access_log = Some(log),
        |stage| async move {
            let get = "GET /a HTTP/1.1\r\nhost: a\r\ncookie: secret\r\n\r\n";
            let (client, upstream) = answer(&stage, get, OK).await;
            drop((client, upstream));
            stage.proxy.drain(Duration::from_secs(5));
            within(stage.proxy.drained()).await;
            let line = std::fs::read_to_string(&path).unwrap();
            assert_eq!(line, "GET /a 200 \"to 0 by /\" ***\n");
            let written = Key::new(Family::LogLines, 0, 0, 0);
            assert_eq!(counted(&stage, written), 1);
        },
    );
}

#[test]
fn a_log_that_cannot_be_opened_is_refused_in_prepare() {
    play(
        |_| {},
        |stage| async move {
            let mut config = super::support::config("127.0.0.1:1".parse().unwrap());
            config.access_log = Some(AccessLog {
                destination: LogDestination::File("/nonexistent/access.log".to_owned()),
                format: AccessLogFormat::Json,
                fields: vec![LogField::Path],
                headers: Vec::new(),
                one_of: 1,
                buffer: 1 << 20,
            });
            let refused = stage.proxy.prepare(&config, &Default::default(), 2);
            let Err(error) = refused else {
                panic!("it was taken")
            };
            assert!(
                error.to_string().contains("/nonexistent/access.log"),
                "{error}"
            );
        },
    );
}

#[test]
fn a_sampled_request_becomes_a_span_at_the_collector() {
    let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = collector.local_addr().unwrap().to_string();
    let tracing = Tracing {
        authority,
        path: "/v1/traces".to_owned(),
        service_name: "edge".to_owned(),
        one_of: 1_000_000,
    };
    play(
        |config| config.tracing = Some(tracing),
        |stage| async move {
            collector.set_nonblocking(true).unwrap();
            let collector = TcpListener::from_std(collector).unwrap();
            let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
            let get = format!("GET /a HTTP/1.1\r\nhost: a\r\ntraceparent: {given}\r\n\r\n");
            let (mut client, mut upstream, head) = stage.forwarded(&get).await;
            assert!(
                head.contains("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"),
                "{head}"
            );
            assert!(
                !head.to_ascii_lowercase().contains(given),
                "the upstream's parent is our span: {head}"
            );
            upstream.send(OK).await;
            client.head().await;

            let mut export = Wire::over(within(collector.accept()).await.unwrap().0);
            let head = export.head().await;
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
            let parent = 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes();
            let body = export
                .bytes_with(&[&trace, &parent, b"edge", b"GET to 0 by /"])
                .await;
            assert!(body.len() > 100);
            export
                .send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await;
        },
    );
}
