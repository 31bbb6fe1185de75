//! What does not pass, and what the client is told then: status, reason and what becomes of the
//! connection.

use std::time::Duration;

use super::support::{Stage, play};
use crate::model::config::{PathPattern, ServerHost, Target};
use crate::model::resolved::{Address, Resolved, ResolvedEndpoint, Standing};
use crate::proxy::error::Reason;
use crate::shm::names::endpoint_name;

async fn expect(stage: &Stage, sent: &str, reason: Reason) {
    let mut client = stage.client().await;
    client.send(sent).await;
    let head = client.head().await;
    let status = format!("HTTP/1.1 {} ", reason.status().as_u16());
    assert!(head.starts_with(&status), "{sent:?} got {head}");
    assert!(
        head.contains(&format!("\r\nx-sluice-error: {reason}\r\n")),
        "{sent:?} got {head}"
    );
    assert_eq!(client.exactly(reason.text().len()).await, reason.text());
    assert_eq!(stage.observed().await.reason, Some(reason));
}

#[test]
fn bad_requests_are_refused_and_never_forwarded() {
    play(
        |config| {
            config.limits.header_timeout = Duration::from_millis(100);
            config.limits.body_bytes = Some(10);
        },
        |stage| async move {
            let long = "x".repeat(40_000);
            let many: String = (0..101).map(|i| format!("X-{i}: 1\r\n")).collect();
            for (sent, reason) in [
                (
                    "GET / HTTP/1.1\nHost: h\n\n".to_owned(),
                    Reason::MalformedRequest,
                ),
                (
                    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: \
                     chunked\r\n\r\n"
                        .to_owned(),
                    Reason::AmbiguousFraming,
                ),
                ("GET / HTTP/1.1\r\n\r\n".to_owned(), Reason::BadHost),
                (
                    "GET x HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
                    Reason::BadTarget,
                ),
                (
                    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".into(),
                    Reason::UnsupportedEncoding,
                ),
                (
                    "GET / HTTP/3.0\r\nHost: h\r\n\r\n".to_owned(),
                    Reason::UnsupportedVersion,
                ),
                (
                    "GET / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n".to_owned(),
                    Reason::UnknownExpectation,
                ),
                (
                    format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n"),
                    Reason::UriTooLong,
                ),
                (
                    format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"),
                    Reason::HeadersTooLarge,
                ),
                (
                    format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n"),
                    Reason::TooManyHeaders,
                ),
                (
                    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n".to_owned(),
                    Reason::BodyTooLarge,
                ),
                ("GET / HTTP/1.1\r\nHost".to_owned(), Reason::HeaderTimeout),
                (
                    "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n".to_owned(),
                    Reason::ConnectMethod,
                ),
            ] {
                expect(&stage, &sent, reason).await;
            }
            assert!(stage.no_upstream_connection().await);
        },
    );
}

#[test]
fn a_bad_body_breaks_the_request_and_is_told() {
    play(
        |config| {
            config.limits.body_bytes = Some(10);
            config.limits.body_timeout = Duration::from_millis(100);
        },
        |stage| async move {
            let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
            for (body, reason) in [
                ("3\r\nabc\r\nxyz\r\n", Reason::MalformedBody),
                ("3\r\nabc\r\n8\r\n12345678\r\n", Reason::BodyTooLarge),
                ("3\r\nabc\r\n", Reason::BodyTimeout),
            ] {
                let (mut client, mut upstream, _) = stage.forwarded(head).await;
                client.send("1\r\nx\r\n").await;
                upstream.until("1\r\nx\r\n").await;
                client.send(body).await;
                let (rest, _) = upstream.rest_or_reset().await;
                assert!(!rest.contains("0\r\n\r\n"), "{rest:?} looks complete");
                let head = client.head().await;
                assert!(
                    head.contains(&format!("x-sluice-error: {reason}\r\n")),
                    "{head}"
                );
                stage.observed().await;
            }
        },
    );
}

#[test]
fn a_request_that_no_rule_takes_is_answered_404_and_the_connection_kept() {
    play(
        |config| config.rules[0].path = PathPattern::Prefix("/only".into()),
        |stage| async move {
            let mut client = stage.client().await;
            for _ in 0..2 {
                client
                    .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
                    .await;
                let head = client.head().await;
                assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
                assert!(head.contains("\r\ndate: "), "{head}");
                assert_eq!(client.exactly(14).await, "Rule not found");
            }
            client
                .send("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                .await;
            let head = client.rest().await;
            assert!(head.contains("\r\ncontent-length: 14\r\n"), "{head}");
            assert!(head.ends_with("\r\n\r\n"), "no body: {head}");
        },
    );
}

#[test]
fn an_answer_is_not_lost_when_the_client_still_sends() {
    play(
        |config| config.limits.body_bytes = Some(10),
        |stage| async move {
            let mut client = stage.client().await;
            client
                .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n")
                .await;
            let piece = "x".repeat(90_000);
            for _ in 0..50 {
                client.send(&piece).await;
            }
            let answer = client.rest().await;
            assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        },
    );
}

#[test]
fn an_upstream_that_cannot_answer_is_told_apart() {
    let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    play(
        |config| config.upstreams[0].traffic.timeouts.response_header = Duration::from_millis(100),
        |stage| async move {
            expect(&stage, request, Reason::UpstreamTimeout).await;
            drop(stage.upstream().await);
            for (answer, reason) in [
                ("", Reason::UpstreamClosed),
                ("HTTP/1.1 200 OK\r\nContent-", Reason::UpstreamClosed),
                ("SSH-2.0-OpenSSH\r\n", Reason::UpstreamMalformed),
                ("HTTP/1.1 200 OK\nA: b\n\n", Reason::UpstreamMalformed),
                (
                    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                    Reason::UpstreamMalformed,
                ),
                (
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
                    Reason::UpstreamUpgrade,
                ),
            ] {
                let (mut client, mut upstream, _) = stage.forwarded(request).await;
                upstream.send(answer).await;
                drop(upstream);
                let head = client.head().await;
                assert!(
                    head.contains(&format!("x-sluice-error: {reason}\r\n")),
                    "{head}"
                );
                stage.observed().await;
            }
            let (mut client, mut upstream, _) = stage.forwarded(request).await;
            let large = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(200_000));
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut upstream.stream, large.as_bytes()).await;
            client
                .until("x-sluice-error: upstream_headers_too_large\r\n")
                .await;
        },
    );
}

#[test]
fn an_upstream_that_is_not_there_is_told_apart() {
    let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    play(
        |config| {
            if let Target::Servers(servers) = &mut config.upstreams[0].target {
                // Nobody may listen on it: it was bound a moment ago, and is not any more.
                let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                servers[0].port = socket.local_addr().unwrap().port();
            }
        },
        |stage| async move { expect(&stage, request, Reason::ConnectFailed).await },
    );
    play(
        |config| {
            if let Target::Servers(servers) = &mut config.upstreams[0].target {
                servers[0].host = ServerHost::Name("app.example".into());
            }
        },
        |stage| async move {
            expect(&stage, request, Reason::NoAddress).await;
            let Target::Servers(servers) = &stage.config.upstreams[0].target else {
                panic!("no servers")
            };
            stage.proxy.set_endpoints(Resolved {
                upstream: "app".into(),
                server: endpoint_name(&servers[0].host, servers[0].port),
                standing: Standing::Configured,
                endpoints: vec![ResolvedEndpoint {
                    id: 0,
                    address: Address::Ip(([127, 0, 0, 1], servers[0].port).into()),
                    weight: 1,
                    priority: 0,
                }],
            });
            stage.forwarded(request).await;
        },
    );
}

#[test]
fn connections_over_the_limit_are_answered_so() {
    play(
        |config| config.limits.connections = 1,
        |stage| async move {
            let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
            let (first, _upstream, _) = stage.forwarded(request).await;
            expect(&stage, request, Reason::TooManyConnections).await;
            drop(first);
            while stage.proxy.open_connections() > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            stage.forwarded(request).await;
        },
    );
}
