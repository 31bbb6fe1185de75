//! Request bodies: told to come or not, answered early, streamed with backpressure both ways.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Wire, play};
use crate::model::config::Target;

const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
                         Content-Length: 5\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_client_that_expects_a_continue_is_told_when_the_upstream_says_so() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, mut upstream, head) = stage.forwarded(EXPECTING).await;
            assert!(head.contains("\r\nExpect: 100-continue\r\n"), "{head}");
            assert!(client.is_silent_for(Duration::from_millis(50)).await);
            upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
            client.send("hello").await;
            assert_eq!(upstream.exactly(5).await, "hello");
            upstream.send(RESPONSE).await;
            assert!(client.head().await.starts_with("HTTP/1.1 200"));
            assert_eq!(client.exactly(2).await, "ok");
        },
    );
}

#[test]
fn a_client_is_told_to_continue_when_the_upstream_says_nothing() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, mut upstream, _) = stage.forwarded(EXPECTING).await;
            assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
            client.send("hello").await;
            assert_eq!(upstream.exactly(5).await, "hello");
            // Late, and said already.
            upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            upstream.send(RESPONSE).await;
            assert!(client.head().await.starts_with("HTTP/1.1 200"));
        },
    );
}

#[test]
fn a_client_that_is_refused_before_it_sends_is_not_asked_to() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, mut upstream, _) = stage.forwarded(EXPECTING).await;
            upstream
                .send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
                .await;
            let head = client.head().await;
            assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
            assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
            assert_eq!(client.rest().await, "no");
            assert_eq!(
                upstream.rest_or_reset().await.0,
                "",
                "the body is not to follow"
            );
            assert_eq!(stage.proxy.idle_upstream_connections(), 0);
        },
    );
}

#[test]
fn the_echo_asks_for_the_body_and_an_http_1_0_client_is_not_told() {
    play(
        |config| config.upstreams[0].target = Target::Echo,
        |stage| async move {
            let mut client = stage.client().await;
            client.send(EXPECTING).await;
            assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
            client.send("hello").await;
            assert!(client.head().await.starts_with("HTTP/1.1 200 "));

            let mut client = stage.client().await;
            client.send(&EXPECTING.replace("/1.1", "/1.0")).await;
            client.send("hello").await;
            assert!(client.head().await.starts_with("HTTP/1.1 200 "));
        },
    );
}

#[test]
fn an_early_response_passes_while_the_upload_goes_on() {
    play(
        |_| {},
        |stage| async move {
            let post = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
            let (mut client, mut upstream, _) = stage.forwarded(post).await;
            upstream
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
                .await;
            client.until("2\r\nab\r\n").await;
            client.send("2\r\n12\r\n").await;
            assert_eq!(upstream.until("12\r\n").await, "2\r\n12\r\n");
            upstream.send("0\r\n\r\n").await;
            client.until("0\r\n\r\n").await;
            client.send("2\r\n34\r\n0\r\n\r\n").await;
            assert_eq!(upstream.until("0\r\n\r\n").await, "2\r\n34\r\n0\r\n\r\n");

            client.send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n").await;
            assert!(
                upstream.head().await.starts_with("GET /next "),
                "both connections live on"
            );
        },
    );
}

#[test]
fn an_upload_ends_when_the_upstream_has_answered_and_closes() {
    play(
        |_| {},
        |stage| async move {
            let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\npart";
            let (mut client, mut upstream, _) = stage.forwarded(post).await;
            upstream.until("part").await;
            upstream
                .send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
                .await;
            drop(upstream);
            let piece = "x".repeat(90_000);
            for _ in 0..20 {
                client.send(&piece).await;
            }
            let answer = client.rest().await;
            assert!(
                answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("no"),
                "{answer}"
            );
        },
    );
}

/// Larger than all the buffers of the kernel on the way.
const MUCH: usize = 96 << 20;

/// Writes until nothing has moved for a while, and says how much that was.
async fn fill(wire: &Wire) -> usize {
    let piece = vec![b'x'; 1 << 20];
    let (mut sent, mut quiet) = (0, 0);
    while quiet < 40 && sent < MUCH {
        match wire.stream.try_write(&piece) {
            Ok(count) => (sent, quiet) = (sent + count, 0),
            Err(_) => {
                quiet += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    sent
}

async fn pour(wire: &mut Wire, count: usize) {
    let piece = vec![b'x'; 1 << 20];
    let mut left = count;
    while left > 0 {
        let now = left.min(piece.len());
        wire.stream.write_all(&piece[..now]).await.unwrap();
        left -= now;
    }
}

async fn swallow(wire: &mut Wire, count: usize) {
    let mut piece = vec![0; 1 << 20];
    let mut left = count;
    while left > 0 {
        let most = left.min(piece.len());
        let now = wire.stream.read(&mut piece[..most]).await.unwrap();
        assert!(now > 0 && piece[..now].iter().all(|byte| *byte == b'x'));
        left -= now;
    }
}

#[test]
fn a_slow_reader_stops_the_writer_in_both_directions() {
    play(
        |_| {},
        |stage| async move {
            let post = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {MUCH}\r\n\r\n");
            let (mut client, mut upstream, _) = stage.forwarded(&post).await;
            let sent = fill(&client).await;
            assert!(sent < MUCH, "nobody reads, and all of it went");
            tokio::join!(pour(&mut client, MUCH - sent), swallow(&mut upstream, MUCH));

            upstream
                .send(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"
                ))
                .await;
            client.head_only().await;
            let sent = fill(&upstream).await;
            assert!(sent < MUCH, "nobody reads, and all of it went");
            tokio::join!(pour(&mut upstream, MUCH - sent), swallow(&mut client, MUCH));
            let seen = stage.observed().await;
            assert_eq!(
                (seen.request_bytes, seen.response_bytes),
                (MUCH as u64, MUCH as u64)
            );
        },
    );
}
