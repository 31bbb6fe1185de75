//! What passes: requests, responses and bodies as they look on both sides.

use std::time::Duration;

use http::StatusCode;

use super::support::play;
use crate::model::config::{HostHeader, Target};
use crate::proxy::error::Reason;

#[test]
fn a_get_goes_through() {
    play(
        |_| {},
        |stage| async move {
            let request = "GET /a?b=c HTTP/1.1\r\nHost: here.example\r\nAccept: */*\r\n\r\n";
            let (mut client, mut upstream, head) = stage.forwarded(request).await;
            assert!(
                head.starts_with("GET /a?b=c HTTP/1.1\r\nhost: app.example\r\n"),
                "{head}"
            );
            assert!(head.contains("\r\nAccept: */*\r\n"), "{head}");
            assert!(
                head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
                "{head}"
            );
            assert!(
                head.contains("\r\nx-forwarded-host: here.example\r\n"),
                "{head}"
            );
            assert!(head.contains("\r\nx-forwarded-proto: http\r\n"), "{head}");

            upstream
                .send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello")
                .await;
            let head = client.head().await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(head.contains("X-A: b\r\ncontent-length: 5\r\n"), "{head}");
            assert_eq!(client.exactly(5).await, "hello");

            let seen = stage.observed().await;
            assert_eq!(seen.status, Some(StatusCode::OK));
            assert_eq!(
                (seen.route, seen.upstream, seen.attempts),
                (Some(0), Some(0), 1)
            );
            assert_eq!(seen.response_bytes, 5);
            assert_eq!(seen.reason, None);
        },
    );
}

#[test]
fn an_http_1_0_client_gets_no_chunks() {
    play(
        |_| {},
        |stage| async move {
            let request = "GET / HTTP/1.0\r\n\r\n";
            let (mut client, mut upstream, head) = stage.forwarded(request).await;
            assert!(
                head.starts_with("GET / HTTP/1.1\r\nhost: app.example\r\n"),
                "{head}"
            );
            upstream
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            upstream
                .send("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
                .await;
            let head = client.head().await;
            assert!(
                !head.to_ascii_lowercase().contains("transfer-encoding"),
                "{head}"
            );
            assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
            assert_eq!(client.rest().await, "hello world");
        },
    );
}

#[test]
fn an_upstream_that_breaks_off_breaks_off_the_body() {
    play(
        |_| {},
        |stage| async move {
            for (version, head) in [
                ("1.1", "Content-Length: 10"),
                ("1.1", "Transfer-Encoding: chunked"),
                ("1.0", "Transfer-Encoding: chunked"),
            ] {
                let request = format!("GET / HTTP/{version}\r\nHost: h\r\n\r\n");
                let (mut client, mut upstream, _) = stage.forwarded(&request).await;
                let piece = if head.starts_with('T') {
                    "5\r\nhello\r\n"
                } else {
                    "hello"
                };
                upstream
                    .send(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{piece}"))
                    .await;
                client.until("hello").await;
                drop(upstream);
                let (rest, reset) = client.rest_or_reset().await;
                assert!(!rest.contains("0\r\n\r\n"), "{rest:?} looks like the end");
                // Where the end of the connection would be the end of the body, it must not look so.
                assert_eq!(reset, version == "1.0", "HTTP/{version} {head}");
                let seen = stage.observed().await;
                assert_eq!(seen.reason, Some(Reason::UpstreamBodyBroken));
                assert_eq!(seen.status, Some(StatusCode::OK));
            }
        },
    );
}

#[test]
fn any_method_and_both_framings_go_through_with_trailers() {
    play(
        |_| {},
        |stage| async move {
            let request = "PROPFIND /x HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\
                           Transfer-Encoding: chunked\r\n\r\n\
                           3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n";
            let (mut client, mut upstream, head) = stage.forwarded(request).await;
            assert!(head.starts_with("PROPFIND /x HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("\r\nTE: trailers\r\n"), "{head}");
            assert!(
                head.contains("\r\ntransfer-encoding: chunked\r\n"),
                "{head}"
            );
            let body = upstream.until("0\r\nX-Sum: 1\r\n\r\n").await;
            assert_eq!(body, "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n");

            upstream
                .send("HTTP/1.1 207 Multi-Status\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            upstream.send("4\r\nfghi\r\n0\r\nX-End: 2\r\n\r\n").await;
            assert!(client.head().await.starts_with("HTTP/1.1 207 "));
            assert_eq!(client.head().await, "4\r\nfghi\r\n0\r\nX-End: 2\r\n\r\n");
            let seen = stage.observed().await;
            assert_eq!((seen.request_bytes, seen.response_bytes), (5, 4));
        },
    );
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    play(
        |_| {},
        |stage| async move {
            let mut client = stage.client().await;
            let request = |method| format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n");
            client.send(&request("HEAD")).await;
            let mut upstream = stage.upstream().await;
            for (method, response, length) in [
                ("HEAD", "200 OK\r\nContent-Length: 77", Some("77")),
                ("HEAD", "200 OK\r\nTransfer-Encoding: chunked", None),
                ("GET", "204 No Content", None),
                (
                    "GET",
                    "304 Not Modified\r\nContent-Length: 78\r\nETag: x",
                    Some("78"),
                ),
                ("GET", "200 OK\r\nContent-Length: 0", Some("0")),
            ] {
                if response != "200 OK\r\nContent-Length: 77" {
                    client.send(&request(method)).await;
                }
                assert!(upstream.head().await.starts_with(method));
                upstream.send(&format!("HTTP/1.1 {response}\r\n\r\n")).await;
                let head = client.head().await;
                let lower = head.to_ascii_lowercase();
                let told = lower
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|l| l.lines().next());
                assert_eq!(told, length, "{head}");
                assert!(!lower.contains("transfer-encoding"), "{head}");
            }
            assert!(client.is_silent_for(Duration::from_millis(30)).await);
        },
    );
}

#[test]
fn interim_responses_reach_clients_that_know_them() {
    play(
        |_| {},
        |stage| async move {
            let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
            for (version, passed) in [("1.1", true), ("1.0", false)] {
                let request = format!("GET / HTTP/{version}\r\nHost: h\r\n\r\n");
                let (mut client, mut upstream, _) = stage.forwarded(&request).await;
                upstream.send(interim).await;
                if passed {
                    let head = client.head().await;
                    assert_eq!(head, interim);
                } else {
                    assert!(client.is_silent_for(Duration::from_millis(30)).await);
                }
                upstream
                    .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
                let head = client.head().await;
                assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
                drop(upstream);
            }
        },
    );
}

#[test]
fn interim_responses_without_end_are_cut() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, mut upstream, _) =
                stage.forwarded("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
            upstream
                .send(&"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(50))
                .await;
            client.until("HTTP/1.1 502 Bad Gateway\r\n").await;
        },
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    play(
        |_| {},
        |stage| async move {
            let mut client = stage.client().await;
            let requests = ["/1", "/2", "/3"].map(|path| {
                format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
            });
            client.send(&requests.concat()).await;
            let mut upstream = stage.upstream().await;
            for path in ["/1", "/2", "/3"] {
                let head = upstream.head().await;
                assert!(head.starts_with(&format!("POST {path} ")), "{head}");
                assert_eq!(upstream.exactly(1).await, "x");
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{path}");
                upstream.send(&answer).await;
            }
            for path in ["/1", "/2", "/3"] {
                client.head().await;
                assert_eq!(client.exactly(2).await, path);
            }
        },
    );
}

#[test]
fn an_http_1_0_client_is_kept_when_it_asks() {
    play(
        |_| {},
        |stage| async move {
            let request = "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n";
            let (mut client, mut upstream, head) = stage.forwarded(request).await;
            assert!(
                !head.to_ascii_lowercase().contains("\r\nconnection:"),
                "{head}"
            );
            upstream
                .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            let head = client.head().await;
            assert!(head.contains("\r\nconnection: keep-alive\r\n"), "{head}");
            assert_eq!(client.exactly(2).await, "ok");
            client.send("GET / HTTP/1.0\r\nHost: h\r\n\r\n").await;
            upstream.head().await;
            upstream
                .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            assert!(
                client.rest().await.ends_with("ok"),
                "and closed when it does not"
            );
        },
    );
}

#[test]
fn a_response_until_the_end_of_the_connection_is_chunked() {
    play(
        |_| {},
        |stage| async move {
            let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
            let (mut client, mut upstream, _) = stage.forwarded(request).await;
            upstream.send("HTTP/1.0 200 OK\r\n\r\nall of it").await;
            drop(upstream);
            let head = client.head().await;
            assert!(
                head.contains("\r\ntransfer-encoding: chunked\r\n"),
                "{head}"
            );
            assert_eq!(
                client.until("0\r\n\r\n").await,
                "9\r\nall of it\r\n0\r\n\r\n"
            );
        },
    );
}

#[test]
fn the_path_of_the_server_and_the_host_of_the_client_are_used_where_configured() {
    play(
        |config| {
            config.upstreams[0].host_header = HostHeader::Preserve;
            if let Target::Servers(servers) = &mut config.upstreams[0].target {
                servers[0].base_path = "/base".into();
            }
        },
        |stage| async move {
            let request =
                "GET http://Here.example:8080/a?b HTTP/1.1\r\nHost: Here.example:8080\r\n\r\n";
            let (_client, _upstream, head) = stage.forwarded(request).await;
            let start = "GET /base/a?b HTTP/1.1\r\nhost: Here.example:8080\r\n";
            assert!(head.starts_with(start), "{head}");
        },
    );
}
