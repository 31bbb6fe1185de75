//! The simulated processes: what they make of an action, each in its mood.

use std::collections::BTreeSet;

use super::simulator::{Simulation, Tally};
use super::*;

/// A worker as it really is, whatever the state machine believes.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) slot: u16,
    pub(super) alive: bool,
    pub(super) draining: bool,
    /// Dies within moments, and answers nobody any more.
    pub(super) killed: bool,
    pub(super) prepared: Option<u64>,
    pub(super) serving: Option<u64>,
}

#[derive(Clone, Copy)]
enum Mood {
    Good,
    Late,
    Twice,
    Silent,
    Dies,
    Refuses,
}

impl Simulation {
    /// A deadline can pass in the moment in which something is asked: then the asking, whose contents
    /// are gone, is followed by its abort.
    pub(super) fn is_called_off(&self, action: &Action, later: &[Action]) -> bool {
        let Action::Prepare { worker, generation } = action else {
            return false;
        };
        let aborts = |a: &Action| matches!(a, Action::Abort { worker: w, generation: g } if (w, g) == (worker, generation));
        let gone = self.state.find(*generation).is_none();
        assert!(
            !gone || later.iter().any(aborts),
            "what is asked for can be sent"
        );
        gone
    }

    pub(super) fn act(&mut self, action: Action, tally: &mut Tally) {
        match action {
            Action::Spawn { worker, slot } => self.spawn(worker, slot),
            Action::Kill { worker, .. } => {
                tally.kills += 1;
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.killed = true;
                }
                self.die(worker, 20);
            }
            Action::Bind { generation } => match !self.behaving && self.random.percent(5) {
                true => self.at(
                    Duration::ZERO,
                    Event::NotBound {
                        generation,
                        reasons: vec!["address taken".into()],
                    },
                ),
                false => self.at(Duration::ZERO, Event::Bound { generation }),
            },
            Action::Unbind { generation } => {
                assert!(
                    !self.opened.contains(&generation),
                    "what is open stays bound"
                );
                self.refused.insert(generation);
                self.canary = None;
            }
            Action::Prepare { worker, generation } => self.prepare(worker, generation),
            Action::Try { worker, generation } => {
                assert!(!self.opened.contains(&generation), "it is not decided");
                self.commit(worker, generation, tally);
            }
            Action::Commit { worker, generation } => {
                assert!(self.opened.contains(&generation), "it is decided");
                self.commit(worker, generation, tally);
            }
            Action::Abort { worker, generation } => {
                let worker = self.workers.get_mut(&worker).unwrap();
                worker.prepared.take_if(|prepared| *prepared == generation);
            }
            Action::Open { generation } => {
                assert!(
                    !self.refused.contains(&generation),
                    "a refused one is not opened"
                );
                assert!(self.opened.last().is_none_or(|last| *last < generation));
                self.opened.insert(generation);
                self.canary = None;
            }
            Action::Leave { worker } => {
                assert!(self.workers.contains_key(&worker), "{worker:?} is there");
            }
            Action::DrainWorker { worker, .. } => self.drain_worker(worker),
            Action::Close => assert!(!self.state.is_serving(), "only at the end"),
            Action::Retire { generation } => {
                assert_eq!(self.opened.last(), Some(&generation));
            }
            Action::Conclude { record, tickets } => {
                for ticket in tickets {
                    assert!(
                        self.unanswered.remove(&ticket),
                        "{ticket:?} is answered once"
                    );
                }
                match record.verdict {
                    Verdict::Committed | Verdict::RolledBack => tally.committed += 1,
                    Verdict::Rejected => {
                        tally.rejected += 1;
                        self.check_nobody_serves_what_is_refused();
                    }
                    Verdict::Superseded => tally.superseded += 1,
                }
            }
            Action::PassOn { tickets } => {
                for ticket in tickets {
                    assert!(self.unanswered.remove(&ticket), "{ticket:?} once");
                }
            }
            Action::GoBack { to, from, .. } => {
                assert!(self.opened.contains(&to) && to < from);
                tally.went_back += 1;
                let Some(record) = self.state.history().find(to) else {
                    return;
                };
                let mut plan = plan_with(
                    self.state.committed().unwrap().plan.settings.clone(),
                    self.now,
                );
                plan.hash = record.hash.clone();
                let why = String::new();
                plan.source = Source::Guard { of: to, from, why };
                self.at(Duration::ZERO, Event::Wanted(Box::new(plan)));
            }
            Action::Content { generation } => {
                assert_eq!(self.state.generation(), Some(generation));
            }
            Action::AnnounceReady { generation } => {
                assert_eq!(self.serving(), BTreeSet::from([generation]));
            }
            Action::Exit(_) => self.ended = true,
        }
    }

    fn spawn(&mut self, id: WorkerId, slot: u16) {
        let taken = self
            .workers
            .values()
            .any(|w| w.alive && !w.draining && w.slot == slot);
        assert!(!taken, "slot {slot} has one worker");
        let worker = Worker {
            slot,
            alive: true,
            ..Worker::default()
        };
        assert!(self.workers.insert(id, worker).is_none(), "a new id");
        match self.mood() {
            Mood::Good => self.later(30, Event::Ready(id)),
            Mood::Late => self.later(30_000, Event::Ready(id)),
            Mood::Twice => {
                self.later(30, Event::Ready(id));
                self.later(60, Event::Ready(id));
            }
            Mood::Silent => {}
            Mood::Dies | Mood::Refuses => self.die(id, 20),
        }
    }

    fn prepare(&mut self, id: WorkerId, generation: u64) {
        assert!(
            self.state.find(generation).is_some(),
            "what is asked for can be sent"
        );
        let worker = self.workers.get_mut(&id).unwrap();
        assert!(!worker.draining, "one that leaves is asked nothing");
        worker.prepared = Some(generation);
        let answer = || Event::Prepared(id, generation);
        match self.mood() {
            Mood::Good => self.later(10, answer()),
            Mood::Late => self.later(8_000, answer()),
            Mood::Twice => {
                self.later(10, answer());
                self.later(3_000, answer());
            }
            Mood::Silent => {}
            Mood::Dies => self.die(id, 10),
            Mood::Refuses => self.later(10, Event::Rejected(id, generation, "no".into())),
        }
    }

    fn commit(&mut self, id: WorkerId, generation: u64, tally: &mut Tally) {
        let worker = self.workers.get_mut(&id).unwrap();
        assert!(
            [worker.prepared, worker.serving].contains(&Some(generation)) || !worker.alive,
            "{id:?}: {worker:?}"
        );
        assert!(
            !self.refused.contains(&generation),
            "never by a refused generation"
        );
        if !self.opened.contains(&generation) {
            assert_eq!(self.canary, None, "one canary at a time");
            self.canary = Some(generation);
            tally.canaries += 1;
        }
        worker.prepared = None;
        worker.serving = Some(generation);
        let answer = || Event::Committed(id, generation);
        match self.mood() {
            Mood::Good | Mood::Refuses => self.later(5, answer()),
            Mood::Late => self.later(8_000, answer()),
            Mood::Twice => {
                self.later(5, answer());
                self.later(1_000, answer());
            }
            Mood::Silent => {}
            Mood::Dies => self.die(id, 5),
        }
    }

    fn drain_worker(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get(&id).filter(|w| w.alive)
            && self.state.is_serving()
        {
            assert!(
                worker.serving.is_none() || worker.serving == self.state.generation(),
                "what it has still to answer it answers as all others: {worker:?}"
            );
        }
        let worker = self.workers.get_mut(&id).unwrap();
        worker.draining = true;
        if self.random.percent(80) || self.behaving {
            self.die(id, 12_000);
        }
    }

    fn mood(&mut self) -> Mood {
        if self.behaving {
            return Mood::Good;
        }
        match self.random.below(40) {
            0 => Mood::Late,
            1 => Mood::Twice,
            2 => Mood::Silent,
            3 => Mood::Dies,
            4 => Mood::Refuses,
            _ => Mood::Good,
        }
    }
}
