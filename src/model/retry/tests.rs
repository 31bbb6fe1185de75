use super::budget::Window;
use super::*;
use crate::model::config::traffic::RetryBudget;

fn retry(on: &[RetryOn]) -> Retry {
    Retry {
        attempts: 3,
        on: Some(on.to_vec()),
        methods: None,
        backoff: Backoff {
            base: Duration::from_millis(25),
            max: Duration::from_millis(250),
        },
        budget: BUDGET,
        buffer_bytes: 1024,
    }
}

fn policy(on: &[RetryOn]) -> RetryPolicy {
    RetryPolicy::build(&retry(on)).expect("methods are valid")
}

const BUDGET: RetryBudget = RetryBudget {
    percent: 20,
    min_per_second: 10,
};

const EVERY: [Failure; 8] = [
    Failure::Connect,
    Failure::Refused,
    Failure::Reset,
    Failure::TryTimeout,
    Failure::Timeout,
    Failure::InvalidResponse,
    Failure::Status(StatusCode::SERVICE_UNAVAILABLE),
    Failure::Grpc(14),
];

#[test]
fn every_condition_covers_its_failure_and_no_other() {
    for (on, covered) in [
        (RetryOn::ConnectFailure, Failure::Connect),
        (RetryOn::RefusedStream, Failure::Refused),
        (RetryOn::Reset, Failure::Reset),
        (RetryOn::Timeout, Failure::Timeout),
        (RetryOn::InvalidResponse, Failure::InvalidResponse),
        (RetryOn::Status(503), EVERY[6]),
        (RetryOn::GatewayError, EVERY[6]),
        (RetryOn::ServerError, EVERY[6]),
        (RetryOn::Grpc(GrpcStatus::Unavailable), EVERY[7]),
    ] {
        for failure in EVERY {
            let expected = failure == covered || failure == Failure::TryTimeout;
            let allowed = policy(&[on]).allows(failure, &Method::GET, 1);
            assert_eq!(allowed, expected, "{on:?} and {failure:?}");
        }
    }
}

#[test]
fn statuses_are_those_that_are_named() {
    let retried = |on: RetryOn| -> Vec<u16> {
        let policy = policy(&[on]);
        let none = Fields::default();
        let retried = |status: &u16| {
            let status = StatusCode::from_u16(*status).unwrap();
            policy.failure_of(status, &none).is_some()
        };
        (100..=999).filter(retried).collect()
    };
    assert_eq!(retried(RetryOn::Status(400)), [400]);
    assert_eq!(retried(RetryOn::Status(599)), [599]);
    assert_eq!(retried(RetryOn::GatewayError), [502, 503, 504]);
    assert_eq!(
        retried(RetryOn::ServerError),
        (500..600).collect::<Vec<_>>()
    );
    assert!(retried(RetryOn::Reset).is_empty());
}

#[test]
fn calls_that_failed_are_known_from_the_head() {
    let policy = policy(&[RetryOn::Grpc(GrpcStatus::Unavailable)]);
    let failure = |value: &'static str| {
        let headers = Fields::of(&[("grpc-status", value)]);
        policy.failure_of(StatusCode::OK, &headers)
    };
    assert_eq!(failure("14"), Some(Failure::Grpc(14)));
    for other in ["0", "13", "46", "4294967295", "99999999999", "x", ""] {
        assert_eq!(failure(other), None, "{other}");
    }
    assert_eq!(policy.failure_of(StatusCode::OK, &Fields::default()), None);
}

#[test]
fn what_no_server_has_seen_is_sent_again_whatever_its_method() {
    let on = [
        RetryOn::ConnectFailure,
        RetryOn::RefusedStream,
        RetryOn::Reset,
    ];
    for (failure, post) in [
        (Failure::Connect, true),
        (Failure::Refused, true),
        (Failure::Reset, false),
        (Failure::TryTimeout, false),
    ] {
        assert_eq!(policy(&on).allows(failure, &Method::POST, 1), post);
        assert!(policy(&on).allows(failure, &Method::PUT, 1));
    }
    let told = Retry {
        methods: Some(vec!["POST".to_owned()]),
        ..retry(&on)
    };
    let told = RetryPolicy::build(&told).unwrap();
    assert!(told.allows(Failure::Reset, &Method::POST, 1));
    assert!(!told.allows(Failure::Reset, &Method::GET, 1));
}

#[test]
fn what_is_tried_again_where_nothing_is_said() {
    let usual = Retry {
        on: None,
        ..retry(&[])
    };
    let usual = RetryPolicy::build(&usual).unwrap();
    let retried = EVERY.map(|failure| usual.allows(failure, &Method::GET, 1));
    assert_eq!(retried, [true, true, true, true, false, true, false, false]);
    assert_eq!(usual.reach, Reach::Elsewhere);
    assert_eq!(policy(&[RetryOn::Reset]).reach, Reach::Anywhere);
}

#[test]
fn the_number_of_attempts_is_a_bound() {
    let policy = policy(&[RetryOn::ConnectFailure]);
    let allowed = |sent| policy.allows(Failure::Connect, &Method::GET, sent);
    assert_eq!([1, 2, 3, 4].map(allowed), [true, true, false, false]);
}

#[test]
fn waits_double_up_to_the_longest_and_are_spread_over_all_of_it() {
    let policy = policy(&[]);
    for (retries, longest) in [(0, 25), (1, 50), (2, 100), (3, 200), (4, 250), (40, 250)] {
        let waits = (0..10_000_u64).map(|n| {
            let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            policy.backoff(retries, random).as_millis()
        });
        let waits: Vec<_> = waits.collect();
        let mean = waits.iter().sum::<u128>() as f64 / waits.len() as f64;
        assert_eq!(waits.iter().max(), Some(&longest));
        assert!((mean / longest as f64 - 0.5).abs() < 0.02, "{mean}");
    }
    assert_eq!(policy.backoff(1, 4711), policy.backoff(1, 4711));
}

/// Requests per second, every one of which fails on every try: how many retries the ten seconds see.
fn retries_in_an_outage(failure: Failure, per_second: u64, seconds: u64) -> u64 {
    let mut window = Window::default();
    let mut taken = 0;
    for second in 0..seconds {
        for _ in 0..per_second {
            window.request(second);
            for _ in 0..2 {
                taken += u64::from(window.take(failure, BUDGET, second));
            }
        }
    }
    taken
}

#[test]
fn an_outage_is_not_multiplied() {
    for failure in [
        Failure::Reset,
        Failure::Status(StatusCode::SERVICE_UNAVAILABLE),
    ] {
        for (per_second, seconds) in [(1_000, 10), (1_000, 100), (10, 100), (5_000, 20)] {
            let requests = per_second * seconds;
            let taken = retries_in_an_outage(failure, per_second, seconds);
            let most = requests / 5 + 10 * (seconds + 10);
            assert!(taken <= most, "{taken} retries of {requests}");
        }
    }
    let requests = 100_000;
    let taken = retries_in_an_outage(Failure::Connect, 1_000, 100);
    assert!(taken <= requests / 5 + 1_100 + 200, "{taken}");
}

#[test]
fn one_dead_server_of_three_is_made_up_for_without_end() {
    let mut window = Window::default();
    for second in 0..1_000 {
        for request in 0..300 {
            window.request(second);
            if request % 3 == 0 {
                assert!(window.take(Failure::Connect, BUDGET, second), "{second}");
            }
            window.answer(second);
        }
    }
}

#[test]
fn a_few_retries_are_always_there_and_come_again() {
    let mut window = Window::default();
    let take = |window: &mut Window, second| {
        (0..1_000)
            .filter(|_| window.take(Failure::Reset, BUDGET, second))
            .count()
    };
    assert_eq!(take(&mut window, 7), 100);
    assert_eq!(take(&mut window, 16), 0);
    assert_eq!(take(&mut window, 17), 100);
    assert_eq!(take(&mut window, 3), 0, "the clock went back");
    let none = RetryBudget {
        percent: 0,
        min_per_second: 0,
    };
    assert!(!Window::default().take(Failure::Reset, none, 1));
}
