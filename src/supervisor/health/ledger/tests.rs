use super::*;
use crate::model::config::Probe;

const INTERVAL: Duration = Duration::from_secs(10);

fn check() -> HealthCheck {
    HealthCheck {
        probe: Probe::Tcp,
        port: None,
        scheme: None,
        interval: INTERVAL,
        jitter: Duration::from_secs(1),
        timeout: Duration::from_secs(2),
        healthy_threshold: 2,
        unhealthy_threshold: 3,
    }
}

fn target(id: u32, check: &HealthCheck) -> Target {
    Target {
        id,
        upstream: "app".to_owned(),
        label: 7,
        address: Address::Ip(([10, 0, 0, 1], 80).into()),
        authority: "app".to_owned(),
        greeting: None,
        tls: None,
        language: Language::Http1,
        check: Arc::new(check.clone()),
    }
}

struct Stage {
    ledger: Ledger,
    now: Instant,
}

impl Stage {
    fn new(count: u32) -> Stage {
        let now = Instant::now();
        let mut stage = Stage {
            ledger: Ledger::default(),
            now,
        };
        assert!(
            stage
                .update((0..count).map(|id| target(id, &check())).collect())
                .is_empty()
        );
        stage
    }

    fn update(&mut self, targets: Vec<Target>) -> Vec<u32> {
        self.ledger.update(targets, &|_| Verdict::Unknown, self.now)
    }

    /// Lets the next check end like this; to what the verdict changes.
    fn play(&mut self, good: bool) -> Option<Verdict> {
        self.now = self
            .now
            .max(self.ledger.next_due().expect("something is due"));
        let target = self.ledger.take_due(self.now).expect("it is due");
        let outcome = match good {
            true => Ok(()),
            false => Err("refused".to_owned()),
        };
        let change = self
            .ledger
            .learn(&target, outcome, self.now)
            .expect("it is watched");
        change.map(|change| change.to)
    }

    fn verdict(&self) -> Verdict {
        self.ledger.all().next().expect("one is watched").1.verdict
    }
}

#[test]
fn the_first_good_check_is_enough_and_bad_ones_must_be_several_in_a_row() {
    let mut stage = Stage::new(1);
    assert_eq!(stage.play(true), Some(Verdict::Healthy));
    for _ in 0..5 {
        assert_eq!((stage.play(false), stage.play(false)), (None, None));
        assert_eq!(
            stage.play(true),
            None,
            "it flaps, but never three times in a row"
        );
    }
    let bad = [stage.play(false), stage.play(false), stage.play(false)];
    assert_eq!(bad, [None, None, Some(Verdict::Unhealthy)]);
    assert_eq!(
        (stage.play(true), stage.play(false), stage.play(true)),
        (None, None, None)
    );
    assert_eq!(stage.play(true), Some(Verdict::Healthy));
}

#[test]
fn one_that_was_never_well_needs_as_many_bad_checks() {
    let mut stage = Stage::new(1);
    assert_eq!((stage.play(false), stage.play(false)), (None, None));
    assert_eq!(stage.verdict(), Verdict::Unknown);
    assert_eq!(stage.play(false), Some(Verdict::Unhealthy));
}

#[test]
fn an_unchanged_check_goes_on_over_a_reload_and_another_begins_anew() {
    let mut stage = Stage::new(1);
    let last = [stage.play(false), stage.play(false), stage.play(false)][2];
    assert_eq!(last, Some(Verdict::Unhealthy));
    let ended = stage.update(vec![target(0, &check()), target(1, &check())]);
    assert!(ended.is_empty());
    assert_eq!(stage.verdict(), Verdict::Unhealthy);

    let other = HealthCheck {
        unhealthy_threshold: 1,
        ..check()
    };
    assert_eq!(stage.update(vec![target(0, &other)]), [1, 0]);
    assert_eq!(stage.verdict(), Verdict::Unknown);
    assert_eq!(stage.play(false), Some(Verdict::Unhealthy));
    assert_eq!(stage.update(Vec::new()), [0]);
    assert_eq!(stage.ledger.next_due(), None);
}

#[test]
fn what_the_board_knows_from_a_binary_before_is_where_it_begins() {
    let mut ledger = Ledger::default();
    let now = Instant::now();
    ledger.update(vec![target(3, &check())], &|_| Verdict::Unhealthy, now);
    assert_eq!(
        ledger.all().next().map(|(_, one)| one.verdict),
        Some(Verdict::Unhealthy)
    );
}

#[test]
fn an_outcome_of_rules_that_do_not_hold_any_more_says_nothing() {
    let mut stage = Stage::new(1);
    stage.now += INTERVAL;
    let old = stage.ledger.take_due(stage.now).expect("it is due");
    stage.update(vec![target(
        0,
        &HealthCheck {
            port: Some(9),
            ..check()
        },
    )]);
    assert_eq!(stage.ledger.learn(&old, Ok(()), stage.now), None);
    assert_eq!(stage.verdict(), Verdict::Unknown);
    assert!(
        stage.ledger.next_due().is_some(),
        "the new rules are checked"
    );
}

#[test]
fn a_reload_in_the_middle_of_a_check_asks_for_no_second_one() {
    let mut stage = Stage::new(1);
    stage.now += INTERVAL;
    let under_way = stage.ledger.take_due(stage.now).expect("it is due");
    stage.update(vec![target(0, &check())]);
    assert_eq!(stage.ledger.next_due(), None);
    let change = stage
        .ledger
        .learn(&under_way, Ok(()), stage.now)
        .expect("watched");
    assert_eq!(change.map(|change| change.to), Some(Verdict::Healthy));
    assert!(stage.ledger.next_due().is_some());
}

#[test]
fn a_thousand_endpoints_are_spread_from_the_start() {
    let mut stage = Stage::new(1_000);
    let begin = stage.now;
    let mut per_second = [0; 30];
    for _ in 0..2_000 {
        stage.play(true);
        let second = (stage.now - begin).as_secs() as usize;
        per_second[second.min(29)] += 1;
    }
    assert!(
        per_second.iter().all(|count| *count < 200),
        "{per_second:?}"
    );
    assert!((stage.now - begin) <= 2 * INTERVAL + Duration::from_secs(1));
}

#[test]
fn good_checks_in_a_row_end_an_ejection() {
    let mut stage = Stage::new(1);
    let threshold = check().healthy_threshold;
    assert!(threshold > 1);
    for _ in 1..threshold {
        assert!(!stage.ledger.vouch(0));
    }
    stage.ledger.forget_vouching(0);
    for _ in 1..threshold {
        assert!(!stage.ledger.vouch(0), "it begins anew");
    }
    assert!(stage.ledger.vouch(0));
    assert!(!stage.ledger.vouch(0), "it begins anew");
    assert!(!stage.ledger.vouch(9), "nobody knows it");
}
