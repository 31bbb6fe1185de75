//! Tests of who is left out for what live traffic has shown, and for how long.

use std::time::Duration;

use http::StatusCode;

use super::stage::{Stage, pick, picks};
use super::*;
use crate::model::config;
use crate::model::config::balance::Outliers;
use crate::proxy::error::Reason;
use crate::shm::health::{self, Experience, Health, Verdict};

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
fn good_answers_outweigh_the_errors_of_an_outage() {
    let mut stage = Stage::set();
    stage.balancing.policy = Policy::LeastConnections;
    stage.balancing.outliers.consecutive_errors = None;
    let members = stage.members(&["10.0.0.1", "10.0.0.2"], None);
    let hold = pick(&members, &Tried::default()).unwrap();
    let last = if hold.endpoint().address.to_string() == "10.0.0.1:80" {
        1
    } else {
        2
    };
    for _ in 0..1_000 {
        hold.failed(Reason::ConnectFailed);
    }
    for _ in 0..12 {
        hold.answered(Some(StatusCode::OK));
    }
    drop(hold);
    let of_it = picks(&members, 10).into_iter().filter(|one| *one == last);
    assert_eq!(of_it.count(), 5);
}
