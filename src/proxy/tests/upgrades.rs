//! Connections that change their protocol.

use std::time::Duration;

use super::support::{Stage, Wire, play};
use crate::proxy::error::Reason;

const ASKING: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Key: abc\r\n\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: def\r\n\r\n";

async fn switched(stage: &Stage) -> (Wire, Wire) {
    let (mut client, mut upstream, head) = stage.forwarded(ASKING).await;
    assert!(
        head.contains("connection: upgrade\r\nupgrade: websocket\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nSec-WebSocket-Key: abc\r\n"), "{head}");
    upstream.send(&format!("{AGREED}first")).await;
    let head = client.head().await;
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    assert!(
        head.contains("connection: upgrade\r\nupgrade: websocket\r\n"),
        "{head}"
    );
    assert_eq!(client.exactly(5).await, "first", "what came with the head");
    (client, upstream)
}

#[test]
fn bytes_go_both_ways_and_each_way_ends_by_itself() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, mut upstream) = switched(&stage).await;
            client.send("ping").await;
            assert_eq!(upstream.exactly(4).await, "ping");
            upstream.send("pong").await;
            assert_eq!(client.exactly(4).await, "pong");

            tokio::io::AsyncWriteExt::shutdown(&mut client.stream)
                .await
                .unwrap();
            assert_eq!(upstream.rest().await, "");
            upstream.send("and more").await;
            drop(upstream);
            assert_eq!(client.rest().await, "and more");
            let seen = stage.observed().await;
            assert_eq!((seen.request_bytes, seen.response_bytes), (4, 17));
            assert_eq!(seen.status.map(|status| status.as_u16()), Some(101));
        },
    );
}

#[test]
fn the_upstream_may_end_first() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, mut upstream) = switched(&stage).await;
            tokio::io::AsyncWriteExt::shutdown(&mut upstream.stream)
                .await
                .unwrap();
            assert_eq!(client.rest().await, "");
            client.send("still here").await;
            assert_eq!(upstream.exactly(10).await, "still here");
            drop(client);
            assert_eq!(upstream.rest().await, "");
        },
    );
}

#[test]
fn silence_ends_a_tunnel() {
    play(
        |config| config.upstreams[0].traffic.timeouts.tunnel = Duration::from_millis(200),
        |stage| async move {
            let (mut client, mut upstream) = switched(&stage).await;
            assert_eq!(client.rest_or_reset().await.0, "");
            assert_eq!(upstream.rest_or_reset().await.0, "");
            assert_eq!(stage.observed().await.reason, Some(Reason::TunnelIdle));
        },
    );
}

#[test]
fn a_change_that_nobody_asked_for_is_refused() {
    play(
        |_| {},
        |stage| async move {
            for asked in [
                "GET /ws HTTP/1.1\r\nHost: h\r\n\r\n",
                // Not named as the connection's.
                "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
                "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
                "GET /ws HTTP/1.0\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            ] {
                let (mut client, mut upstream, head) = stage.forwarded(asked).await;
                assert!(
                    !head.to_ascii_lowercase().contains("\r\nupgrade:"),
                    "{asked}: {head}"
                );
                upstream.send(AGREED).await;
                client.until("x-sluice-error: upstream_upgrade\r\n").await;
            }
        },
    );
}

#[test]
fn a_tunnel_outlives_a_generation_and_ends_with_the_drain() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, mut upstream) = switched(&stage).await;
            stage.reload(&stage.config);
            client.send("ping").await;
            assert_eq!(upstream.exactly(4).await, "ping");
            stage.proxy.drain(Duration::from_millis(100));
            upstream.send("pong").await;
            assert_eq!(client.exactly(4).await, "pong", "until the deadline");
            stage.proxy.drained().await;
            assert_eq!(client.rest_or_reset().await.0, "");
        },
    );
}

#[test]
fn an_upgrade_to_something_else_is_refused() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, mut upstream, _) = stage.forwarded(ASKING).await;
            upstream.send(&AGREED.replace("websocket", "smtp")).await;
            client.until("x-sluice-error: upstream_upgrade\r\n").await;
        },
    );
}

#[test]
fn an_upstream_may_decline() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, mut upstream, _) = stage.forwarded(ASKING).await;
            upstream
                .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
                .await;
            assert!(client.head().await.starts_with("HTTP/1.1 200 "));
            assert_eq!(client.exactly(2).await, "no");
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
            assert!(upstream.head().await.starts_with("GET / "));
        },
    );
}
