//! The worker processes: which slot each has, what it was asked, what it serves.
//!
//! Not here: why it is asked (`reload`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::{Action, COMMIT_TIMEOUT, KillReason, START_TIMEOUT};

/// One process, never the same number twice; a slot has one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

#[derive(Debug, Default)]
pub struct Fleet {
    workers: BTreeMap<WorkerId, Worker>,
    slots: BTreeMap<u16, Slot>,
    last: u64,
}

#[derive(Debug)]
pub struct Worker {
    pub slot: u16,
    pub stage: Stage,
    pub started: Instant,
    /// The generation by which it answers requests.
    pub serving: Option<u64>,
    pub(super) asked: Option<Asked>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not spoken to yet.
    Starting {
        until: Instant,
    },
    Alive,
    /// Has left its slot; without a time it may take as long as its streams last.
    Draining {
        until: Option<Instant>,
    },
    /// Its end is on the way.
    Killed,
}

/// What a worker was asked last and has not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) generation: u64,
    pub(super) step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Preparing { until: Instant },
    Prepared,
    Committing { until: Instant },
}

#[derive(Debug, Default)]
struct Slot {
    worker: Option<WorkerId>,
    backoff: Backoff,
    /// No replacement before this.
    not_before: Option<Instant>,
    /// How often its worker was replaced.
    restarts: u64,
}

impl Fleet {
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.workers.iter().map(|(id, worker)| (*id, worker))
    }

    /// Slots whose next worker has to wait, with how often theirs were replaced.
    pub fn waiting_slots(&self) -> impl Iterator<Item = (u16, u64)> {
        let waiting = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.waits_until().is_some());
        waiting.map(|(number, slot)| (*number, slot.restarts))
    }

    /// How often the slot's worker was replaced.
    pub fn restarts(&self, slot: u16) -> u64 {
        self.slots.get(&slot).map_or(0, |slot| slot.restarts)
    }

    pub fn worker(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id)
    }

    /// Whether all of the first `workers` slots serve the generation.
    pub fn all_serve(&self, workers: u16, generation: u64) -> bool {
        (0..workers).all(|slot| {
            let worker = self.in_slot(slot).and_then(|id| self.worker(id));
            worker.is_some_and(|w| w.stage == Stage::Alive && w.serving == Some(generation))
        })
    }

    pub(super) fn in_slot(&self, slot: u16) -> Option<WorkerId> {
        self.slots.get(&slot)?.worker
    }

    pub(super) fn stages(&self) -> Vec<(WorkerId, Stage)> {
        self.workers()
            .map(|(id, worker)| (id, worker.stage))
            .collect()
    }

    /// Whoever can take part in a transaction, also those that the generation has no slot for: they
    /// answer requests until they are let go, and by no other generation than the rest.
    pub(super) fn alive(&self) -> Vec<WorkerId> {
        let alive = self.workers().filter(|(_, w)| w.stage == Stage::Alive);
        alive.map(|(id, _)| id).collect()
    }

    /// In slots from `workers` on, whatever their stage, but not those that leave already.
    pub(super) fn surplus(&self, workers: u16) -> Vec<WorkerId> {
        let surplus = self.slots.range(workers..);
        surplus.filter_map(|(_, slot)| slot.worker).collect()
    }

    /// When the next worker is overdue, or the next of the first `workers` slots is to be filled.
    pub(super) fn deadline(&self, workers: u16) -> Option<Instant> {
        let overdue = self.workers.values().filter_map(Worker::deadline);
        let slots = self.slots.range(..workers).map(|(_, slot)| slot);
        overdue.chain(slots.filter_map(Slot::waits_until)).min()
    }

    pub(super) fn overdue(&self, now: Instant) -> Vec<(WorkerId, KillReason)> {
        let overdue = self
            .workers()
            .filter(|(_, w)| w.deadline().is_some_and(|at| at <= now));
        overdue
            .map(|(id, worker)| (id, worker.overdue_reason()))
            .collect()
    }

    /// Fills the first `workers` slots, as far as their waits are over.
    pub(super) fn spawn_due(&mut self, workers: u16, now: Instant) -> Vec<Action> {
        let due: Vec<u16> = (0..workers)
            .filter(|slot| self.is_due(*slot, now))
            .collect();
        due.into_iter().map(|slot| self.spawn(slot, now)).collect()
    }

    fn is_due(&self, slot: u16, now: Instant) -> bool {
        self.slots
            .get(&slot)
            .is_none_or(|slot| slot.worker.is_none() && slot.not_before.is_none_or(|at| at <= now))
    }

    fn spawn(&mut self, slot: u16, now: Instant) -> Action {
        self.last += 1;
        let worker = WorkerId(self.last);
        let stage = Stage::Starting {
            until: now + START_TIMEOUT,
        };
        let (serving, asked) = (None, None);
        let started = now;
        self.workers.insert(
            worker,
            Worker {
                slot,
                stage,
                started,
                serving,
                asked,
            },
        );
        let place = self.slots.entry(slot).or_default();
        place.worker = Some(worker);
        place.not_before = None;
        Action::Spawn { worker, slot }
    }

    pub(super) fn ready(&mut self, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else {
            return false;
        };
        let starting = matches!(worker.stage, Stage::Starting { .. });
        if starting {
            worker.stage = Stage::Alive;
        }
        starting
    }

    pub(super) fn ask(&mut self, id: WorkerId, generation: u64, step: Step) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.asked = Some(Asked { generation, step });
        }
    }

    pub(super) fn ask_commit(&mut self, worker: WorkerId, generation: u64, now: Instant) -> Action {
        let until = now + COMMIT_TIMEOUT;
        self.ask(worker, generation, Step::Committing { until });
        Action::Commit { worker, generation }
    }

    pub(super) fn ask_try(&mut self, worker: WorkerId, generation: u64, now: Instant) -> Action {
        // Answered as a commit is.
        let _not_all_of_it = self.ask_commit(worker, generation, now);
        Action::Try { worker, generation }
    }

    /// The answer to `Prepare`, if that is what it was asked last.
    pub(super) fn prepared(&mut self, id: WorkerId, generation: u64) -> bool {
        let Some(worker) = self
            .workers
            .get_mut(&id)
            .filter(|w| w.stage == Stage::Alive)
        else {
            return false;
        };
        let expected = worker.is_asked_to_prepare(generation);
        if expected {
            worker.asked = Some(Asked {
                generation,
                step: Step::Prepared,
            });
        }
        expected
    }

    /// The answer to `Commit`, if that is what it was asked last.
    pub(super) fn committed(&mut self, id: WorkerId, generation: u64) -> bool {
        let Some(worker) = self
            .workers
            .get_mut(&id)
            .filter(|w| w.stage == Stage::Alive)
        else {
            return false;
        };
        let expected = worker.asked.is_some_and(|asked| {
            asked.generation == generation && matches!(asked.step, Step::Committing { .. })
        });
        if expected {
            worker.asked = None;
            worker.serving = Some(generation);
        }
        expected
    }

    /// Forgets what was asked about this generation; who has to be told. Whoever may have been
    /// swapping to it serves nobody knows what until it has been asked again.
    pub(super) fn forget(&mut self, generation: u64) -> Vec<WorkerId> {
        let about = |worker: &Worker| worker.asked.is_some_and(|a| a.generation == generation);
        let mut told = Vec::new();
        for (id, worker) in self.workers.iter_mut().filter(|(_, w)| about(w)) {
            if matches!(
                worker.asked,
                Some(Asked {
                    step: Step::Committing { .. },
                    ..
                })
            ) {
                worker.serving = None;
            }
            worker.asked = None;
            told.push(*id);
        }
        told
    }

    /// Takes a worker out of its slot; it ends by itself, at `until` at the latest.
    pub(super) fn let_go(&mut self, id: WorkerId, until: Option<Instant>) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.stage = Stage::Draining { until };
        worker.asked = None;
        if let Some(slot) = self.slots.get_mut(&worker.slot)
            && slot.worker == Some(id)
        {
            slot.worker = None;
        }
    }

    /// Marks it as killed; false where it is so already, or gone.
    pub(super) fn doom(&mut self, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else {
            return false;
        };
        worker.asked = None;
        std::mem::replace(&mut worker.stage, Stage::Killed) != Stage::Killed
    }

    /// Its process is gone; its slot, if it had one still, waits for the next.
    pub(super) fn remove(&mut self, id: WorkerId, now: Instant) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        if let Some(slot) = self.slots.get_mut(&worker.slot)
            && slot.worker == Some(id)
        {
            slot.worker = None;
            slot.restarts += 1;
            slot.not_before = Some(now + slot.backoff.after_death(worker.started, now));
        }
        Some(worker)
    }

    /// Slots that no generation needs are forgotten.
    pub(super) fn trim(&mut self, workers: u16) {
        self.slots
            .retain(|number, slot| *number < workers || slot.worker.is_some());
    }
}

impl Worker {
    pub(super) fn is_asked_to_prepare(&self, generation: u64) -> bool {
        self.asked.is_some_and(|asked| {
            asked.generation == generation && matches!(asked.step, Step::Preparing { .. })
        })
    }

    /// Has been asked for it and not finished.
    pub(super) fn is_busy_with(&self, generation: u64) -> bool {
        self.asked
            .is_some_and(|asked| asked.generation == generation)
    }

    pub(super) fn has_prepared(&self, generation: u64) -> bool {
        let prepared = Asked {
            generation,
            step: Step::Prepared,
        };
        self.stage == Stage::Alive && self.asked == Some(prepared)
    }

    fn deadline(&self) -> Option<Instant> {
        match (self.stage, self.asked.map(|asked| asked.step)) {
            (Stage::Starting { until }, _) => Some(until),
            (Stage::Draining { until }, _) => until,
            (Stage::Alive, Some(Step::Preparing { until } | Step::Committing { until })) => {
                Some(until)
            }
            (Stage::Alive, _) | (Stage::Killed, _) => None,
        }
    }

    fn overdue_reason(&self) -> KillReason {
        match self.stage {
            Stage::Starting { .. } => KillReason::NotReady,
            Stage::Draining { .. } => KillReason::DrainTimeout,
            Stage::Alive | Stage::Killed => KillReason::NoAnswer,
        }
    }
}

impl Slot {
    /// Died again and again, and waits.
    fn waits_until(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.worker.is_none())
    }
}

/// Half of the time for the whole: whoever is replaced in the middle has the other half.
pub(super) fn prepare_deadline(prepare_timeout: Duration, now: Instant) -> Instant {
    now + prepare_timeout / 2
}
