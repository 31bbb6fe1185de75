//! The first half of the transaction: every worker builds the generation beside the one it serves.
//!
//! Not here: what follows when all have (`commit`).

use std::collections::BTreeSet;
use std::time::Instant;

use super::fleet::{Step, prepare_deadline};
use super::reload::Phase;
use super::{Action, KillReason, MAX_DEATHS, Stage, State, WorkerId};

impl State {
    pub(super) fn bound(&mut self, number: u64, now: Instant) {
        let Some(running) = self.running(number) else {
            return;
        };
        if !matches!(running.phase, Phase::Binding) {
            return;
        }
        let until = now + running.generation.plan.settings.prepare_timeout;
        running.phase = Phase::Preparing { until };
        for worker in self.fleet.alive() {
            self.give_work(worker, now);
        }
    }

    pub(super) fn not_bound(&mut self, number: u64, reasons: Vec<String>, now: Instant) {
        if self
            .running(number)
            .is_some_and(|t| matches!(t.phase, Phase::Binding))
        {
            self.reject(reasons, now);
        }
    }

    pub(super) fn ready(&mut self, worker: WorkerId, now: Instant) {
        if self.is_serving() && self.fleet.ready(worker) {
            self.give_work(worker, now);
        }
    }

    /// What a worker that has nothing to do has to do next: catch up with the committed generation,
    /// then take part in the transaction.
    pub(super) fn give_work(&mut self, id: WorkerId, now: Instant) {
        let Some(worker) = self.fleet.worker(id) else {
            return;
        };
        if worker.stage != Stage::Alive {
            return;
        }
        let (slot, serving) = (worker.slot, worker.serving);
        let canary_at = self.canary_generation(id);
        let behind = self
            .committed
            .as_ref()
            .filter(|g| serving != Some(g.number) && slot < g.plan.settings.workers);
        let target = match (behind, &self.transaction) {
            (Some(_), _) if canary_at.is_some() => None,
            (Some(committed), _) => Some(committed),
            (None, Some(t)) if t.is_preparing() => Some(&t.generation),
            (None, _) => None,
        };
        let Some(target) = target.filter(|g| !worker.is_busy_with(g.number)) else {
            return;
        };
        let generation = target.number;
        let until = prepare_deadline(target.plan.settings.prepare_timeout, now);
        self.fleet.ask(id, generation, Step::Preparing { until });
        self.actions.push(Action::Prepare {
            worker: id,
            generation,
        });
    }

    pub(super) fn prepared(&mut self, worker: WorkerId, generation: u64, now: Instant) {
        if !self.fleet.prepared(worker, generation) {
            return;
        }
        if self.generation() == Some(generation) {
            let commit = self.fleet.ask_commit(worker, generation, now);
            self.actions.push(commit);
            return;
        }
        self.commit_if_all_prepared(now);
    }

    pub(super) fn rejected(&mut self, worker: WorkerId, number: u64, reason: String, now: Instant) {
        let asked = self
            .fleet
            .worker(worker)
            .is_some_and(|w| w.is_asked_to_prepare(number));
        if !asked {
            return;
        }
        if self.generation() == Some(number) {
            return self.kill(worker, KillReason::CannotServe);
        }
        if self.running(number).is_some() {
            self.reject(vec![reason], now);
        }
    }

    pub(super) fn commit_if_all_prepared(&mut self, now: Instant) {
        let Some(running) = &self.transaction else {
            return;
        };
        let number = running.generation.number;
        let is_prepared = |id: WorkerId| {
            let worker = self.fleet.worker(id);
            worker.is_some_and(|w| w.has_prepared(number) || w.serving == Some(number))
        };
        let mut slots = 0..running.workers();
        let all = slots.all(|slot| self.fleet.in_slot(slot).is_some_and(is_prepared))
            && self.fleet.alive().into_iter().all(is_prepared);
        if !all || !matches!(running.phase, Phase::Preparing { .. }) {
            return;
        }
        match running.generation.plan.settings.canary {
            Some(_) if !running.canary_passed && self.committed.is_some() => self.begin_canary(now),
            _ => self.commit(now),
        }
    }

    pub(super) fn reload_clock(&mut self, now: Instant) {
        let Some(running) = &self.transaction else {
            return;
        };
        match &running.phase {
            Phase::Preparing { until } if *until <= now => {
                let late = self.not_prepared();
                self.reject(vec![format!("not prepared in time by worker {late}")], now);
            }
            Phase::Canary(run) if run.until <= now => self.judge_canary(now),
            _ => {}
        }
    }

    pub(super) fn not_prepared(&self) -> String {
        let Some(running) = &self.transaction else {
            return String::new();
        };
        let number = running.generation.number;
        let is_late = |slot: &u16| {
            let worker = self
                .fleet
                .in_slot(*slot)
                .and_then(|id| self.fleet.worker(id));
            !worker.is_some_and(|w| w.has_prepared(number))
        };
        let alive = self
            .fleet
            .workers()
            .filter(|(_, w)| w.stage == Stage::Alive);
        let slots: BTreeSet<u16> = (0..running.workers())
            .chain(alive.map(|(_, w)| w.slot))
            .collect();
        let late = slots.into_iter().filter(is_late);
        late.map(|slot| slot.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    }

    pub(super) fn exited(&mut self, id: WorkerId, now: Instant) {
        let was_canary = self.canary_generation(id).is_some();
        let Some(gone) = self.fleet.remove(id, now) else {
            return;
        };
        let Some(running) = &mut self.transaction else {
            return;
        };
        if running.is_committing() {
            return self.finish_if_all_committed(now);
        }
        let took_part = gone
            .asked
            .is_some_and(|a| a.generation == running.generation.number);
        let started = self.committed.is_none();
        if took_part || started {
            running.deaths += 1;
        }
        if was_canary {
            self.reject(vec!["the canary worker died".to_owned()], now);
        } else if running.deaths > MAX_DEATHS {
            self.reject(vec!["workers die while they prepare it".to_owned()], now);
        } else {
            // It may have been the last one waited for, in a slot that is not to be filled again.
            self.commit_if_all_prepared(now);
        }
    }
}
