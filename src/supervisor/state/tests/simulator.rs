//! The state machine against simulated workers that answer late, twice, wrongly or not at all, die
//! and hang, while configurations come faster than they can be brought out and the clock jumps.
//! After every step what must always hold is checked; at the end of a run, when everybody behaves,
//! what must come about in the end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use super::super::guard::{Measure, Measured};
use super::super::history;
use super::super::plan::{Plan, Settings, Ticket};
use super::super::*;
use super::plan_with;
use super::processes::Worker;
use crate::model::config::Comparison;

const RUNS: u64 = 500;
const RELOADS: u64 = 200;

#[test]
fn invariants_hold_over_a_hundred_thousand_reloads() {
    let only: Option<u64> = std::env::var("SLUICE_SIMULATOR_SEED")
        .ok()
        .map(|s| s.parse().unwrap());
    let seeds = only.map_or(0..RUNS, |seed| seed..seed + 1);
    let mut tally = Tally::default();
    for seed in seeds {
        let failing = FailingSeed(seed);
        Simulation::new(seed).run(&mut tally);
        std::mem::forget(failing);
    }
    if only.is_none() {
        assert!(tally.wanted >= 100_000, "{tally:?}");
        let few = [
            tally.committed,
            tally.rejected,
            tally.superseded,
            tally.crashes,
            tally.kills,
        ];
        assert!(
            few.iter().all(|n| *n > 1_000),
            "everything happens often: {tally:?}"
        );
        assert!(tally.canaries > 100 && tally.went_back > 100, "{tally:?}");
    }
}

struct FailingSeed(u64);

impl Drop for FailingSeed {
    fn drop(&mut self) {
        eprintln!("failing seed: SLUICE_SIMULATOR_SEED={}", self.0);
    }
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) wanted: u64,
    pub(super) committed: u64,
    pub(super) rejected: u64,
    pub(super) superseded: u64,
    pub(super) crashes: u64,
    pub(super) kills: u64,
    pub(super) canaries: u64,
    pub(super) went_back: u64,
}

pub(super) struct Simulation {
    pub(super) seed: u64,
    pub(super) random: Random,
    pub(super) state: State,
    pub(super) now: Instant,
    /// Events on their way, by time and then in order.
    pub(super) coming: BinaryHeap<Reverse<(Instant, u64)>>,
    pub(super) events: BTreeMap<u64, Event>,
    pub(super) last_event: u64,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) unanswered: BTreeSet<Ticket>,
    pub(super) tickets: u64,
    /// Every generation that was opened; only they, and a canary's, may be served.
    pub(super) opened: BTreeSet<u64>,
    pub(super) refused: BTreeSet<u64>,
    pub(super) canary: Option<u64>,
    pub(super) total: Measure,
    pub(super) behaving: bool,
    pub(super) ended: bool,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        Simulation {
            seed,
            random: Random(seed),
            state: State::new(0),
            now: Instant::now(),
            coming: BinaryHeap::new(),
            events: BTreeMap::new(),
            last_event: 0,
            workers: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            tickets: 0,
            opened: BTreeSet::new(),
            refused: BTreeSet::new(),
            canary: None,
            total: Measure::default(),
            behaving: true,
            ended: false,
        }
    }

    fn run(&mut self, tally: &mut Tally) {
        self.want(tally);
        self.settle(tally);
        assert!(self.state.is_ready(), "started");
        for _ in 0..RELOADS {
            self.behaving = self.random.percent(60);
            self.want(tally);
            self.something_else();
            // Often the next one comes before this one is through.
            let pause = if self.random.percent(50) { 50 } else { 20_000 };
            let until = self.now + self.random.millis(pause);
            self.play_until(until, tally);
            assert!(!self.ended, "the program goes on");
        }
        self.behaving = true;
        self.handle(Event::Release, tally);
        self.settle(tally);
        let last = self.want(tally);
        self.settle(tally);
        assert!(
            self.state.is_ready(),
            "everybody serves in the end: {:?}",
            self.state.fleet()
        );
        assert!(!self.state.is_reloading());
        let committed = self.state.committed().unwrap();
        let by_guard = committed.plan.source.brings_back().is_some();
        let latest = self.state.history().latest();
        assert!(
            by_guard || committed.plan.hash == last,
            "the latest wins: {latest:?}"
        );
        assert_eq!(self.unanswered, BTreeSet::new(), "everybody was answered");
        let serving = self.serving();
        assert_eq!(serving, BTreeSet::from([committed.number]));
        self.end(tally);
    }

    /// Both ways out: everything is let go, and the program ends.
    fn end(&mut self, tally: &mut Tally) {
        self.behaving = self.random.percent(50);
        let event = match self.random.below(3) {
            0 => Event::Drain,
            1 => Event::Leave,
            _ => Event::Replaced,
        };
        self.handle(event, tally);
        let until = self.now + Duration::from_secs(120);
        self.play_until(until, tally);
        assert!(self.ended, "a drain ends");
    }

    fn want(&mut self, tally: &mut Tally) -> String {
        self.tickets += 1;
        tally.wanted += 1;
        let ticket = Ticket(self.tickets);
        self.unanswered.insert(ticket);
        let plan = self.plan(ticket);
        let hash = plan.hash.clone();
        self.handle(Event::Wanted(Box::new(plan)), tally);
        hash
    }

    fn plan(&mut self, ticket: Ticket) -> Plan {
        let comparison = Comparison {
            window: Duration::from_secs(3),
            bound: 5,
            min_requests: 10,
        };
        let settings = Settings {
            workers: 1 + self.random.below(4) as u16,
            admin: "127.0.0.1:0".parse().unwrap(),
            listeners: Vec::new(),
            prepare_timeout: Duration::from_secs(5),
            lifecycle: crate::model::config::Lifecycle::Edge,
            drain_min_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
            surplus_timeout: self.random.percent(50).then_some(Duration::from_secs(10)),
            guard: self.random.percent(20).then_some(comparison),
            canary: (!self.behaving && self.random.percent(20)).then_some(comparison),
        };
        let mut plan = plan_with(settings, self.now);
        plan.hash = format!("{}-{}", self.seed, ticket.0);
        plan.tickets = vec![ticket];
        plan
    }

    fn something_else(&mut self) {
        let some = self
            .workers
            .iter()
            .find(|(_, w)| w.alive)
            .map(|(id, _)| *id);
        match self.random.below(9) {
            0 => self.later(30, Event::Tick),
            1 => self.jump(),
            2 if !self.behaving => {
                if let Some(worker) = some {
                    self.die(worker, 100);
                }
            }
            3 if !self.behaving => {
                if let Some(worker) = some {
                    self.later(50, Event::Hung(worker));
                }
            }
            4 => {
                for second in 0..4 {
                    let measured = self.measured();
                    self.at(
                        Duration::from_millis(900 * second),
                        Event::Measured(measured),
                    );
                }
            }
            // What nobody asked about.
            5 if !self.behaving => {
                let generation = self.random.below(self.state.last_number() + 2);
                if let Some(worker) = some {
                    let worker = WorkerId(worker.0.saturating_sub(self.random.below(2)));
                    self.later(
                        50,
                        Event::Bound {
                            generation: generation / 2,
                        },
                    );
                    self.later(50, Event::Rejected(worker, generation / 2, "late".into()));
                }
            }
            6 => self.later(50, Event::Unpin),
            // A successor that does not become ready.
            7 => {
                self.later(50, Event::Hold);
                self.later(30_000, Event::Release);
            }
            _ => {}
        }
    }

    /// A second's traffic, of which sometimes half fails.
    pub(super) fn measured(&mut self) -> Measured {
        self.total.requests += 100;
        self.total.server_errors += if self.random.percent(20) { 50 } else { 0 };
        let workers = self.workers.keys().map(|id| (*id, self.total)).collect();
        Measured {
            total: self.total,
            workers,
        }
    }

    /// The machine slept: everything that was due comes at once, and late.
    fn jump(&mut self) {
        self.now += Duration::from_secs(self.random.below(60));
    }

    pub(super) fn at(&mut self, after: Duration, event: Event) {
        self.last_event += 1;
        self.coming
            .push(Reverse((self.now + after, self.last_event)));
        self.events.insert(self.last_event, event);
    }

    pub(super) fn later(&mut self, millis: u64, event: Event) {
        let after = self.random.millis(millis);
        self.at(after, event);
    }

    pub(super) fn die(&mut self, worker: WorkerId, millis: u64) {
        self.later(millis, Event::Exited(worker));
    }

    fn settle(&mut self, tally: &mut Tally) {
        let until = self.now + Duration::from_secs(600);
        self.play_until(until, tally);
    }

    fn play_until(&mut self, end: Instant, tally: &mut Tally) {
        loop {
            let event = self.coming.peek().map(|Reverse((at, _))| *at);
            let tick = self.state.deadline();
            let Some(next) = event.into_iter().chain(tick).min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            let due = event.is_some_and(|at| at <= self.now);
            let event = match due.then(|| self.coming.pop()).flatten() {
                Some(Reverse((_, id))) => self.events.remove(&id).unwrap(),
                None => Event::Tick,
            };
            self.handle(event, tally);
        }
        self.now = self.now.max(end);
    }

    fn handle(&mut self, event: Event, tally: &mut Tally) {
        if self.ended {
            return;
        }
        match &event {
            Event::Exited(id) => match self.workers.get_mut(id) {
                Some(worker) if worker.alive => {
                    worker.alive = false;
                    tally.crashes += 1;
                }
                _ => return,
            },
            // The dead say nothing.
            Event::Ready(id) | Event::Prepared(id, _) | Event::Committed(id, _)
                if !self.workers.get(id).is_some_and(|w| w.alive) =>
            {
                return;
            }
            _ => {}
        }
        let actions = self.state.handle(event, self.now);
        let mut rest = &actions[..];
        while let [action, later @ ..] = rest {
            rest = later;
            if !self.is_called_off(action, later) {
                self.act(action.clone(), tally);
            }
        }
        self.check();
    }

    pub(super) fn serving(&self) -> BTreeSet<u64> {
        let serving = self.workers.values().filter(|w| w.alive && !w.draining);
        serving.filter_map(|w| w.serving).collect()
    }

    /// Whoever hears of a refusal is answered by the generation before.
    pub(super) fn check_nobody_serves_what_is_refused(&self) {
        if self.state.is_draining() {
            return;
        }
        let mut alive = self.workers.values().filter(|w| w.alive && !w.killed);
        let refused = |w: &Worker| w.serving.is_some_and(|it| self.refused.contains(&it));
        assert!(!alive.any(refused), "{:?}", self.workers);
    }

    fn check(&mut self) {
        self.workers.retain(|_, worker| worker.alive);
        if self.ended {
            return;
        }
        for generation in self.serving() {
            // A canary that was called back serves on until it has swapped back.
            let tried = self.refused.contains(&generation) || self.canary == Some(generation);
            assert!(
                self.opened.contains(&generation) || tried,
                "{generation} is not committed"
            );
        }
        if self.state.is_ready() && !self.state.is_reloading() {
            let workers = self.state.committed().unwrap().plan.settings.workers;
            let serving: Vec<_> = self
                .workers
                .values()
                .filter(|w| w.slot < workers && !w.draining)
                .collect();
            assert!(
                serving.iter().all(|w| w.serving == self.state.generation()),
                "all the same"
            );
        }
        let deadline = self.state.deadline();
        assert!(
            deadline.is_none_or(|at| at > self.now),
            "no tick is due twice"
        );
        let count = self.workers.values().filter(|w| !w.draining).count();
        assert!(count <= 4, "no more workers than slots: {count}");
        assert!(self.state.history().all().len() <= 2 * history::KEPT);
        assert_eq!(self.state.generation(), self.opened.last().copied());
    }
}

/// SplitMix64: good enough, and the same everywhere.
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}
