//! Clients that always move a little before a timeout.

use std::time::Duration;

use super::support::play;
use crate::model::config::Config;
use crate::proxy::error::Reason;

fn asking(bytes_per_second: u32, grace: u64) -> impl FnOnce(&mut Config) {
    move |config| {
        config.limits.min_body_rate = bytes_per_second;
        config.limits.min_response_rate = bytes_per_second;
        config.limits.rate_grace = Duration::from_millis(grace);
    }
}

#[test]
fn a_body_that_drips_is_given_up_and_a_stream_that_does_is_not() {
    play(asking(100_000, 200), |stage| async move {
        let drip = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
        let (mut client, mut upstream, _) = stage.forwarded(drip).await;
        for _ in 0..1000 {
            client.send("x").await;
            if !client.is_silent_for(Duration::from_millis(20)).await {
                break;
            }
        }
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
        assert!(head.contains("x-sluice-error: body_timeout\r\n"), "{head}");
        upstream.rest_or_reset().await;

        let stream = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (mut client, mut upstream, _) = stage.forwarded(stream).await;
        for _ in 0..30 {
            client.send("1\r\nx\r\n").await;
            assert!(client.is_silent_for(Duration::from_millis(20)).await);
            upstream.until("1\r\nx\r\n").await;
        }
    });
}

#[test]
fn an_upstream_that_is_slow_to_take_a_body_is_not_the_clients_fault() {
    play(asking(100_000_000, 2000), |stage| async move {
        let length = 8 << 20;
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        let (mut client, mut upstream, _) = stage.forwarded(&head).await;
        let body = "x".repeat(length);
        let (sent, ()) = tokio::join!(client.send(&body), async {
            // More than the grace, while the body waits for the upstream.
            for _ in 0..100 {
                assert!(stage.no_upstream_connection().await);
            }
            upstream.exactly(length).await;
        });
        let () = sent;
        upstream
            .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_response_that_is_sipped_is_given_up() {
    play(asking(100_000_000, 200), |stage| async move {
        let (client, mut upstream, _) = stage.forwarded("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let endless = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        upstream.send(endless).await;
        let piece = "y".repeat(1 << 20);
        let mut client = client;
        let sipping = async {
            loop {
                let mut byte = [0];
                let read = tokio::io::AsyncReadExt::read(&mut client.stream, &mut byte);
                // That it is reset in the end is what is waited for elsewhere.
                let _ended = read.await;
                stage.no_upstream_connection().await;
            }
        };
        let feeding = async {
            while tokio::io::AsyncWriteExt::write_all(&mut upstream.stream, piece.as_bytes())
                .await
                .is_ok()
            {}
        };
        tokio::select! {
            () = sipping => {}
            () = feeding => {}
        }
        assert_eq!(stage.observed().await.reason, Some(Reason::ClientStalled));
    });
}
