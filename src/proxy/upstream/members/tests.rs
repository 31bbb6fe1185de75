use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::model::config::balance::Outliers;
use crate::model::config::{self, HostHeader, Keepalive, ServerHost, ServerRole};
use crate::model::resolved::{Address, Resolved, Standing};
use crate::model::snapshot::Target;
use crate::proxy::error::Reason;
use crate::proxy::upstream::addresses::Addresses;
use crate::shm::Segment;
use crate::shm::health::{self, Experience, Health, Verdict};
use crate::shm::layout::{Layout, ShareCell};
use crate::shm::recorder::Recorder;
use crate::shm::totals::Totals;

struct Stage {
    endpoints: Endpoints,
    observer: Rc<Observer>,
    balancing: Balancing,
    tls: Registry,
}

impl Stage {
    fn set() -> Self {
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
    fn other_worker(&self) -> Self {
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

    fn premises(&self) -> Premises<'_> {
        Premises {
            endpoints: &self.endpoints,
            observer: &self.observer,
            tls: &self.tls,
        }
    }

    fn members(&self, hosts: &[&str], before: Option<&Members>) -> Rc<Members> {
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

    fn segment(&self) -> &Segment {
        self.observer.recorder().segment()
    }

    fn board(&self, id: u32) -> health::Board {
        self.segment().board(id).unwrap()
    }

    fn ejections(&self) -> u64 {
        let totals = Totals::read(self.segment());
        let key = Series::new(Family::Ejections, 2, 0, 0);
        totals.scalars.get(&key).copied().unwrap_or_default()
    }
}

fn upstream() -> config::Upstream {
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
fn server(host: &str) -> config::Server {
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

fn told(server: &str, last: &[u8]) -> Resolved {
    let endpoint = |last: &u8| ResolvedEndpoint {
        id: u32::from(*last),
        address: Address::Ip(([10, 0, 0, *last], 80).into()),
        weight: 1,
        priority: 0,
    };
    Resolved {
        upstream: "app".into(),
        server: server.into(),
        standing: Standing::Configured,
        endpoints: last.iter().map(endpoint).collect(),
    }
}

fn pick(members: &Rc<Members>, tried: &Tried) -> Option<Hold> {
    let now = Millis(1_000);
    members.pick(&Ask {
        now,
        tried,
        key: None,
        token: None,
    })
}

/// The last byte of each address.
fn picks(members: &Rc<Members>, count: usize) -> Vec<u8> {
    let last = |hold: Hold| match hold.endpoint().address {
        Address::Ip(SocketAddr::V4(at)) => at.ip().octets()[3],
        _ => panic!("not in these tests"),
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

    let removed = Resolved {
        standing: Standing::Removed,
        ..told("todos:80", &[])
    };
    addresses.set(removed, &stage.premises());
    assert_eq!(picks(&members, 1), [2], "who still uses it keeps it");
    addresses.set(told("todos:80", &[]), &stage.premises());
    assert!(picks(&members, 1).is_empty(), "its name is gone");
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
    let until = health::now().after(Duration::from_secs(60));
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
    assert_eq!(
        other.endpoint().address,
        Address::Ip(([10, 0, 0, 2], 80).into())
    );
}

#[test]
fn what_is_held_is_in_flight_for_everybody_until_it_is_dropped() {
    let stage = Stage::set();
    let members = stage.members(&["10.0.0.1"], None);
    let in_flight = || stage.segment().shares(1, ShareCell::Requests);
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

/// So many errors at the endpoint with this last byte, one request each.
fn fail(members: &Rc<Members>, last: u8, errors: usize) {
    let address = Address::Ip(([10, 0, 0, last], 80).into());
    for _ in 0..errors {
        let found = loop {
            let hold = pick(members, &Tried::default()).unwrap();
            if hold.endpoint().address == address {
                break hold;
            }
        };
        found.failed(Reason::ConnectFailed);
    }
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
    hold.answered(Some(StatusCode::BAD_GATEWAY));
    assert_eq!(streak(), 3);
    assert_eq!(stage.board(1).health(Millis(1)), Health::Unknown);
    hold.answered(Some(StatusCode::INTERNAL_SERVER_ERROR));
    assert_eq!(streak(), 0, "its own answer is an answer");
    fail(&members, 1, 100);
    assert_eq!(
        stage.board(1).health(health::now()),
        Health::Unknown,
        "the only one"
    );
}

#[test]
fn one_that_fails_is_left_out_by_all_workers_at_once_and_in_the_next_generation() {
    let stage = Stage::set();
    let hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let other = stage.other_worker();
    let (members, theirs) = (stage.members(&hosts, None), other.members(&hosts, None));
    fail(&members, 1, 3);
    assert_eq!(picks(&theirs, 3).len(), 3);
    // The other worker sees the rest of the row.
    fail(&theirs, 1, 2);
    assert_eq!(stage.board(1).health(health::now()), Health::Ejected);
    assert_eq!(stage.ejections(), 1);
    let next = stage.members(&hosts, Some(&members));
    for members in [&members, &theirs, &next] {
        assert!(!picks(members, 6).contains(&1));
    }
    let back = stage.board(1).experience().until;
    assert!(back > health::now());
    assert_eq!(stage.board(1).health(back), Health::Trial);
}

/// Ends the ejection of the first now.
fn end_ejection(stage: &Stage) {
    assert!(stage.board(1).end_ejection(health::now()));
}

#[test]
fn one_that_is_back_gets_a_single_request_until_that_has_gone_well() {
    let mut stage = Stage::set();
    stage.balancing.outliers.base_time = Duration::from_secs(3_600);
    let hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let other = stage.other_worker();
    let (members, theirs) = (stage.members(&hosts, None), other.members(&hosts, None));
    fail(&members, 1, 5);
    end_ejection(&stage);
    let mut trial = None;
    for _ in 0..30 {
        let hold = pick(&members, &Tried::default()).unwrap();
        if hold.endpoint().address == Address::Ip(([10, 0, 0, 1], 80).into()) {
            assert!(trial.replace(hold).is_none(), "one is enough");
        }
    }
    let trial = trial.unwrap();
    assert!(!picks(&theirs, 30).contains(&1), "for all workers");

    trial.failed(Reason::ConnectFailed);
    assert_eq!(stage.board(1).health(health::now()), Health::Ejected);
    let experience = stage.board(1).experience();
    assert_eq!((experience.ejections, stage.ejections()), (2, 2));

    // In the next trial it answers.
    end_ejection(&stage);
    stage.board(1).begin_trial(Millis(0));
    let trial = loop {
        let hold = pick(&theirs, &Tried::default()).unwrap();
        if hold.endpoint().address == Address::Ip(([10, 0, 0, 1], 80).into()) {
            break hold;
        }
    };
    trial.answered(Some(StatusCode::OK));
    for members in [&members, &theirs] {
        let of_it = picks(members, 30).into_iter().filter(|last| *last == 1);
        assert!((9..=11).contains(&of_it.count()), "its share");
    }
    fail(&members, 1, 4);
    assert_eq!(stage.board(1).health(health::now()), Health::Unknown);
}

#[test]
fn an_answer_that_breaks_off_is_no_end_of_a_row_of_errors() {
    let stage = Stage::set();
    let members = stage.members(&["10.0.0.1", "10.0.0.2"], None);
    let address = Address::Ip(([10, 0, 0, 1], 80).into());
    let mut errors = 0;
    while errors < 5 {
        assert_eq!(stage.ejections(), 0);
        let hold = pick(&members, &Tried::default()).unwrap();
        hold.answered(Some(StatusCode::OK));
        if hold.endpoint().address == address {
            hold.failed(Reason::UpstreamBodyBroken);
            errors += 1;
            assert_eq!(stage.board(1).experience().streak % 5, errors % 5);
        }
    }
    assert_eq!(stage.board(1).health(health::now()), Health::Ejected);
    assert_eq!(stage.ejections(), 1);
}

#[test]
fn what_was_seen_of_one_before_it_came_back_costs_it_nothing() {
    for policy in [Policy::LeastConnections, Policy::PeakEwma] {
        let mut stage = Stage::set();
        stage.balancing.policy = policy;
        let members = stage.members(&["10.0.0.1", "10.0.0.2"], None);
        for _ in 0..20 {
            let hold = pick(&members, &Tried::default()).unwrap();
            let is_first = hold.endpoint().address == Address::Ip(([10, 0, 0, 1], 80).into());
            match is_first {
                true => hold.failed(Reason::ConnectFailed),
                false => hold.answered(Some(StatusCode::OK)),
            }
        }
        // By its checks, after all of that.
        let later = health::now().after(Duration::from_millis(1));
        stage.board(1).check(Verdict::Unhealthy, later);
        stage.board(1).check(Verdict::Healthy, later);
        let of_it = picks(&members, 40).into_iter().filter(|last| *last == 1);
        assert!(of_it.count() >= 5);
    }
}

#[test]
fn no_more_are_left_out_than_the_bound_says() {
    let stage = Stage::set();
    let hosts: Vec<String> = (1..=10).map(|last| format!("10.0.0.{last}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let members = stage.members(&hosts, None);
    for last in 1..=10 {
        let board = stage.board(last);
        let outliers = &members.balancing().outliers;
        board.learn(|seen| Some(Experience { streak: 4, ..seen }));
        if !board.health(health::now()).takes_traffic() {
            continue;
        }
        fail(&members, u8::try_from(last).unwrap(), 1);
        assert!(members.count_out(health::now()).1 <= outliers.most_out(10));
    }
    assert_eq!(members.count_out(health::now()), (10, 7));
    assert_eq!(stage.ejections(), 7);
}

#[test]
fn a_share_of_errors_leaves_out_where_one_is_set() {
    let mut stage = Stage::set();
    stage.balancing.outliers = Outliers {
        consecutive_errors: None,
        error_rate: Some(config::balance::ErrorRate {
            percent: 50,
            min_requests: 10,
            interval: Duration::from_secs(3_600),
        }),
        ..Outliers::default()
    };
    let members = stage.members(&["10.0.0.1", "10.0.0.2"], None);
    let mut requests = 0;
    while stage.ejections() == 0 {
        let hold = pick(&members, &Tried::default()).unwrap();
        if hold.endpoint().address == Address::Ip(([10, 0, 0, 1], 80).into()) {
            requests += 1;
            match requests % 2 {
                0 => hold.failed(Reason::UpstreamTimeout),
                _ => hold.answered(Some(StatusCode::OK)),
            }
        }
        assert!(requests < 30, "half of the requests fail, and it stays");
    }
    assert!((10..13).contains(&requests), "after {requests}");
    assert!(!picks(&members, 4).contains(&1));
}

#[test]
fn backups_serve_while_no_primary_does_and_all_where_too_few_are_well() {
    let mut stage = Stage::set();
    let hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3b"];
    let members = stage.members(&hosts, None);
    let segment = stage.segment().clone();
    let check = |id, verdict| {
        segment.board(id).unwrap().check(verdict, Millis(900));
    };
    assert_eq!(picks(&members, 4), [1, 2, 1, 2]);
    check(1, Verdict::Unhealthy);
    assert_eq!(picks(&members, 2), [2, 2]);
    check(2, Verdict::Unhealthy);
    assert_eq!(picks(&members, 2), [3, 3]);
    check(3, Verdict::Unhealthy);
    let mut all = picks(&members, 4);
    all.sort_unstable();
    assert_eq!(all, [1, 1, 2, 2], "nobody is well: as if all were");
    check(1, Verdict::Healthy);
    assert_eq!(picks(&members, 2), [1, 1]);

    // With a threshold of 60 percent, one of two is too few.
    stage.balancing.panic_threshold = 60;
    let anxious = stage.members(&["10.0.0.1", "10.0.0.2"], None);
    let mut all = picks(&anxious, 4);
    all.sort_unstable();
    assert_eq!(all, [1, 1, 2, 2]);
}

#[test]
fn one_that_comes_back_is_started_slowly() {
    let mut stage = Stage::set();
    stage.balancing.slow_start = Some(Duration::from_secs(1));
    let members = stage.members(&["10.0.0.1", "10.0.0.2"], None);
    stage.board(1).check(Verdict::Unhealthy, Millis(0));
    stage.board(1).check(Verdict::Healthy, Millis(1_000));
    let first = picks(&members, 110)
        .iter()
        .filter(|last| **last == 1)
        .count();
    assert_eq!(first, 10, "a tenth of a share");
}

#[test]
fn a_client_is_kept_where_its_cookie_says_until_that_is_not_well() {
    let mut stage = Stage::set();
    stage.balancing.sticky = Some(config::balance::Sticky {
        cookie: "at".into(),
        ttl: None,
        path: "/".into(),
        domain: None,
        secure: false,
        http_only: true,
        same_site: config::balance::SameSite::Lax,
        secret: Some(Secret::new("a secret")),
    });
    let members = stage.members(&["10.0.0.1", "10.0.0.2", "10.0.0.3"], None);
    let first = pick(&members, &Tried::default()).unwrap();
    let set = first.cookie(None).unwrap();
    let set = set.to_str().unwrap();
    let (name, rest) = set.split_once('=').unwrap();
    let (token, attributes) = rest.split_once(';').unwrap();
    assert_eq!(
        (name, attributes),
        ("at", " Path=/; HttpOnly; SameSite=Lax")
    );
    assert_eq!(
        first.cookie(Some(token.as_bytes())),
        None,
        "it has it already"
    );

    let (now, tried) = (Millis(1_000), Tried::default());
    let again = |token: &str| {
        let token = Some(token.as_bytes());
        let key = None;
        let ask = Ask {
            now,
            tried: &tried,
            key,
            token,
        };
        members.pick(&ask).unwrap()
    };
    for _ in 0..5 {
        assert!(Rc::ptr_eq(again(token).endpoint(), first.endpoint()));
    }
    let strangers: std::collections::HashSet<_> = (0..3)
        .map(|_| again("0123").endpoint().address.clone())
        .collect();
    assert_eq!(strangers.len(), 3, "an unknown cookie is none");
    stage.board(1).check(Verdict::Unhealthy, Millis(900));
    let other = again(token);
    assert!(!Rc::ptr_eq(other.endpoint(), first.endpoint()));
    assert!(
        other.cookie(Some(token.as_bytes())).is_some(),
        "it is told to go there"
    );
}
