use std::net::SocketAddr;
use std::sync::OnceLock;

use super::history::Verdict;
use super::pieces::Pieces;
use super::*;
use crate::model::config::Config;

mod ending;
mod processes;
mod returning;
mod simulator;

/// One config and its packed form, shared by all plans: what is in them does not matter here.
fn contents() -> (Arc<Config>, Arc<Pieces>) {
    static CONTENTS: OnceLock<(Arc<Config>, Arc<Pieces>)> = OnceLock::new();
    let make = || {
        let text = "server:\n  listen: 8080\n  upstreams:\n    - {id: echo, url: 'builtin://echo'}\n  \
                    rules:\n    - {path: /, upstreams: [echo]}\n";
        let loaded = crate::model::load(text, &mut |_| Err("no secrets".to_owned()));
        let config = loaded.config.expect("a valid config");
        (Arc::new(config), Arc::new(Pieces::cut(b"packed", None)))
    };
    CONTENTS.get_or_init(make).clone()
}

fn plan_with(settings: Settings, seen: Instant) -> Plan {
    let (config, packed) = contents();
    Plan {
        hash: "hash".to_owned(),
        source: Source::File,
        at: 0,
        seen,
        settings,
        config,
        packed,
        text: Arc::new(Pieces::cut(b"text", None)),
        files: Arc::default(),
        changes: Vec::new(),
        addresses: Vec::new(),
        tickets: Vec::new(),
    }
}

fn settings(workers: u16) -> Settings {
    Settings {
        workers,
        listeners: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        prepare_timeout: Duration::from_secs(10),
        lifecycle: crate::model::config::Lifecycle::Edge,
        drain_min_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(30),
        surplus_timeout: None,
        guard: None,
        canary: None,
    }
}

/// The machine with a clock that only the test moves.
struct Bench {
    state: State,
    now: Instant,
}

impl Bench {
    /// Serves generation 1 with so many workers.
    fn serving(workers: u16) -> Bench {
        let mut bench = Bench {
            state: State::new(0),
            now: Instant::now(),
        };
        bench.want("first", workers);
        bench.obey_all(Event::Bound { generation: 1 });
        assert!(bench.state.is_ready());
        bench
    }

    fn want(&mut self, hash: &str, workers: u16) -> Vec<Action> {
        let mut plan = plan_with(settings(workers), self.now);
        plan.hash = hash.to_owned();
        plan.tickets = vec![Ticket(u64::from(workers))];
        self.on(Event::Wanted(Box::new(plan)))
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        self.state.handle(event, self.now)
    }

    fn after(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.on(Event::Tick)
    }

    /// As if every process did at once what it is told.
    fn obey_all(&mut self, event: Event) -> Vec<Action> {
        let mut all = self.on(event);
        let mut next = 0;
        while let Some(action) = all.get(next).cloned() {
            next += 1;
            let answer = match action {
                Action::Spawn { worker, .. } => Event::Ready(worker),
                Action::Prepare { worker, generation } => Event::Prepared(worker, generation),
                Action::Try { worker, generation } | Action::Commit { worker, generation } => {
                    Event::Committed(worker, generation)
                }
                Action::Bind { generation } => Event::Bound { generation },
                Action::DrainWorker { worker, .. } | Action::Kill { worker, .. } => {
                    Event::Exited(worker)
                }
                _ => continue,
            };
            all.extend(self.on(answer));
        }
        all
    }

    fn worker(&self, slot: u16) -> WorkerId {
        self.state.fleet().in_slot(slot).expect("a worker")
    }
}

fn kinds(actions: &[Action]) -> Vec<&'static str> {
    let kind = |action: &Action| match action {
        Action::Spawn { .. } => "spawn",
        Action::Kill { .. } => "kill",
        Action::Bind { .. } => "bind",
        Action::Unbind { .. } => "unbind",
        Action::Prepare { .. } => "prepare",
        Action::Abort { .. } => "abort",
        Action::Open { .. } => "open",
        Action::Try { .. } => "try",
        Action::Commit { .. } => "commit",
        Action::Retire { .. } => "retire",
        Action::Leave { .. } => "leave",
        Action::DrainWorker { .. } => "drain",
        Action::Close => "close",
        Action::Conclude { .. } => "conclude",
        Action::PassOn { .. } => "pass on",
        Action::GoBack { .. } => "go back",
        Action::Content { .. } => "content",
        Action::AnnounceReady { .. } => "ready",
        Action::Exit(_) => "exit",
    };
    actions.iter().map(kind).collect()
}

fn errors(actions: &[Action]) -> Vec<String> {
    let errors = actions.iter().filter_map(|action| match action {
        Action::Conclude { record, .. } => Some(record.errors.clone()),
        _ => None,
    });
    errors.flatten().collect()
}

#[test]
fn nobody_commits_before_all_have_prepared() {
    let mut bench = Bench::serving(2);
    assert_eq!(kinds(&bench.want("second", 2)), ["bind"]);
    let asked = bench.on(Event::Bound { generation: 2 });
    assert_eq!(kinds(&asked), ["prepare", "prepare"]);
    let (a, b) = (bench.worker(0), bench.worker(1));
    assert_eq!(kinds(&bench.on(Event::Prepared(a, 2))), Vec::<&str>::new());
    assert_eq!(bench.state.generation(), Some(1));
    let decided = bench.on(Event::Prepared(b, 2));
    assert_eq!(kinds(&decided), ["open", "commit", "commit"]);
    assert_eq!(kinds(&bench.on(Event::Committed(a, 2))), Vec::<&str>::new());
    let done = bench.on(Event::Committed(b, 2));
    assert_eq!(kinds(&done), ["retire", "conclude"]);
}

#[test]
fn one_refusal_leaves_everybody_where_they_were() {
    let mut bench = Bench::serving(2);
    bench.want("second", 2);
    bench.on(Event::Bound { generation: 2 });
    let (a, b) = (bench.worker(0), bench.worker(1));
    bench.on(Event::Prepared(a, 2));
    let refused = bench.on(Event::Rejected(b, 2, "no".to_owned()));
    assert_eq!(errors(&refused), ["no"]);
    assert!(kinds(&refused).contains(&"abort"));
    assert!(bench.state.is_ready());
    assert_eq!(bench.state.generation(), Some(1));
    let latest = bench.state.history().latest().expect("a record");
    assert_eq!(latest.verdict, Verdict::Rejected);
}

#[test]
fn silent_worker_is_killed_and_its_replacement_takes_part() {
    let mut bench = Bench::serving(2);
    bench.want("second", 2);
    bench.on(Event::Bound { generation: 2 });
    let (prompt, silent) = (bench.worker(0), bench.worker(1));
    bench.on(Event::Prepared(prompt, 2));
    let half = bench.after(Duration::from_secs(5));
    assert!(
        matches!(half[..], [Action::Kill { worker, .. }] if worker == silent),
        "{half:?}"
    );
    bench.obey_all(Event::Exited(silent));
    assert_eq!(bench.state.generation(), Some(2));
    bench.obey_all(Event::Committed(prompt, 2));
    assert!(bench.state.is_ready());
}

#[test]
fn a_deadline_that_passes_is_a_refusal() {
    let mut bench = Bench::serving(1);
    bench.want("second", 1);
    bench.on(Event::Bound { generation: 2 });
    bench.after(Duration::from_secs(5));
    let over = bench.after(Duration::from_secs(5));
    assert_eq!(errors(&over), ["not prepared in time by worker 0"]);
    assert_eq!(bench.state.generation(), Some(1));
}

#[test]
fn a_newer_file_takes_the_place_of_one_not_yet_prepared() {
    let mut bench = Bench::serving(2);
    bench.want("second", 2);
    bench.on(Event::Bound { generation: 2 });
    let newer = bench.want("third", 3);
    assert_eq!(
        kinds(&newer),
        ["abort", "abort", "unbind", "conclude", "bind"]
    );
    let done = bench.obey_all(Event::Bound { generation: 3 });
    let answered = done.iter().find_map(|action| match action {
        Action::Conclude { record, tickets } => Some((record.hash.clone(), tickets.clone())),
        _ => None,
    });
    let both = vec![Ticket(3), Ticket(2)];
    assert_eq!(answered, Some(("third".to_owned(), both)));
}

#[test]
fn edits_without_end_do_not_starve_a_reload() {
    let mut bench = Bench::serving(1);
    bench.want("0", 1);
    for edit in 1..12 {
        bench.on(Event::Bound {
            generation: bench.state.last_number(),
        });
        bench.now += Duration::from_secs(1);
        bench.want(&edit.to_string(), 1);
    }
    let number = bench.state.last_number();
    assert_eq!(number, 11, "after the prepare timeout the next one waits");
    let worker = bench.worker(0);
    bench.on(Event::Prepared(worker, number));
    bench.on(Event::Committed(worker, number));
    assert_eq!(bench.state.generation(), Some(number));
    bench.obey_all(Event::Bound {
        generation: number + 1,
    });
    let committed = bench.state.committed().expect("committed");
    assert_eq!(committed.plan.hash, "11", "then the latest wins");
}

#[test]
fn a_worker_that_dies_while_committing_comes_back_at_the_new_generation() {
    let mut bench = Bench::serving(2);
    bench.want("second", 2);
    bench.on(Event::Bound { generation: 2 });
    let (a, b) = (bench.worker(0), bench.worker(1));
    bench.on(Event::Prepared(a, 2));
    bench.on(Event::Prepared(b, 2));
    bench.on(Event::Committed(a, 2));
    let after = bench.obey_all(Event::Exited(b));
    assert!(kinds(&after).starts_with(&["retire", "conclude", "spawn"]));
    assert!(bench.state.is_ready());
    assert_eq!(bench.state.generation(), Some(2));
}

#[test]
fn fewer_workers_means_that_the_surplus_drains() {
    let mut bench = Bench::serving(4);
    bench.want("fewer", 2);
    let done = bench.obey_all(Event::Bound { generation: 2 });
    assert_eq!(
        kinds(&done).iter().filter(|kind| **kind == "drain").count(),
        2
    );
    let of = |kind| kinds(&done).iter().filter(|one| **one == kind).count();
    assert_eq!(
        (of("prepare"), of("commit")),
        (4, 4),
        "they serve it while they leave"
    );
    assert!(bench.state.is_ready());
    assert_eq!(bench.state.fleet().workers().count(), 2);
    bench.want("more", 3);
    let done = bench.obey_all(Event::Bound { generation: 3 });
    assert_eq!(
        kinds(&done).iter().filter(|kind| **kind == "spawn").count(),
        1
    );
    assert!(bench.state.is_ready());
}

#[test]
fn a_surplus_worker_that_dies_meanwhile_holds_nothing_up() {
    let mut bench = Bench::serving(2);
    bench.want("fewer", 1);
    let asked = bench.on(Event::Bound { generation: 2 });
    let surplus = *bench.state.fleet().alive().last().unwrap();
    assert_eq!(kinds(&asked), ["prepare", "prepare"]);
    let survivor = bench.state.fleet().alive()[0];
    assert_eq!(kinds(&bench.on(Event::Prepared(survivor, 2))), [""; 0]);
    let gone = bench.on(Event::Exited(surplus));
    assert!(kinds(&gone).contains(&"commit"), "{gone:?}");
}

#[test]
fn an_address_that_is_taken_is_a_refusal() {
    let mut bench = Bench::serving(1);
    bench.want("taken", 1);
    let reasons = vec!["address in use".to_owned()];
    let refused = bench.on(Event::NotBound {
        generation: 2,
        reasons: reasons.clone(),
    });
    assert_eq!(errors(&refused), reasons);
    assert!(bench.state.is_ready());
}

#[test]
fn the_first_generation_that_cannot_be_served_ends_the_program() {
    let mut bench = Bench {
        state: State::new(0),
        now: Instant::now(),
    };
    bench.want("first", 1);
    let refused = bench.on(Event::NotBound {
        generation: 1,
        reasons: vec!["address in use".to_owned()],
    });
    let last = refused.last();
    assert!(
        matches!(last, Some(Action::Exit(ExitReason::FailedToStart))),
        "{refused:?}"
    );
}

#[test]
fn draining_waits_for_the_workers_and_no_longer_than_its_timeout() {
    let mut bench = Bench::serving(2);
    let (a, b) = (bench.worker(0), bench.worker(1));
    assert_eq!(kinds(&bench.on(Event::Drain)), ["close", "drain", "drain"]);
    assert!(!bench.state.is_ready());
    assert_eq!(kinds(&bench.on(Event::Exited(a))), Vec::<&str>::new());
    let over = bench.after(Duration::from_secs(36));
    assert!(matches!(over[0], Action::Kill { worker, .. } if worker == b));
    let mut bench = Bench::serving(2);
    let done = bench.obey_all(Event::Drain);
    assert!(
        matches!(done.last(), Some(Action::Exit(ExitReason::Drained))),
        "{done:?}"
    );
}

#[test]
fn a_generation_brought_back_is_pinned_until_the_file_changes() {
    let mut bench = Bench::serving(1);
    let mut plan = plan_with(settings(1), bench.now);
    plan.source = Source::Rollback { of: 1 };
    bench.on(Event::Wanted(Box::new(plan)));
    bench.obey_all(Event::Bound { generation: 2 });
    assert_eq!(bench.state.pinned(), Some(1));
    bench.want("edited", 1);
    bench.obey_all(Event::Bound { generation: 3 });
    assert_eq!(bench.state.pinned(), None);
}

#[test]
fn history_keeps_twenty_and_finds_what_to_go_back_to() {
    let mut bench = Bench::serving(1);
    for number in 2..=30 {
        bench.want(if number < 29 { "old" } else { "new" }, 1);
        bench.obey_all(Event::Bound { generation: number });
    }
    let history = bench.state.history();
    assert_eq!(history.committed().count(), history::KEPT);
    assert!(history.find(10).is_none());
    assert!(history.find(11).is_some());
    let back = history.before_the_last().expect("a different one");
    assert_eq!(back.generation, Some(28));
}
