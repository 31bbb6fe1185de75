//! Connections from their first to their last moment: kept, drained, cut off.

use std::time::Duration;

use super::support::{play, within};

const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn drain_closes_the_idle_at_once_and_lets_the_busy_finish() {
    play(
        |_| {},
        |mut stage| async move {
            let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
            let (mut idle, mut upstream, _) = stage.forwarded(request).await;
            upstream.send(RESPONSE).await;
            idle.head().await;
            idle.exactly(2).await;
            let mut busy = stage.client().await;
            busy.send(request).await;
            upstream.head().await;

            stage.proxy.drain(Duration::from_secs(20));
            assert_eq!(idle.rest().await, "");
            within(stage.listening.ended()).await;
            assert_eq!(stage.proxy.open_connections(), 1);

            upstream.send(RESPONSE).await;
            let head = busy.head().await;
            assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
            assert_eq!(busy.rest().await, "ok");
            within(stage.proxy.drained()).await;
            assert_eq!(stage.observer.connections(), 0);
        },
    );
}

#[test]
fn what_is_still_open_at_the_deadline_is_dropped() {
    play(
        |_| {},
        |stage| async move {
            let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
            let (mut client, mut upstream, _) = stage.forwarded(request).await;
            stage.proxy.drain(Duration::from_millis(50));
            within(stage.proxy.drained()).await;
            assert_eq!(client.rest_or_reset().await.0, "");
            assert_eq!(upstream.rest_or_reset().await.0, "", "cancelled");
        },
    );
}
