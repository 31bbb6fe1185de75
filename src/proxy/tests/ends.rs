//! The PROXY protocol: whom a connection is taken to be from, and what an upstream is told of it.

use std::time::Duration;

use super::support::{Stage, Wire, play};
use crate::model::config::{Config, ProxyHeader, ProxyProtocol};
use crate::model::proxy_protocol::Version;
use crate::proxy::error::Reason;
use crate::shm::series::{Family, Key};

const ASK: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn expecting(trusted: &'static str, mode: ProxyHeader) -> impl FnOnce(&mut Config) {
    move |config| {
        config.listeners[0].proxy_protocol = Some(ProxyProtocol {
            trusted_sources: vec![trusted.parse().unwrap()],
            mode,
            timeout: Duration::from_secs(2),
        });
    }
}

fn required() -> impl FnOnce(&mut Config) {
    expecting("127.0.0.0/8", ProxyHeader::Require)
}

fn version_2(addresses: &[u8], family: u8, command: u8) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend_from_slice(&[command, family, 0, u8::try_from(addresses.len()).unwrap()]);
    bytes.extend_from_slice(addresses);
    bytes
}

fn refused(stage: &Stage, reason: Reason) -> u64 {
    let key = Key::new(Family::Errors, reason.index() as u32, 0, 0);
    let totals = stage.observer.totals().scalars;
    totals.get(&key).copied().unwrap_or_default()
}

async fn forwarded_for(stage: &Stage, pieces: &[&[u8]]) -> String {
    let mut client = stage.client().await;
    for piece in pieces {
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, piece)
            .await
            .unwrap();
        // Lets it arrive by itself; whether it does changes nothing of what must come out.
        client.is_silent_for(Duration::from_millis(3)).await;
    }
    let head = stage.upstream().await.head().await;
    let line = head
        .lines()
        .find(|line| line.starts_with("x-forwarded-for"));
    line.unwrap().to_owned()
}

#[test]
fn a_header_from_a_trusted_source_tells_the_client() {
    play(required(), |stage| async move {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 2, 0xdc, 4, 1, 0xbb];
        let with_tlv = [&v4[..], &[0x04, 0, 2, 1, 2]].concat();
        let v6 = [[0x20; 16].as_slice(), &[1; 16], &[0, 1, 0, 2]].concat();
        let plain = version_2(&v4, 0x11, 0x21);
        let long = version_2(&with_tlv, 0x11, 0x21);
        let wide = version_2(&v6, 0x21, 0x21);
        let local = version_2(&[], 0, 0x20);
        for (header, seen) in [
            (LINE.as_bytes(), "192.0.2.7"),
            (b"PROXY TCP6 2001:db8::9 ::1 1 2\r\n", "2001:db8::9"),
            (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
            (&plain, "192.0.2.7"),
            (&long, "192.0.2.7"),
            (&wide, "2020:2020:2020:2020:2020:2020:2020:2020"),
            (&local, "127.0.0.1"),
        ] {
            let line = format!("x-forwarded-for: {seen}");
            let at_once = [header, ASK.as_bytes()].concat();
            assert_eq!(forwarded_for(&stage, &[&at_once]).await, line);
            let (start, end) = header.split_at(header.len() / 2);
            let pieces = [&start[..1], &start[1..], end, ASK.as_bytes()];
            assert_eq!(forwarded_for(&stage, &pieces).await, line, "in pieces");
        }
    });
}

#[test]
fn nobody_else_is_believed() {
    play(
        expecting("10.0.0.0/8", ProxyHeader::Require),
        |stage| async move {
            let line = forwarded_for(&stage, &[ASK.as_bytes()]).await;
            assert_eq!(line, "x-forwarded-for: 127.0.0.1", "and needs no header");
            let mut liar = stage.client().await;
            liar.send(&format!("{LINE}{ASK}")).await;
            assert!(liar.head().await.starts_with("HTTP/1.1 400 "));
        },
    );
}

async fn ended(mut client: Wire) {
    assert_eq!(client.rest_or_reset().await.0, "", "nothing is answered");
}

#[test]
fn what_is_no_header_closes_the_connection_and_is_counted() {
    play(required(), |stage| async move {
        for (sent, reason) in [
            (ASK, Reason::ProxyHeaderMissing),
            ("PROXY TCP4 1.2.3.4\r\n", Reason::ProxyHeaderMalformed),
            (
                "\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
                Reason::ProxyHeaderMalformed,
            ),
            ("PROXY TCP4 1.2", Reason::ProxyHeaderTimeout),
            ("", Reason::ProxyHeaderTimeout),
        ] {
            let before = refused(&stage, reason);
            let mut client = stage.client().await;
            client.send(sent).await;
            ended(client).await;
            assert_eq!(refused(&stage, reason), before + 1, "{sent:?}");
        }
        let mut cut = stage.client().await;
        cut.send("PROXY TCP4").await;
        tokio::io::AsyncWriteExt::shutdown(&mut cut.stream)
            .await
            .unwrap();
        ended(cut).await;
        assert_eq!(refused(&stage, Reason::ProxyHeaderMalformed), 3);
        assert!(stage.no_upstream_connection().await);
    });
}

#[test]
fn where_it_is_optional_a_client_without_one_is_served() {
    play(
        expecting("127.0.0.1/32", ProxyHeader::Optional),
        |stage| async move {
            let own = "x-forwarded-for: 127.0.0.1";
            assert_eq!(forwarded_for(&stage, &[ASK.as_bytes()]).await, own);
            let split = [&b"P"[..], b"OST / HTTP/1.1\r\nHost: h\r\n\r\n"];
            assert_eq!(forwarded_for(&stage, &split).await, own);
            let told = [LINE.as_bytes(), ASK.as_bytes()];
            let line = forwarded_for(&stage, &told).await;
            assert_eq!(line, "x-forwarded-for: 192.0.2.7");

            let mut silent = stage.client().await;
            assert!(silent.is_silent_for(Duration::from_millis(400)).await);
            silent.send(ASK).await;
            stage.upstream().await.head().await;
        },
    );
}

#[test]
fn a_reload_changes_what_the_next_connection_begins_with() {
    play(
        |_| {},
        |stage| async move {
            let own = "x-forwarded-for: 127.0.0.1";
            assert_eq!(forwarded_for(&stage, &[ASK.as_bytes()]).await, own);
            let mut config = stage.config.clone();
            required()(&mut config);
            stage.reload(&config);
            let told = [LINE.as_bytes(), ASK.as_bytes()];
            let line = forwarded_for(&stage, &told).await;
            assert_eq!(line, "x-forwarded-for: 192.0.2.7");
        },
    );
}

/// The header and the request behind it.
async fn introduced(upstream: &mut Wire) -> (String, String) {
    (upstream.until("\r\n").await, upstream.head().await)
}

#[test]
fn an_upstream_is_told_and_its_connection_serves_one_client_alone() {
    play(
        |config| {
            required()(config);
            config.upstreams[0].proxy_protocol = Some(Version::V1);
        },
        |stage| async move {
            let mut client = stage.client().await;
            client.send(&format!("{LINE}{ASK}")).await;
            let mut upstream = stage.upstream().await;
            let (line, head) = introduced(&mut upstream).await;
            assert_eq!(line, LINE);
            assert!(head.starts_with("GET / "), "{head}");
            upstream.send(OK).await;
            client.until("ok").await;

            client.send(ASK).await;
            assert!(
                upstream.head().await.starts_with("GET / "),
                "the same connection"
            );
            upstream.send(OK).await;
            client.until("ok").await;

            let mut other = stage.client().await;
            other.send(&format!("{LINE}{ASK}")).await;
            let mut second = stage.upstream().await;
            assert_eq!(introduced(&mut second).await.0, LINE);
            second.send(OK).await;
            other.until("ok").await;
            assert_eq!(stage.proxy.idle_upstream_connections(), 2);

            drop(client);
            assert_eq!(upstream.rest().await, "", "it ends with its client");
        },
    );
}

#[test]
fn version_2_tells_the_connections_own_ends() {
    play(
        |config| config.upstreams[0].proxy_protocol = Some(Version::V2),
        |stage| async move {
            let mut client = stage.client().await;
            let ours = client.stream.local_addr().unwrap();
            client.send(ASK).await;
            let mut upstream = stage.upstream().await;
            let bytes = upstream.bytes_with(&[b"GET / "]).await;
            let mut addresses = vec![127, 0, 0, 1, 127, 0, 0, 1];
            addresses.extend_from_slice(&ours.port().to_be_bytes());
            addresses.extend_from_slice(&stage.address.port().to_be_bytes());
            let header = version_2(&addresses, 0x11, 0x21);
            assert!(
                bytes.starts_with(&[&header[..], b"GET / "].concat()),
                "{bytes:?}"
            );
        },
    );
}
