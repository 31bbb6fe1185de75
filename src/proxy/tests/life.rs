//! Connections from their first to their last moment: kept, drained, cut off.

use std::time::Duration;

use super::support::{Stage, Wire, play, within};
use crate::proxy::error::Reason;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn drain_closes_the_idle_at_once_and_lets_the_busy_finish() {
    play(
        |_| {},
        |mut stage| async move {
            let (mut idle, mut upstream, _) = stage.forwarded(REQUEST).await;
            upstream.send(RESPONSE).await;
            idle.head().await;
            idle.exactly(2).await;
            let mut busy = stage.client().await;
            busy.send(REQUEST).await;
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
            let (mut client, mut upstream, _) = stage.forwarded(REQUEST).await;
            stage.proxy.drain(Duration::from_millis(50));
            within(stage.proxy.drained()).await;
            assert_eq!(client.rest_or_reset().await.0, "");
            assert_eq!(upstream.rest_or_reset().await.0, "", "cancelled");
        },
    );
}

#[test]
fn a_connection_made_just_before_the_drain_is_still_served() {
    play(
        |_| {},
        |stage| async move {
            let mut client = stage.client().await;
            while stage.proxy.open_connections() == 0 {
                tokio::task::yield_now().await;
            }
            stage.proxy.drain(Duration::from_secs(20));
            client.send(REQUEST).await;
            let mut upstream = stage.upstream().await;
            upstream.head().await;
            upstream.send(RESPONSE).await;
            assert!(client.rest().await.ends_with("ok"));
            stage.proxy.drained().await;
        },
    );
}

#[test]
fn a_client_that_goes_takes_its_upstream_request_with_it() {
    play(
        |_| {},
        |stage| async move {
            let (client, mut upstream, _) = stage.forwarded(REQUEST).await;
            drop(client);
            assert_eq!(
                upstream.rest_or_reset().await.0,
                "",
                "while it waited for the head"
            );
            assert_eq!(stage.observed().await.reason, Some(Reason::ClientGone));

            let (mut client, mut upstream, _) = stage.forwarded(REQUEST).await;
            upstream
                .send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
                .await;
            client.until("part").await;
            drop(client);
            assert_eq!(
                upstream.rest_or_reset().await.0,
                "",
                "in the middle of the body"
            );
            let seen = stage.observed().await;
            assert_eq!(
                (seen.reason, seen.response_bytes),
                (Some(Reason::ClientGone), 4)
            );

            let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\npart";
            let (client, mut upstream, _) = stage.forwarded(post).await;
            upstream.until("part").await;
            drop(client);
            assert_eq!(upstream.rest_or_reset().await.0, "", "while it was sending");
            assert_eq!(stage.observed().await.reason, Some(Reason::ClientGone));
        },
    );
}

#[test]
fn connections_to_upstreams_are_used_again() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, mut upstream, _) = stage.forwarded(REQUEST).await;
            for _ in 0..3 {
                upstream.send(RESPONSE).await;
                client.head().await;
                client.exactly(2).await;
                let mut other = stage.client().await;
                other.send(REQUEST).await;
                upstream.head().await;
                client = other;
            }
            upstream
                .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                .await;
            let head = client.head().await;
            assert!(
                !head.to_ascii_lowercase().contains("\r\nconnection:"),
                "the client's connection stays: {head}"
            );
            client.exactly(2).await;
            assert_eq!(stage.proxy.idle_upstream_connections(), 0);
            assert!(stage.no_upstream_connection().await);
        },
    );
}

/// An upstream connection that the proxy keeps and that closes as soon as the next request is on it.
async fn dying(stage: &Stage) -> (Wire, Wire) {
    let (mut client, mut upstream, _) = stage.forwarded(REQUEST).await;
    upstream.send(RESPONSE).await;
    client.head().await;
    client.exactly(2).await;
    assert_eq!(stage.proxy.idle_upstream_connections(), 1);
    stage.observed().await;
    (client, upstream)
}

#[test]
fn a_request_whose_reused_connection_dies_is_sent_again() {
    play(
        |_| {},
        |stage| async move {
            for request in [
                "GET /again HTTP/1.1\r\nHost: h\r\n\r\n",
                "PUT /again HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
                "POST /again HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            ] {
                let (mut client, mut upstream) = dying(&stage).await;
                client.send(request).await;
                let first = upstream.head().await;
                drop(upstream);
                let mut upstream = stage.upstream().await;
                assert_eq!(upstream.head().await, first);
                if request.starts_with("PUT") {
                    assert_eq!(upstream.exactly(3).await, "abc");
                }
                upstream
                    .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nthen")
                    .await;
                assert!(client.head().await.starts_with("HTTP/1.1 200 "));
                assert_eq!(client.exactly(4).await, "then");
                assert_eq!(stage.observed().await.attempts, 2);
                drop(upstream);
                while stage.proxy.idle_upstream_connections() > 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        },
    );
}

#[test]
fn a_request_that_may_have_been_acted_upon_is_not_sent_again() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, mut upstream) = dying(&stage).await;
            client
                .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
                .await;
            upstream.until("abc").await;
            drop(upstream);
            client.until("x-sluice-error: upstream_closed\r\n").await;
            assert!(stage.no_upstream_connection().await);

            // Nor is one that was answered in part, nor one on a connection of its own.
            let (mut client, mut upstream) = dying(&stage).await;
            client.send(REQUEST).await;
            upstream.head().await;
            upstream.send("HTTP/1.1 2").await;
            drop(upstream);
            client.until("x-sluice-error: upstream_closed\r\n").await;
            let (mut client, upstream, _) = stage.forwarded(REQUEST).await;
            drop(upstream);
            client.until("x-sluice-error: upstream_closed\r\n").await;
            assert!(stage.no_upstream_connection().await);
        },
    );
}

#[test]
fn connections_that_died_while_idle_are_not_used() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, upstream) = dying(&stage).await;
            drop(upstream);
            while stage.proxy.idle_upstream_connections() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            client
                .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
                .await;
            stage.upstream().await.until("abc").await;
        },
    );
}

#[test]
fn an_idle_client_connection_is_closed_after_its_time() {
    play(
        |config| config.limits.idle_timeout = Duration::from_millis(100),
        |stage| async move {
            let mut silent = stage.client().await;
            assert_eq!(silent.rest().await, "");
            let (mut client, mut upstream, _) = stage.forwarded(REQUEST).await;
            upstream.send(RESPONSE).await;
            assert!(client.rest().await.ends_with("ok"));
        },
    );
}

#[test]
fn a_request_is_served_by_the_generation_it_began_under() {
    play(
        |_| {},
        |stage| async move {
            let (mut client, mut upstream, _) = stage.forwarded(REQUEST).await;
            let mut config = stage.config.clone();
            config.via = true;
            stage.reload(&config);
            upstream.send(RESPONSE).await;
            let head = client.head().await;
            assert!(!head.to_ascii_lowercase().contains("\r\nvia:"), "{head}");
            client.exactly(2).await;
            assert_eq!(stage.observed().await.generation, 1);

            client.send(REQUEST).await;
            let head = upstream.head().await;
            assert!(
                head.contains("\r\nvia: 1.1 sluice\r\n"),
                "on the same connections: {head}"
            );
            upstream.send(RESPONSE).await;
            let head = client.head().await;
            assert!(head.contains("\r\nvia: 1.1 sluice\r\n"), "{head}");
            assert_eq!(stage.observed().await.generation, 2);
        },
    );
}

#[test]
fn an_idle_connection_is_small() {
    // With what tokio adds its task is two units of 128 bytes then, and three after a handshake.
    play(
        |_| {},
        |stage| async move {
            let [plain, introduced] =
                crate::proxy::listener::sizes_of_connections(&stage.proxy).await;
            assert!(
                plain <= 152 && introduced <= 280,
                "{plain}, {introduced} bytes"
            );
            let client = crate::proxy::client::size_of_client();
            assert!(client <= 88, "{client} bytes");
        },
    );
}

#[test]
fn one_that_leaves_serves_whoever_comes_and_closes_after_the_answer() {
    play(
        |_| {},
        |mut stage| async move {
            let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
            let (mut early, mut upstream, _) = stage.forwarded(request).await;
            upstream.send(RESPONSE).await;
            let head = early.head().await;
            assert!(
                !head.to_ascii_lowercase().contains("\r\nconnection:"),
                "{head}"
            );
            early.exactly(2).await;

            stage.proxy.leave();
            let late = stage.client().await;
            for mut client in [early, late] {
                client.send(request).await;
                upstream.head().await;
                upstream.send(RESPONSE).await;
                let head = client.head().await;
                assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
                assert_eq!(client.rest().await, "ok");
            }

            stage.proxy.drain(Duration::from_secs(20));
            within(stage.listening.ended()).await;
            within(stage.proxy.drained()).await;
        },
    );
}

#[test]
fn requests_that_memory_has_no_room_for_are_refused_and_the_others_go_on() {
    play(
        |_| {},
        |stage| async move {
            // Room for more connections than requests.
            stage.proxy.set_memory(Some(1 << 20));
            let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
            let mut held = Vec::new();
            let refusal = loop {
                let mut client = stage.client().await;
                client.send(request).await;
                // Either it comes to the upstream, or it is answered at once.
                tokio::select! {
                    upstream = stage.upstream() => held.push((client, upstream)),
                    head = client.head() => break head,
                }
                assert!(held.len() < 1000, "no bound");
            };
            assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
            assert!(refusal.contains("x-sluice-error: overloaded"), "{refusal}");
            assert!(!held.is_empty());
            for (mut client, mut upstream) in held {
                upstream.head().await;
                upstream.send(RESPONSE).await;
                assert!(client.head().await.starts_with("HTTP/1.1 200 "));
            }
            stage.proxy.set_memory(None);
            let (mut client, mut upstream, _) = stage.forwarded(request).await;
            upstream.send(RESPONSE).await;
            assert!(client.head().await.starts_with("HTTP/1.1 200 "));
        },
    );
}
