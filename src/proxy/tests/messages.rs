//! What passes: requests, responses and bodies as they look on both sides.

use std::time::Duration;

use http::StatusCode;

use super::support::play;
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
            assert!(head.contains("\r\naccept: */*\r\n"), "{head}");
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
            assert!(head.contains("x-a: b\r\ncontent-length: 5\r\n"), "{head}");
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
            assert!(!head.contains("transfer-encoding"), "{head}");
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
                assert!(
                    reset,
                    "the end of the connection must not look like the end of the body"
                );
                let seen = stage.observed().await;
                assert_eq!(seen.reason, Some(Reason::UpstreamBodyBroken));
                assert_eq!(seen.status, Some(StatusCode::OK));
            }
        },
    );
}

#[test]
fn a_client_that_expects_a_continue_is_told_when_the_upstream_says_so() {
    play(
        |_| {},
        |stage| async move {
            let request = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
                           Content-Length: 5\r\n\r\n";
            let (mut client, mut upstream, head) = stage.forwarded(request).await;
            assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
            assert!(client.is_silent_for(Duration::from_millis(50)).await);
            upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
            client.send("hello").await;
            assert_eq!(upstream.exactly(5).await, "hello");
            upstream
                .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            assert!(client.head().await.starts_with("HTTP/1.1 200"));
            assert_eq!(client.exactly(2).await, "ok");
        },
    );
}
