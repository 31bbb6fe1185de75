//! Listeners that pass connections on as they are.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::support::{Stage, Wire, play, within};
use crate::model::config::{
    Config, HostPattern, NameRoute, Protocol, ProxyHeader, ProxyProtocol, ServerHost, Target, Tcp,
};
use crate::model::proxy_protocol::Version;
use crate::proxy::error::Reason;
use crate::shm::series::{Direction, FIRST_NAME, Family, Key};

/// As `Names::assign` gives them out for the stage's configuration.
const UPSTREAM: u32 = FIRST_NAME + 1;
const LISTENER: u32 = FIRST_NAME + 2;

fn tcp(config: &mut Config) {
    config.listeners[0].protocol = Protocol::Tcp(Tcp {
        routes: Vec::new(),
        upstream: Some("app".into()),
    });
}

async fn pair(stage: &Stage) -> (Wire, Wire) {
    let mut client = stage.client().await;
    let mut upstream = stage.upstream().await;
    client.send("hello").await;
    assert_eq!(upstream.exactly(5).await, "hello");
    (client, upstream)
}

fn counted(stage: &Stage, family: Family, detail: u16) -> u64 {
    let key = Key::new(family, LISTENER, UPSTREAM, detail);
    let totals = stage.observer.totals().scalars;
    totals.get(&key).copied().unwrap_or_default()
}

fn failed(stage: &Stage, reason: Reason) -> u64 {
    let key = Key::new(Family::Errors, reason.index() as u32, 0, 0);
    let totals = stage.observer.totals().scalars;
    totals.get(&key).copied().unwrap_or_default()
}

async fn until_failed(stage: &Stage, reason: Reason) {
    while failed(stage, reason) == 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn bytes_go_both_ways_each_way_ends_by_itself_and_all_is_counted() {
    play(tcp, |stage| async move {
        let (mut client, mut upstream) = pair(&stage).await;
        upstream.send("greetings").await;
        assert_eq!(client.exactly(9).await, "greetings");
        let bytes = |direction| counted(&stage, Family::TcpBytes, direction as u16);
        assert_eq!(counted(&stage, Family::TcpConnections, 0), 1);
        assert_eq!(bytes(Direction::ToUpstream), 5, "while it is open");
        assert_eq!(bytes(Direction::ToClient), 9);

        client.stream.shutdown().await.unwrap();
        assert_eq!(upstream.rest().await, "");
        upstream.send("and more").await;
        drop(upstream);
        assert_eq!(client.rest().await, "and more");
        while counted(&stage, Family::TcpConnections, 0) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(counted(&stage, Family::TcpOpened, 0), 1);
        let key = Key::new(Family::TcpDuration, LISTENER, UPSTREAM, 0);
        let durations = stage.observer.totals().histograms;
        assert_eq!(durations[&key].buckets.iter().sum::<u64>(), 1);
    });
}

#[test]
fn the_upstream_may_speak_first() {
    play(tcp, |stage| async move {
        let mut client = stage.client().await;
        stage.upstream().await.send("220 ready\r\n").await;
        assert_eq!(client.until("\r\n").await, "220 ready\r\n");
    });
}

#[test]
fn a_side_that_breaks_breaks_the_other() {
    play(tcp, |stage| async move {
        let (mut client, upstream) = pair(&stage).await;
        upstream.stream.set_zero_linger().unwrap();
        drop(upstream);
        assert!(client.rest_or_reset().await.1, "a reset, not an end");
        until_failed(&stage, Reason::UpstreamBodyBroken).await;

        let (client, mut upstream) = pair(&stage).await;
        client.stream.set_zero_linger().unwrap();
        drop(client);
        assert!(upstream.rest_or_reset().await.1);
        until_failed(&stage, Reason::ClientGone).await;
    });
}

#[test]
fn silence_ends_it_and_traffic_does_not() {
    play(
        |config| {
            tcp(config);
            config.upstreams[0].traffic.timeouts.tunnel = Duration::from_secs(2);
        },
        |stage| async move {
            let (mut client, mut upstream) = pair(&stage).await;
            for _ in 0..4 {
                assert!(client.is_silent_for(Duration::from_millis(600)).await);
                upstream.send("x").await;
                assert_eq!(client.exactly(1).await, "x");
            }
            assert_eq!(client.rest_or_reset().await.0, "");
            assert_eq!(upstream.rest_or_reset().await.0, "");
            until_failed(&stage, Reason::TunnelIdle).await;
        },
    );
}

#[test]
fn a_silent_endpoint_is_passed_over() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = dead.local_addr().unwrap();
    play(
        |config| {
            tcp(config);
            let Target::Servers(servers) = &mut config.upstreams[0].target else {
                unreachable!()
            };
            let mut refusing = servers[0].clone();
            refusing.host = ServerHost::Ip([127, 0, 0, 9].into());
            refusing.port = address.port();
            servers.insert(0, refusing);
        },
        |stage| async move {
            for _ in 0..4 {
                pair(&stage).await;
            }
        },
    );
}

#[test]
fn with_no_endpoint_left_it_is_closed() {
    play(
        |config| {
            tcp(config);
            let Target::Servers(servers) = &mut config.upstreams[0].target else {
                unreachable!()
            };
            servers[0].host = ServerHost::Ip([127, 0, 0, 9].into());
        },
        |stage| async move {
            let mut client = stage.client().await;
            assert_eq!(client.rest_or_reset().await.0, "");
            until_failed(&stage, Reason::ConnectFailed).await;
        },
    );
}

#[test]
fn it_outlives_a_generation_and_ends_with_the_drain() {
    play(tcp, |stage| async move {
        let (mut client, mut upstream) = pair(&stage).await;
        let mut config = stage.config.clone();
        config.listeners[0].protocol = Protocol::Http;
        stage.reload(&config);
        upstream.send("still").await;
        assert_eq!(client.exactly(5).await, "still");
        stage.proxy.drain(Duration::from_millis(100));
        within(stage.proxy.drained()).await;
        assert_eq!(client.rest_or_reset().await.0, "");
        assert_eq!(failed(&stage, Reason::DrainDeadline), 1);
    });
}

#[test]
fn the_client_is_told_on() {
    let line = "PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n";
    play(
        |config| {
            tcp(config);
            config.upstreams[0].proxy_protocol = Some(Version::V1);
            config.listeners[0].proxy_protocol = Some(ProxyProtocol {
                trusted_sources: vec!["127.0.0.1/32".parse().unwrap()],
                mode: ProxyHeader::Require,
                timeout: Duration::from_secs(5),
            });
        },
        |stage| async move {
            let mut client = stage.client().await;
            client.send(&format!("{line}payload")).await;
            let mut upstream = stage.upstream().await;
            assert_eq!(
                upstream.exactly(line.len() + 7).await,
                format!("{line}payload")
            );
        },
    );
}

/// A TLS client's first message for this name.
fn hello(name: &str) -> Vec<u8> {
    let sized = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], bytes].concat()
    };
    let names = sized(&[&[0][..], &sized(name.as_bytes())].concat());
    let extension = [&[0, 0][..], &sized(&names)].concat();
    let mut content = vec![3, 3];
    content.extend_from_slice(&[7; 32]);
    content.extend_from_slice(&[0, 0, 2, 0x13, 0x01, 1, 0]);
    content.extend(sized(&extension));
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let message = [&[1][..], &length[1..], &content].concat();
    [&[22, 3, 1][..], &sized(&message)].concat()
}

/// `app` takes `shop.example.com`, `other` everything below it and what nobody takes.
async fn routed(rest: bool) -> (TcpListener, impl FnOnce(&mut Config)) {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    let change = move |config: &mut Config| {
        let mut upstream = config.upstreams[0].clone();
        upstream.id = "other".into();
        let Target::Servers(servers) = &mut upstream.target else {
            unreachable!()
        };
        servers[0].port = address.port();
        config.upstreams.push(upstream);
        config.limits.handshake_timeout = Duration::from_millis(300);
        let route = |name, upstream: &str| NameRoute {
            names: vec![name],
            upstream: upstream.into(),
        };
        config.listeners[0].protocol = Protocol::Tcp(Tcp {
            routes: vec![
                route(HostPattern::Exact("a.shop.example.com".into()), "app"),
                route(HostPattern::Wildcard("shop.example.com".into()), "other"),
                route(HostPattern::Exact("shop.example.com".into()), "app"),
            ],
            upstream: rest.then(|| "other".into()),
        });
    };
    (other, change)
}

#[test]
fn tls_goes_by_the_name_that_is_asked_for() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (other, change) = runtime.block_on(routed(true));
    let other = other.into_std().unwrap();
    play(change, |stage| async move {
        let other = TcpListener::from_std(other).unwrap();
        for (sent, to_app) in [
            (hello("shop.example.com"), true),
            (hello("A.Shop.Example.com"), true),
            (hello("b.shop.example.com"), false),
            (hello("x.b.shop.example.com"), false),
            (hello("elsewhere.example.com"), false),
            (b"SSH-2.0-client\r\n".to_vec(), false),
        ] {
            let mut client = stage.client().await;
            let (start, end) = sent.split_at(sent.len() / 2);
            client.stream.write_all(start).await.unwrap();
            client.is_silent_for(Duration::from_millis(3)).await;
            client.stream.write_all(end).await.unwrap();
            let mut upstream = match to_app {
                true => stage.upstream().await,
                false => Wire::over(within(other.accept()).await.unwrap().0),
            };
            let seen = upstream.bytes_with(&[&sent]).await;
            assert_eq!(seen, sent, "all of it, untouched");
        }
    });
}

#[test]
fn a_name_that_nobody_takes_and_one_that_does_not_come_are_closed() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (_other, change) = runtime.block_on(routed(false));
    play(change, |stage| async move {
        let mut unknown = stage.client().await;
        unknown
            .stream
            .write_all(&hello("elsewhere.example.com"))
            .await
            .unwrap();
        assert_eq!(unknown.rest_or_reset().await.0, "");
        assert_eq!(failed(&stage, Reason::UnknownServerName), 1);

        let mut slow = stage.client().await;
        slow.stream.write_all(&hello("a")[..20]).await.unwrap();
        assert_eq!(slow.rest_or_reset().await.0, "");
        assert_eq!(failed(&stage, Reason::ClientHelloTimeout), 1);
        assert!(stage.no_upstream_connection().await);
    });
}
