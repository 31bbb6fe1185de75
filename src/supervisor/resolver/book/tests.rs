use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings {
        min_ttl: Duration::from_secs(1),
        max_ttl: MINUTE,
        hold_negative: 5 * MINUTE,
        timeout: None,
        attempts: None,
        nameservers: Vec::new(),
        resolv_conf: String::new(),
    }
}

fn host() -> Lookup {
    Lookup::Host("todos".to_owned())
}

fn at(last: u8) -> Found {
    Found {
        ip: [10, 0, 0, last].into(),
        port: None,
        weight: 1,
        priority: 0,
    }
}

fn part(name: &str, kind: Kind, outcome: Outcome) -> Part {
    let name = name.to_owned();
    let question = Question { name, kind };
    Part { question, outcome }
}

fn found(last: &[u8], ttl: u64) -> Part {
    let endpoints = last.iter().map(|last| at(*last)).collect();
    let ttl = Duration::from_secs(ttl);
    part("todos.", Kind::A, Outcome::Found { endpoints, ttl })
}

fn failed(kind: Kind, how: How) -> Part {
    let message = "it fails".to_owned();
    part("todos.", kind, Outcome::Failed(Failure { how, message }))
}

fn nothing() -> Part {
    part("todos.", Kind::A, Outcome::Nothing)
}

/// A book with one name, and its clock.
struct Stage {
    book: Book,
    now: Instant,
}

impl Stage {
    fn new(settings: Settings) -> Stage {
        let now = Instant::now();
        let mut book = Book::new(settings);
        book.want(&BTreeSet::from([host()]), now);
        Stage { book, now }
    }

    /// Goes to the time when the name is due, and answers it. How long that was, and what it brought.
    fn answer(&mut self, parts: Vec<Part>) -> (Duration, Learned) {
        let due = self.book.next_due().expect("something is due");
        let waited = due.saturating_duration_since(self.now);
        self.now = self.now.max(due);
        let (lookup, _) = self.book.take_due(self.now).expect("it is due");
        assert_eq!(self.book.take_due(self.now), None, "it is asked for once");
        let learned = self.book.learn(&lookup, parts, self.now).expect("wanted");
        (waited, learned)
    }

    fn endpoints(&self) -> Vec<Found> {
        self.book
            .all()
            .flat_map(|(_, entry)| entry.endpoints())
            .collect()
    }
}

fn assert_about(waited: Duration, wanted: Duration) {
    let least = wanted * 9 / 10;
    assert!(
        (least..=wanted).contains(&waited),
        "{waited:?}, wanted {wanted:?}"
    );
}

#[test]
fn a_good_answer_is_asked_for_again_at_its_ttl_between_the_bounds() {
    let mut stage = Stage::new(settings());
    assert_eq!(stage.answer(vec![found(&[1], 20)]).0, Duration::ZERO);
    let (waited, learned) = stage.answer(vec![found(&[1], 0)]);
    assert_about(waited, Duration::from_secs(20));
    assert_eq!(
        (learned.result, learned.changed),
        (LookupResult::Success, None)
    );
    assert_about(
        stage.answer(vec![found(&[2], 86_400)]).0,
        Duration::from_secs(1),
    );
    let (waited, learned) = stage.answer(vec![found(&[2, 1], 5)]);
    assert_about(waited, MINUTE);
    assert_eq!(learned.changed, Some(vec![at(1), at(2)]));
}

#[test]
fn failures_take_nothing_away_and_are_retried_more_and_more_seldom() {
    let mut stage = Stage::new(settings());
    stage.answer(vec![found(&[1, 2], 10)]);
    for how in [How::Server, How::Silence, How::Other] {
        stage.answer(vec![failed(Kind::A, how), failed(Kind::Aaaa, how)]);
        assert_eq!(stage.endpoints(), [at(1), at(2)]);
    }
    let waits: Vec<Duration> = (0..10)
        .map(|_| stage.answer(vec![failed(Kind::A, How::Silence)]).0)
        .collect();
    assert_about(waits[0], Duration::from_secs(2));
    assert_about(waits[1], Duration::from_secs(4));
    assert_about(waits[9], LAST_RETRY);
    let (_, learned) = stage.answer(vec![found(&[1, 2], 10)]);
    assert_eq!(learned.turn, Some(Turn::Recovered));
    assert_eq!(learned.changed, None);
    // And the next failure is the first one again.
    let (_, learned) = stage.answer(vec![failed(Kind::A, How::Server)]);
    assert_eq!(learned.turn, Some(Turn::Failing("it fails".to_owned())));
    assert_about(stage.answer(vec![nothing()]).0, FIRST_RETRY);
}

#[test]
fn a_family_that_fails_keeps_its_addresses_while_the_other_has_new_ones() {
    let v6 = |last: u16| Found {
        ip: [0xfd00, 0, 0, 0, 0, 0, 0, last].into(),
        ..at(0)
    };
    let aaaa = |outcome| part("todos.", Kind::Aaaa, outcome);
    let ttl = Duration::from_secs(9);
    let both = Outcome::Found {
        endpoints: vec![v6(1)],
        ttl,
    };
    let mut stage = Stage::new(settings());
    stage.answer(vec![found(&[1], 10), aaaa(both)]);
    stage.answer(vec![found(&[2], 10), failed(Kind::Aaaa, How::Server)]);
    assert_eq!(stage.endpoints(), [at(2), v6(1)]);
    // That it has none is an answer, not a failure.
    stage.answer(vec![found(&[2], 10), aaaa(Outcome::Nothing)]);
    assert_eq!(stage.endpoints(), [at(2)]);
}

#[test]
fn a_name_that_is_gone_is_held_for_a_while_and_then_let_go() {
    let hold = Duration::from_secs(10);
    let mut stage = Stage::new(Settings {
        hold_negative: hold,
        ..settings()
    });
    stage.answer(vec![found(&[1], 1)]);
    let (_, learned) = stage.answer(vec![nothing()]);
    assert_eq!(learned.result, LookupResult::Negative);
    let gone_at = stage.now;
    while stage.now - gone_at < hold * 9 / 10 {
        assert_eq!(stage.endpoints(), [at(1)]);
        stage.answer(vec![nothing()]);
    }
    while !stage.endpoints().is_empty() {
        stage.answer(vec![nothing()]);
    }
    let held = stage.now - gone_at;
    assert!(
        (hold..hold + Duration::from_secs(2)).contains(&held),
        "{held:?}"
    );
    let (_, learned) = stage.answer(vec![found(&[1], 1)]);
    assert_eq!(learned.changed, Some(vec![at(1)]));
}

#[test]
fn a_failure_amid_negative_answers_does_not_end_the_hold_early() {
    let mut stage = Stage::new(settings());
    stage.answer(vec![found(&[1], 1)]);
    stage.answer(vec![nothing()]);
    stage.now += 10 * MINUTE;
    let (_, learned) = stage.answer(vec![failed(Kind::A, How::Silence)]);
    assert_eq!(
        (learned.result, learned.changed),
        (LookupResult::Timeout, None)
    );
}

#[test]
fn what_nobody_uses_is_forgotten_and_what_is_new_is_due_at_once() {
    let mut stage = Stage::new(settings());
    assert!(!stage.book.has_answered(&host()));
    stage.answer(vec![nothing()]);
    assert!(stage.book.has_answered(&host()));
    let other = BTreeSet::from([Lookup::Service("_http._tcp.todos".to_owned())]);
    stage.book.want(&other, stage.now);
    assert_eq!(stage.book.next_due(), Some(stage.now));
    stage.book.keep(&other);
    assert_eq!(stage.book.all().count(), 1);
    assert_eq!(
        stage.book.learn(&host(), vec![found(&[1], 1)], stage.now),
        None
    );
    stage.answer(vec![nothing()]);
    assert!(stage.book.next_due().is_some());
}

#[test]
fn new_settings_ask_for_everything_again() {
    let mut stage = Stage::new(settings());
    stage.answer(vec![found(&[1], 50)]);
    stage.book.settle(settings(), stage.now);
    assert_eq!(stage.book.next_due(), Some(stage.now));
    assert_eq!(stage.endpoints(), [at(1)]);
}

#[test]
fn an_endless_answer_is_cut() {
    let many = (0..=MOST_ENDPOINTS).map(|n| Found {
        port: u16::try_from(n).ok(),
        ..at(1)
    });
    let ttl = Duration::from_secs(1);
    let outcome = Outcome::Found {
        endpoints: many.collect(),
        ttl,
    };
    let mut stage = Stage::new(settings());
    let (_, learned) = stage.answer(vec![part("todos.", Kind::Srv, outcome)]);
    assert_eq!(learned.changed.map(|all| all.len()), Some(MOST_ENDPOINTS));
}

#[test]
fn thousands_of_names_of_one_ttl_are_not_asked_for_in_one_moment() {
    let now = Instant::now();
    let mut book = Book::new(settings());
    let names = (0..2_000).map(|n| Lookup::Host(format!("name-{n}.shop")));
    book.want(&names.collect(), now);
    while let Some((lookup, _)) = book.take_due(now) {
        book.learn(&lookup, vec![found(&[1], 60)], now)
            .expect("wanted");
    }
    let mut per_second = BTreeMap::<u64, usize>::new();
    while let Some(due) = book.next_due() {
        *per_second.entry((due - now).as_secs()).or_default() += 1;
        book.take_due(due);
    }
    assert_eq!(per_second.values().sum::<usize>(), 2_000);
    let most = per_second.values().max();
    assert!(most < Some(&1_000), "{per_second:?}");
}
