use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn outliers() -> Outliers {
    Outliers {
        base_time: 10 * SECOND,
        max_time: 35 * SECOND,
        ..Outliers::default()
    }
}

fn rate() -> ErrorRate {
    ErrorRate {
        percent: 50,
        min_requests: 10,
        interval: 10 * SECOND,
    }
}

#[test]
fn each_time_out_is_longer_up_to_a_bound_and_time_well_is_remembered() {
    let outliers = outliers();
    let mut seen = Experience::default();
    let mut now = Millis(1_000_000);
    for seconds in [10, 20, 30, 35, 35] {
        seen = outliers.ejected(seen, now).unwrap();
        assert_eq!(seen.until.since(now), seconds * SECOND);
        assert_eq!(outliers.ejected(seen, now.after(SECOND)), None, "it is out");
        now = seen.until.after(SECOND);
    }
    // Well for three times the first time: three ejections are forgotten.
    now = seen.until.after(30 * SECOND);
    seen = outliers.ejected(seen, now).unwrap();
    assert_eq!(seen.ejections, 3);
    now = seen.until.after(3_600 * SECOND);
    assert_eq!(outliers.ejected(seen, now).unwrap().ejections, 1);
}

#[test]
fn no_more_than_allowed_may_be_out_and_a_single_one_never() {
    let most = |percent, endpoints| {
        let max_percent = percent;
        Outliers {
            max_percent,
            ..outliers()
        }
        .most_out(endpoints)
    };
    assert_eq!([0, 1, 2, 3, 10].map(|all| most(70, all)), [0, 0, 1, 2, 7]);
    assert_eq!([2, 3, 50].map(|all| most(10, all)), [1, 1, 5]);
    assert_eq!([1, 3].map(|all| most(100, all)), [0, 3]);
}

#[test]
fn a_share_of_errors_counts_once_there_are_enough_requests() {
    let mut window = Window::default();
    for number in 0..9 {
        let outcome = match number % 2 {
            0 => Outcome::Error,
            _ => Outcome::Well,
        };
        window = window.with(outcome, rate(), Millis(5_000));
        assert!(!window.is_too_much(rate()));
    }
    assert!(
        window
            .with(Outcome::Error, rate(), Millis(5_000))
            .is_too_much(rate())
    );
    let better = window.with(Outcome::Well, rate(), Millis(5_000));
    assert!(better.is_too_much(rate()), "5 of 10");
    let better = better.with(Outcome::Well, rate(), Millis(5_000));
    assert!(!better.is_too_much(rate()), "5 of 11");
    let next = better.with(Outcome::Error, rate(), Millis(10_000));
    assert_eq!((next.requests, next.errors), (1, 1), "a new interval");
}

#[test]
fn a_window_survives_its_word_and_does_not_overflow() {
    let full = Window {
        number: (NUMBER_END - 1) as u32,
        requests: (COUNT_END - 1) as u32,
        errors: (COUNT_END - 1) as u32,
    };
    assert_eq!(Window::from_word(full.word()), full);
    let now = Millis((NUMBER_END - 1) * 10_000);
    assert_eq!(full.with(Outcome::Error, rate(), now), full);
}

#[test]
fn one_on_trial_is_out_again_with_its_first_error() {
    let outliers = Outliers {
        consecutive_errors: Some(3),
        ..outliers()
    };
    let now = Millis(1_000_000);
    let after = |errors: u16, seen: Experience| Experience {
        streak: errors,
        ..seen
    };
    let fresh = Experience::default();
    assert!(!outliers.is_too_many(after(2, fresh), now));
    assert!(outliers.is_too_many(after(3, fresh), now));
    let out = outliers.ejected(after(3, fresh), now).unwrap();
    assert!(!outliers.is_too_many(after(1, out), now), "it is out yet");
    let back = out.until;
    assert!(outliers.is_too_many(after(1, out), back));
    let well = out.after_answer(back);
    assert!(
        !outliers.is_too_many(after(1, well), back),
        "it has answered"
    );

    // Also where errors in a row are not counted.
    let rated = Outliers {
        consecutive_errors: None,
        ..outliers
    };
    assert!(rated.is_too_many(after(1, out), back));
    assert!(!rated.is_too_many(after(100, fresh), back));
}

/// A server that is dead for a while: how long it is left out after it has come back.
#[test]
fn the_wait_of_a_returned_one_stays_small_against_its_outage() {
    let outliers = Outliers::default();
    for (outage, most) in [(3, 3), (10, 4), (60, 11), (300, 25), (3_600, 30)] {
        let (began, mut seen) = (Millis(10_000_000), Experience::default());
        let back = began.after(outage * SECOND);
        let mut now = began;
        while now < back {
            seen = outliers.ejected(seen, now).unwrap();
            // The trial comes at once, and fails.
            now = seen.until;
        }
        let wait = now.since(back);
        assert!(wait <= most * SECOND, "{outage} s: {wait:?}");
    }
}
