//! A worker's upstreams without a worker, for tests: endpoints whose addresses end in their place on the
//! health board.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::model::config::{self, HostHeader, Keepalive, ServerHost, ServerRole};
use crate::model::resolved::Address;
use crate::model::snapshot::Target;
use crate::shm::Segment;
use crate::shm::layout::Layout;
use crate::shm::recorder::Recorder;
use crate::shm::totals::Totals;

pub(in crate::proxy::upstream) struct Stage {
    endpoints: Endpoints,
    observer: Rc<Observer>,
    pub(in crate::proxy::upstream) balancing: Balancing,
    tls: Registry,
}

impl Stage {
    pub(in crate::proxy::upstream) fn set() -> Self {
        let segment = Segment::create_sized(Layout { chunks: 4 }).unwrap();
        let row = segment.lease(0).unwrap();
        Self {
            endpoints: Endpoints::default(),
            tls: Registry::default(),
            observer: Rc::new(Observer::new(Recorder::open(segment, row).unwrap())),
            balancing: Balancing {
                policy: Policy::RoundRobin,
                ..Balancing::default()
            },
        }
    }

    /// Another worker on the same segment.
    pub(in crate::proxy::upstream) fn other_worker(&self) -> Self {
        let segment = self.segment();
        let row = segment.lease(1).unwrap();
        let recorder = Recorder::open(segment.clone(), row).unwrap();
        Self {
            endpoints: Endpoints::default(),
            tls: Registry::default(),
            observer: Rc::new(Observer::new(recorder)),
            balancing: self.balancing.clone(),
        }
    }

    pub(in crate::proxy::upstream) fn premises(&self) -> Premises<'_> {
        Premises {
            endpoints: &self.endpoints,
            observer: &self.observer,
            tls: &self.tls,
        }
    }

    pub(in crate::proxy::upstream) fn members(
        &self,
        hosts: &[&str],
        before: Option<&Members>,
    ) -> Rc<Members> {
        let servers = hosts.iter().map(|host| server(host)).collect();
        let upstream = config::Upstream {
            target: config::Target::Servers(servers),
            balancing: self.balancing.clone(),
            ..upstream()
        };
        let built = Upstream::build(&upstream).unwrap();
        let Target::Servers(servers) = &built.target else {
            panic!("no servers")
        };
        let id = |host: &&str| host.trim_end_matches('b').rsplit('.').next()?.parse().ok();
        let ids: Vec<Option<u32>> = hosts.iter().map(id).collect();
        let plan = Plan {
            upstream: &built,
            servers,
            ids: &ids,
            label: 2,
            secret: None,
        };
        Members::build(&plan, before, &self.premises())
    }

    pub(in crate::proxy::upstream) fn segment(&self) -> &Segment {
        self.observer.recorder().segment()
    }

    pub(in crate::proxy::upstream) fn board(&self, id: u32) -> health::Board {
        self.segment().board(id).unwrap()
    }

    pub(in crate::proxy::upstream) fn ejections(&self) -> u64 {
        let totals = Totals::read(self.segment());
        let key = Series::new(Family::Ejections, 2, 0, 0);
        totals.scalars.get(&key).copied().unwrap_or_default()
    }
}

pub(in crate::proxy::upstream) fn upstream() -> config::Upstream {
    config::Upstream {
        id: "app".into(),
        tls: None,
        target: config::Target::Echo,
        host_header: HostHeader::Upstream,
        protocol: config::UpstreamProtocol::Auto,
        http2: crate::model::fixtures::upstream_http2(),
        grpc_web: false,
        keepalive: Keepalive {
            idle_connections: 8,
            idle_timeout: Duration::from_secs(60),
        },
        proxy_protocol: None,
        traffic: crate::model::fixtures::traffic(),
        circuit_breaker: None,
        balancing: Balancing::default(),
        health_check: None,
    }
}

/// With a `b` behind it, it is a backup.
pub(in crate::proxy::upstream) fn server(host: &str) -> config::Server {
    let (host, role) = match host.strip_suffix('b') {
        Some(host) => (host, ServerRole::Backup),
        None => (host, ServerRole::Primary),
    };
    config::Server {
        role,
        host: match host.parse() {
            Ok(ip) => ServerHost::Ip(ip),
            Err(_) => ServerHost::Name(host.into()),
        },
        port: 80,
        weight: 1,
        authority: "app.example".into(),
        base_path: String::new(),
        scheme: config::Scheme::Http,
    }
}

pub(in crate::proxy::upstream) fn pick(members: &Rc<Members>, tried: &Tried) -> Option<Hold> {
    let now = Millis(1_000);
    let ask = Ask {
        now,
        tried,
        key: None,
        token: None,
    };
    members.pick(&ask).map(Hold::begin)
}

/// The last byte of each address.
pub(in crate::proxy::upstream) fn picks(members: &Rc<Members>, count: usize) -> Vec<u8> {
    let last = |hold: Hold| match hold.endpoint().address {
        Address::Ip(SocketAddr::V4(at)) => at.ip().octets()[3],
        _ => panic!("not in these tests"),
    };
    (0..count)
        .filter_map(|_| pick(members, &Tried::default()).map(last))
        .collect()
}
