use super::*;
use crate::model::config::{self, HostHeader, Keepalive};
use crate::model::resolved::Resolved;
use crate::model::snapshot::{Target, Upstream};
use crate::proxy::upstream::addresses::Addresses;
use crate::shm::Segment;
use crate::shm::health::{Health, Verdict};
use crate::shm::layout::{Layout, ShareCell};

struct Stage {
    endpoints: Endpoints,
    recorder: Recorder,
}

impl Stage {
    fn set() -> Self {
        let segment = Segment::create_sized(Layout { chunks: 4 }).unwrap();
        let row = segment.lease(0).unwrap();
        Self {
            endpoints: Endpoints::default(),
            recorder: Recorder::open(segment, row).unwrap(),
        }
    }

    fn premises(&self) -> Premises<'_> {
        Premises {
            endpoints: &self.endpoints,
            recorder: &self.recorder,
        }
    }

    fn members(&self, hosts: &[&str], before: Option<&Members>) -> Rc<Members> {
        let servers = hosts.iter().map(|host| server(host)).collect();
        let upstream = config::Upstream {
            target: config::Target::Servers(servers),
            ..upstream()
        };
        let built = Upstream::build(&upstream).unwrap();
        let Target::Servers(servers) = &built.target else {
            panic!("no servers")
        };
        let id = |host: &&str| host.rsplit('.').next()?.parse().ok();
        let ids: Vec<Option<u32>> = hosts.iter().map(id).collect();
        Members::build("app", servers, &ids, before, &self.premises())
    }

    fn board(&self, id: u32) -> crate::shm::health::Board {
        self.recorder.segment().board(id).unwrap()
    }
}

fn upstream() -> config::Upstream {
    config::Upstream {
        id: "app".into(),
        target: config::Target::Echo,
        host_header: HostHeader::Upstream,
        keepalive: Keepalive {
            idle_connections: 8,
            idle_timeout: std::time::Duration::from_secs(60),
        },
        proxy_protocol: None,
        traffic: crate::model::fixtures::traffic(),
        circuit_breaker: None,
    }
}

fn server(host: &str) -> config::Server {
    config::Server {
        host: match host.parse() {
            Ok(ip) => ServerHost::Ip(ip),
            Err(_) => ServerHost::Name(host.into()),
        },
        port: 80,
        weight: 1,
        authority: "app.example".into(),
        base_path: String::new(),
    }
}

fn told(server: &str, last: &[u8]) -> Resolved {
    let endpoint = |last: &u8| ResolvedEndpoint {
        id: u32::from(*last),
        address: ([10, 0, 0, *last], 80).into(),
        weight: 1,
        priority: 0,
    };
    Resolved {
        upstream: "app".into(),
        server: server.into(),
        endpoints: last.iter().map(endpoint).collect(),
    }
}

fn pick(members: &Members, tried: &Tried) -> Option<Hold> {
    let now = Millis(1_000);
    members.pick(&Ask { now, tried }, None)
}

/// The last byte of each address.
fn picks(members: &Members, count: usize) -> Vec<u8> {
    let last = |hold: Hold| match hold.endpoint().address.ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(_) => panic!("not in these tests"),
    };
    (0..count)
        .filter_map(|_| pick(members, &Tried::default()).map(last))
        .collect()
}

#[test]
fn a_name_has_no_endpoint_until_it_is_told_and_all_its_addresses_are_some() {
    let (stage, addresses) = (Stage::set(), Addresses::default());
    let members = stage.members(&["todos"], None);
    addresses.attach(&members, &stage.premises());
    assert!(picks(&members, 1).is_empty());

    addresses.set(told("todos:80", &[1, 2]), &stage.premises());
    assert_eq!(picks(&members, 4), [1, 2, 1, 2]);

    let next = stage.members(&["todos", "10.0.0.3"], Some(&members));
    addresses.attach(&next, &stage.premises());
    assert_eq!(picks(&next, 3), [1, 2, 3], "known from the start");

    addresses.set(told("todos:80", &[2]), &stage.premises());
    assert_eq!(
        (picks(&members, 2), picks(&next, 2)),
        (vec![2, 2], vec![2, 3])
    );

    addresses.set(told("todos:80", &[]), &stage.premises());
    assert_eq!(picks(&members, 1), [2], "who still uses it keeps it");
}

#[test]
fn turns_go_on_over_a_reload() {
    let stage = Stage::set();
    let hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let members = stage.members(&hosts, None);
    assert_eq!(picks(&members, 4), [1, 2, 3, 1]);
    let next = stage.members(&hosts, Some(&members));
    assert_eq!(picks(&next, 3), [2, 3, 1]);
}

#[test]
fn one_that_is_not_well_gets_nothing_unless_none_is() {
    let stage = Stage::set();
    let members = stage.members(&["10.0.0.1", "10.0.0.2"], None);
    stage.board(1).check(Verdict::Unhealthy, Millis(900));
    assert_eq!(picks(&members, 3), [2, 2, 2]);
    let until = Millis(2_000);
    stage
        .board(2)
        .learn(|seen| Some(Experience { until, ..seen }));
    let mut all = picks(&members, 4);
    all.sort_unstable();
    assert_eq!(all, [1, 1, 2, 2], "some answer may be better than none");
    stage.board(1).check(Verdict::Healthy, Millis(950));
    assert_eq!(picks(&members, 2), [1, 1]);
}

#[test]
fn another_try_goes_elsewhere_as_long_as_there_is_an_elsewhere() {
    let stage = Stage::set();
    let members = stage.members(&["10.0.0.1", "10.0.0.2"], None);
    let mut tried = Tried::default();
    let first = pick(&members, &tried).unwrap();
    tried.add(&first);
    let second = pick(&members, &tried).unwrap();
    assert!(!Rc::ptr_eq(first.endpoint(), second.endpoint()));
    tried.add(&second);
    assert!(pick(&members, &tried).is_some());

    // Rather one that is not well than the same again.
    stage.board(2).check(Verdict::Unhealthy, Millis(900));
    let mut tried = Tried::default();
    tried.add(&pick(&members, &tried).unwrap());
    let other = pick(&members, &tried).unwrap();
    assert_eq!(other.endpoint().address, ([10, 0, 0, 2], 80).into());
}

#[test]
fn what_is_held_is_in_flight_for_everybody_until_it_is_dropped() {
    let stage = Stage::set();
    let members = stage.members(&["10.0.0.1"], None);
    let in_flight = || stage.recorder.segment().shares(1, ShareCell::Requests);
    let (one, two) = (
        pick(&members, &Tried::default()).unwrap(),
        pick(&members, &Tried::default()).unwrap(),
    );
    assert_eq!(in_flight(), 2);
    drop(members);
    drop(one);
    assert_eq!(in_flight(), 1);
    drop(two);
    assert_eq!(in_flight(), 0);
}

#[test]
fn errors_in_a_row_are_counted_on_the_board_and_end_with_an_answer() {
    let stage = Stage::set();
    let members = stage.members(&["10.0.0.1"], None);
    let hold = pick(&members, &Tried::default()).unwrap();
    let streak = || stage.board(1).experience().streak;
    hold.failed(Reason::ConnectFailed);
    hold.failed(Reason::UpstreamClosed);
    hold.failed(Reason::ClientGone);
    hold.failed(Reason::OutOfSockets);
    assert_eq!(streak(), 2, "only what is the endpoint's fault");
    assert_eq!(stage.board(1).health(Millis(1)), Health::Unknown);
    hold.answered();
    assert_eq!(streak(), 0);
}
