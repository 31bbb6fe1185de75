//! The transaction: bind, prepare on all workers, commit on all or on none.
//!
//! Not here: what happens to the committed generation afterwards (`watch`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fleet::{Step, prepare_deadline};
use super::guard::{CanaryRun, Finding, Measured};
use super::history::{Record, Verdict};
use super::watch::Watch;
use super::{
    Action, ExitReason, Generation, KillReason, Life, MAX_DEATHS, Plan, State, Ticket, WorkerId,
};

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) generation: Generation,
    phase: Phase,
    tickets: Vec<Ticket>,
    /// Since when newer files have been taking each other's place without one being committed.
    chain_since: Instant,
    deaths: u32,
    /// A worker has served it alone and done well.
    canary_passed: bool,
}

#[derive(Debug)]
enum Phase {
    Binding,
    Preparing {
        until: Instant,
    },
    /// One worker serves it, the others wait.
    Canary(CanaryRun),
    /// Decided; the workers are told.
    Committing,
}

impl Transaction {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Preparing { until } => Some(*until),
            Phase::Canary(run) => Some(run.until),
            Phase::Binding | Phase::Committing => None,
        }
    }

    /// Its slots are wanted as soon as it can be prepared.
    pub(super) fn needs_workers(&self) -> bool {
        !matches!(self.phase, Phase::Binding)
    }

    fn workers(&self) -> u16 {
        self.generation.plan.settings.workers
    }

    fn is_preparing(&self) -> bool {
        matches!(self.phase, Phase::Preparing { .. } | Phase::Canary(_))
    }

    fn is_committing(&self) -> bool {
        matches!(self.phase, Phase::Committing)
    }
}

/// A new configuration comes.
impl State {
    pub(super) fn want(&mut self, mut plan: Box<Plan>, now: Instant) {
        if self.life != Life::Running {
            return self.refuse(*plan, "draining", now);
        }
        let Some(running) = &mut self.transaction else {
            return self.begin(*plan, now);
        };
        if running.generation.plan.means_the_same(&plan) {
            running.tickets.append(&mut plan.tickets);
            if let Some(older) = self.next.take() {
                let tickets = self.supersede(*older, now);
                self.join(tickets);
            }
            return;
        }
        let chain_since = running.chain_since;
        let patience = running.generation.plan.settings.prepare_timeout;
        let waited = now.saturating_duration_since(chain_since);
        if running.is_committing() || waited >= patience {
            if let Some(older) = self.next.take() {
                plan.tickets.extend(self.supersede(*older, now));
            }
            self.next = Some(plan);
            return;
        }
        if let Some(older) = self.abandon(Verdict::Superseded, Vec::new(), now) {
            plan.tickets.extend(older);
        }
        self.begin(*plan, chain_since);
    }

    /// Whoever waits for an end that is on its way.
    fn join(&mut self, tickets: Vec<Ticket>) {
        if let Some(running) = &mut self.transaction {
            running.tickets.extend(tickets);
        }
    }

    fn begin(&mut self, mut plan: Plan, chain_since: Instant) {
        self.last_number += 1;
        let number = self.last_number;
        let tickets = std::mem::take(&mut plan.tickets);
        let plan = Arc::new(plan);
        self.transaction = Some(Transaction {
            generation: Generation { number, plan },
            phase: Phase::Binding,
            tickets,
            chain_since,
            deaths: 0,
            canary_passed: false,
        });
        self.actions.push(Action::Bind { generation: number });
    }

    /// One that never began; whoever waits for it waits for the newer one from now on.
    fn supersede(&mut self, mut plan: Plan, now: Instant) -> Vec<Ticket> {
        let tickets = std::mem::take(&mut plan.tickets);
        let record = Record::of(&plan, None, Verdict::Superseded, Vec::new(), now);
        self.conclude(record, Vec::new());
        tickets
    }

    fn refuse(&mut self, mut plan: Plan, why: &str, now: Instant) {
        let tickets = std::mem::take(&mut plan.tickets);
        let record = Record::of(&plan, None, Verdict::Rejected, vec![why.to_owned()], now);
        self.conclude(record, tickets);
    }

    pub(super) fn give_up_reloads(&mut self, why: &str, now: Instant) {
        if let Some(next) = self.next.take() {
            self.refuse(*next, why, now);
        }
        match &self.transaction {
            Some(running) if running.is_committing() => self.finish_commit(now),
            Some(_) => {
                self.reject(vec![why.to_owned()], now);
            }
            None => {}
        }
    }
}

/// Prepare.
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
        let workers = running.workers();
        for worker in self.fleet.participants(workers) {
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
    fn give_work(&mut self, id: WorkerId, now: Instant) {
        let Some(worker) = self.fleet.worker(id) else {
            return;
        };
        if worker.stage != super::Stage::Alive {
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
            (None, Some(t)) if t.is_preparing() && slot < t.workers() => Some(&t.generation),
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

    fn commit_if_all_prepared(&mut self, now: Instant) {
        let Some(running) = &self.transaction else {
            return;
        };
        let number = running.generation.number;
        let is_prepared = |slot: u16| {
            let worker = self
                .fleet
                .in_slot(slot)
                .and_then(|id| self.fleet.worker(id));
            worker.is_some_and(|w| w.has_prepared(number) || w.serving == Some(number))
        };
        let all = (0..running.workers()).all(is_prepared);
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

    fn not_prepared(&self) -> String {
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
        let late = (0..running.workers()).filter(is_late);
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
        }
    }
}

/// Commit or abort.
impl State {
    fn commit(&mut self, now: Instant) {
        let Some(running) = &mut self.transaction else {
            return;
        };
        running.phase = Phase::Committing;
        let generation = running.generation.clone();
        let (number, workers) = (generation.number, generation.plan.settings.workers);
        let before = self.committed.replace(generation.clone());
        self.pinned = generation.plan.source.brings_back();
        self.watch = Watch::begin(&generation, before.as_ref(), &self.samples, now);
        self.actions.push(Action::Open { generation: number });
        for worker in self.fleet.participants(workers) {
            if self
                .fleet
                .worker(worker)
                .is_some_and(|w| w.has_prepared(number))
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
    fn finish_if_all_committed(&mut self, now: Instant) {
        let Some(running) = self.transaction.as_ref().filter(|t| t.is_committing()) else {
            return;
        };
        let number = running.generation.number;
        let participants = self.fleet.participants(running.workers());
        let workers = participants
            .into_iter()
            .filter_map(|id| self.fleet.worker(id));
        let mut behind = workers.filter(|w| w.serving.is_some() && w.serving != Some(number));
        let first = self.announced || self.fleet.all_serve(running.workers(), number);
        if behind.next().is_none() && first {
            self.finish_commit(now);
        }
    }

    fn finish_commit(&mut self, now: Instant) {
        let Some(done) = self.transaction.take() else {
            return;
        };
        let Generation { number, plan } = done.generation;
        self.let_surplus_go(plan.settings.workers, plan.settings.surplus_timeout, now);
        self.actions.push(Action::Retire { generation: number });
        let verdict = match plan.source.brings_back() {
            None => Verdict::Committed,
            Some(_) => Verdict::RolledBack,
        };
        let record = Record::of(&plan, Some(number), verdict, Vec::new(), now);
        self.conclude(record, done.tickets);
        self.begin_next(now);
    }

    fn let_surplus_go(&mut self, workers: u16, timeout: Option<Duration>, now: Instant) {
        for worker in self.fleet.surplus(workers) {
            match self.fleet.worker(worker).map(|w| w.stage) {
                Some(super::Stage::Alive) => {
                    let until = timeout.map(|timeout| now + timeout + super::DRAIN_GRACE);
                    self.fleet.let_go(worker, until);
                    self.actions.push(Action::DrainWorker { worker, timeout });
                }
                _ => self.kill(worker, KillReason::Stop),
            }
        }
        self.fleet.trim(workers);
    }

    fn begin_next(&mut self, now: Instant) {
        if let Some(next) = self.next.take() {
            self.begin(*next, now);
        }
    }

    /// Everybody stays where they were.
    pub(super) fn reject(&mut self, reasons: Vec<String>, now: Instant) {
        self.abandon(Verdict::Rejected, reasons, now);
        if self.committed.is_none() && self.next.is_none() {
            for (worker, _) in self.fleet.stages() {
                self.kill(worker, KillReason::Stop);
            }
            return self.end(ExitReason::FailedToStart);
        }
        self.begin_next(now);
    }

    /// Undoes the transaction. A superseded one leaves its tickets to its successor.
    fn abandon(&mut self, verdict: Verdict, why: Vec<String>, now: Instant) -> Option<Vec<Ticket>> {
        let gone = self.transaction.take()?;
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
        let record = Record::of(&gone.generation.plan, None, verdict, why, now);
        let (told, left) = match verdict {
            Verdict::Superseded => (Vec::new(), Some(gone.tickets)),
            _ => (gone.tickets, None),
        };
        self.conclude(record, told);
        left
    }

    /// Whoever serves something else than the committed generation goes back to it.
    fn catch_up(&mut self, now: Instant) {
        let workers = self
            .committed
            .as_ref()
            .map_or(0, |g| g.plan.settings.workers);
        for worker in self.fleet.participants(workers) {
            self.give_work(worker, now);
        }
    }

    fn running(&mut self, number: u64) -> Option<&mut Transaction> {
        self.transaction
            .as_mut()
            .filter(|t| t.generation.number == number)
    }
}

/// One worker first.
impl State {
    /// The generation that this worker tries out alone.
    fn canary_generation(&self, worker: WorkerId) -> Option<u64> {
        let running = self.transaction.as_ref()?;
        match &running.phase {
            Phase::Canary(run) if run.worker == worker => Some(running.generation.number),
            // It has passed and serves on while the others are asked once more.
            Phase::Preparing { .. } if running.canary_passed => {
                let serving = self.fleet.worker(worker)?.serving;
                serving.filter(|number| *number == running.generation.number)
            }
            _ => None,
        }
    }

    fn begin_canary(&mut self, now: Instant) {
        let Some(worker) = self.fleet.in_slot(0) else {
            return;
        };
        let Some(running) = &mut self.transaction else {
            return;
        };
        let number = running.generation.number;
        let Some(canary) = running.generation.plan.settings.canary else {
            return;
        };
        running.phase = Phase::Canary(CanaryRun::new(worker, canary, now));
        let commit = self.fleet.ask_commit(worker, number, now);
        self.actions.push(commit);
    }

    pub(super) fn canary_measured(&mut self, measured: &Measured) {
        if let Some(Phase::Canary(run)) = self.transaction.as_mut().map(|t| &mut t.phase) {
            run.measure(measured);
        }
    }

    fn judge_canary(&mut self, now: Instant) {
        let Some(running) = &mut self.transaction else {
            return;
        };
        let Phase::Canary(run) = &running.phase else {
            return;
        };
        if let Finding::Worse(why) = run.finding() {
            return self.reject(vec![format!("the canary did worse: {why}")], now);
        }
        running.canary_passed = true;
        let until = now + running.generation.plan.settings.prepare_timeout;
        running.phase = Phase::Preparing { until };
        let workers = running.workers();
        for worker in self.fleet.participants(workers) {
            self.give_work(worker, now);
        }
        self.commit_if_all_prepared(now);
    }
}
