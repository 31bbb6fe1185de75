//! Pieces of configuration for the tests of the model: as small as a test lets them be.

use std::time::Duration;

use super::config::balance::Balancing;
use super::config::traffic::{Backoff, Retry, RetryBudget, Timeouts, Traffic};
use super::config::{
    HostHeader, HostPattern, Keepalive, PathPattern, Rule, Scheme, Server, ServerHost, ServerRole,
    Target, Upstream, UpstreamHttp2, UpstreamProtocol, WeightedUpstream,
};

/// One server for every weight, on ports from 9000.
pub(super) fn upstream(id: &str, weights: &[u32]) -> Upstream {
    let server = |(port, weight): (u16, &u32)| Server {
        host: ServerHost::Name(id.to_owned()),
        port,
        weight: *weight,
        role: ServerRole::Primary,
        authority: format!("{id}:{port}"),
        base_path: String::new(),
        scheme: Scheme::Http,
    };
    Upstream {
        id: id.to_owned(),
        tls: None,
        target: Target::Servers((9000..).zip(weights).map(server).collect()),
        host_header: HostHeader::Upstream,
        protocol: UpstreamProtocol::Auto,
        http2: upstream_http2(),
        grpc_web: false,
        keepalive: Keepalive {
            idle_connections: 8,
            idle_timeout: Duration::from_secs(60),
        },
        traffic: traffic(),
        circuit_breaker: None,
        proxy_protocol: None,
        balancing: Balancing::default(),
        health_check: None,
    }
}

/// Patient, and never tries again.
/// As in a configuration that says nothing of it.
pub(crate) fn upstream_http2() -> UpstreamHttp2 {
    UpstreamHttp2 {
        max_concurrent_streams: 128,
        max_connections: 8,
        initial_stream_window_size: 256 * 1024,
        initial_connection_window_size: 1024 * 1024,
        keepalive: None,
    }
}

pub(crate) fn traffic() -> Traffic {
    Traffic {
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            tls: Duration::from_secs(5),
            response_header: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            tunnel: Duration::from_secs(3600),
            request: None,
            per_try: None,
        },
        retry: Retry {
            attempts: 1,
            on: None,
            methods: None,
            backoff: Backoff {
                base: Duration::from_millis(1),
                max: Duration::from_millis(1),
            },
            budget: RetryBudget {
                percent: 20,
                min_per_second: 10,
            },
            buffer_bytes: 1024,
        },
        hedge: None,
    }
}

/// Takes every host; goes to the first upstream.
pub(super) fn rule(name: &str, path: PathPattern) -> Rule {
    Rule {
        name: name.to_owned(),
        host: HostPattern::Any,
        path,
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        cookies: Vec::new(),
        mirror: None,
        upstreams: vec![WeightedUpstream {
            upstream: 0,
            weight: 1,
        }],
        traffic: None,
        grpc_web: false,
    }
}
