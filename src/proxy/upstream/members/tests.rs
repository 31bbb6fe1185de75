use std::time::Duration;

use super::stage::{Stage, pick, picks};
use super::*;
use crate::model::config;
use crate::model::resolved::{Address, Resolved, Standing};
use crate::proxy::upstream::addresses::Addresses;
use crate::shm::health::{self, Experience, Verdict};
use crate::shm::layout::ShareCell;

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
