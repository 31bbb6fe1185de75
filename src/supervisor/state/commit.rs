//! The second half of the transaction: all workers change over, or none does.
//!
//! Not here: what happens to the committed generation afterwards (`watch`).

use std::time::{Duration, Instant};

use super::history::{Record, Verdict};
use super::reload::{Phase, Transaction};
use super::{Action, ExitReason, Generation, Holding, KillReason, Stage, State, Ticket, WorkerId};

impl State {
    pub(super) fn commit(&mut self, now: Instant) {
        let Some(running) = &mut self.transaction else {
            return;
        };
        running.phase = Phase::Committing;
        let generation = running.generation.clone();
        let number = generation.number;
        let before = self.committed.replace(generation.clone());
        let before = before.map(|before| before.number);
        self.pinned = generation.plan.source.brings_back();
        self.begin_watch(&generation, before, now);
        self.actions.push(Action::Open { generation: number });
        for worker in self.fleet.alive() {
            // Whoever has tried it serves it; what it has not taken over it takes over now.
            if self
                .fleet
                .worker(worker)
                .is_some_and(|w| w.has_prepared(number) || w.serving == Some(number))
            {
                let commit = self.fleet.ask_commit(worker, number, now);
                self.actions.push(commit);
            }
        }
        self.finish_if_all_committed(now);
    }

    pub(super) fn worker_committed(&mut self, worker: WorkerId, number: u64, now: Instant) {
        if !self.fleet.committed(worker, number) {
            return;
        }
        self.tell_newcomer(worker);
        let is_canary = self.canary_generation(worker) == Some(number);
        if !is_canary {
            self.give_work(worker, now);
        }
        self.finish_if_all_committed(now);
        self.commit_if_all_prepared(now);
    }

    /// Workers that died meanwhile start with this generation, and are not waited for.
    pub(super) fn finish_if_all_committed(&mut self, now: Instant) {
        let Some(running) = self.transaction.as_ref().filter(|t| t.is_committing()) else {
            return;
        };
        let number = running.generation.number;
        let alive = self.fleet.alive().into_iter();
        let workers = alive.filter_map(|id| self.fleet.worker(id));
        let mut behind = workers
            .filter(|w| w.serving.is_some() && (w.serving != Some(number) || w.asked.is_some()));
        let first = self.announced || self.fleet.all_serve(running.workers(), number);
        if behind.next().is_none() && first {
            self.finish_commit(now);
        }
    }

    pub(super) fn finish_commit(&mut self, now: Instant) {
        let Some(done) = self.transaction.take() else {
            return;
        };
        let Generation { number, plan } = done.generation;
        self.actions.push(Action::Retire { generation: number });
        self.let_surplus_go(plan.settings.workers, plan.settings.surplus_timeout, now);
        let verdict = match plan.source.brings_back() {
            None => Verdict::Committed,
            Some(_) => Verdict::RolledBack,
        };
        let record = Record::of(&plan, Some(number), verdict, Vec::new(), now);
        self.conclude(record, done.tickets);
        self.begin_next(now);
    }

    pub(super) fn let_surplus_go(&mut self, workers: u16, timeout: Option<Duration>, now: Instant) {
        for worker in self.fleet.surplus(workers) {
            match self.fleet.worker(worker).map(|w| w.stage) {
                Some(Stage::Alive) => {
                    let until = timeout.map(|timeout| now + timeout + super::DRAIN_GRACE);
                    self.fleet.let_go(worker, until);
                    self.actions.push(Action::DrainWorker { worker, timeout });
                }
                _ => self.kill(worker, KillReason::Stop),
            }
        }
        self.fleet.trim(workers);
    }

    pub(super) fn begin_next(&mut self, now: Instant) {
        if self.holding == Holding::Yes {
            return;
        }
        if let Some(next) = self.next.take() {
            self.begin(*next, now);
        }
    }

    /// Everybody stays where they were, and a canary goes back there.
    pub(super) fn reject(&mut self, reasons: Vec<String>, now: Instant) {
        if let Some(mut gone) = self.call_off(now) {
            gone.phase = Phase::Returning(reasons);
            self.transaction = Some(gone);
        }
        self.end_return(now);
    }

    /// Whoever hears that a generation was refused is answered by it no more.
    pub(super) fn end_return(&mut self, now: Instant) {
        let serving = self.generation();
        let fleet = &self.fleet;
        let is_away = |id: &WorkerId| {
            let worker = fleet.worker(*id).filter(|w| w.stage == Stage::Alive);
            worker.is_some_and(|worker| worker.serving != serving)
        };
        self.returning = self.returning.filter(is_away);
        if self.returning.is_some() {
            return;
        }
        let Some(mut over) = self.transaction.take() else {
            return;
        };
        let Phase::Returning(why) = &mut over.phase else {
            self.transaction = Some(over);
            return;
        };
        let why = std::mem::take(why);
        let record = Record::of(&over.generation.plan, None, Verdict::Rejected, why, now);
        self.conclude(record, over.tickets);
        if self.committed.is_none() && self.next.is_none() {
            for (worker, _) in self.fleet.stages() {
                self.kill(worker, KillReason::Stop);
            }
            return self.end(ExitReason::FailedToStart);
        }
        self.begin_next(now);
    }

    /// A newer one takes its place, and its tickets.
    pub(super) fn abandon(&mut self, now: Instant) -> Option<Vec<Ticket>> {
        let gone = self.call_off(now)?;
        let plan = &gone.generation.plan;
        let record = Record::of(plan, None, Verdict::Superseded, Vec::new(), now);
        self.conclude(record, Vec::new());
        Some(gone.tickets)
    }

    /// Undoes the transaction.
    fn call_off(&mut self, now: Instant) -> Option<Transaction> {
        let tries_it = |id: &WorkerId| self.canary_generation(*id).is_some();
        let canary = self.fleet.alive().into_iter().find(tries_it);
        let gone = self.transaction.take()?;
        self.returning = canary.or(self.returning);
        let generation = gone.generation.number;
        for worker in self.fleet.forget(generation) {
            self.actions.push(Action::Abort { worker, generation });
        }
        self.actions.push(Action::Unbind { generation });
        if let Some(committed) = &self.committed {
            let workers = committed.plan.settings.workers;
            self.let_surplus_go(workers, Some(Duration::ZERO), now);
        }
        self.catch_up(now);
        Some(gone)
    }

    /// Whoever serves something else than the committed generation goes back to it.
    pub(super) fn catch_up(&mut self, now: Instant) {
        for worker in self.fleet.alive() {
            self.give_work(worker, now);
        }
    }

    pub(super) fn running(&mut self, number: u64) -> Option<&mut Transaction> {
        self.transaction
            .as_mut()
            .filter(|t| t.generation.number == number)
    }
}
