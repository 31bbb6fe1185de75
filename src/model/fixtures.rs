//! Pieces of configuration for the tests of the model: as small as a test lets them be.

use std::time::Duration;

use super::config::{
    HostHeader, HostPattern, Keepalive, PathPattern, Rule, Server, ServerHost, Target, Upstream,
    UpstreamTimeouts, WeightedUpstream,
};

/// One server for every weight, on ports from 9000.
pub(super) fn upstream(id: &str, weights: &[u32]) -> Upstream {
    let server = |(port, weight): (u16, &u32)| Server {
        host: ServerHost::Name(id.to_owned()),
        port,
        weight: *weight,
        authority: format!("{id}:{port}"),
        base_path: String::new(),
    };
    Upstream {
        id: id.to_owned(),
        target: Target::Servers((9000..).zip(weights).map(server).collect()),
        host_header: HostHeader::Upstream,
        keepalive: Keepalive {
            idle_connections: 8,
            idle_timeout: Duration::from_secs(60),
        },
        timeouts: UpstreamTimeouts {
            connect: Duration::from_secs(5),
            response_header: Duration::from_secs(60),
        },
        proxy_protocol: None,
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
        upstreams: vec![WeightedUpstream {
            upstream: 0,
            weight: 1,
        }],
    }
}
