//! The transaction: bind, prepare on all workers (`prepare`), commit on all or on none (`commit`). Here
//! is how a configuration gets into one, and what a newer one does to it.

use std::sync::Arc;
use std::time::Instant;

use super::guard::CanaryRun;
use super::history::{Record, Verdict};
use super::{Action, Generation, Holding, Life, Plan, State, Ticket};

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) generation: Generation,
    pub(super) phase: Phase,
    pub(super) tickets: Vec<Ticket>,
    /// Since when newer files have been taking each other's place without one being committed.
    chain_since: Instant,
    pub(super) deaths: u32,
    /// A worker has served it alone and done well.
    pub(super) canary_passed: bool,
}

#[derive(Debug)]
pub(super) enum Phase {
    Binding,
    Preparing {
        until: Instant,
    },
    /// One worker serves it, the others wait.
    Canary(CanaryRun),
    /// Decided; the workers are told.
    Committing,
    /// Refused for these reasons; over when nobody serves it any more.
    Returning(Vec<String>),
}

impl Transaction {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Preparing { until } => Some(*until),
            Phase::Canary(run) => Some(run.until),
            Phase::Binding | Phase::Committing | Phase::Returning(_) => None,
        }
    }

    /// Its slots are wanted as soon as it can be prepared.
    pub(super) fn needs_workers(&self) -> bool {
        !matches!(self.phase, Phase::Binding | Phase::Returning(_))
    }

    pub(super) fn workers(&self) -> u16 {
        self.generation.plan.settings.workers
    }

    pub(super) fn is_preparing(&self) -> bool {
        matches!(self.phase, Phase::Preparing { .. } | Phase::Canary(_))
    }

    pub(super) fn is_committing(&self) -> bool {
        matches!(self.phase, Phase::Committing)
    }

    fn is_returning(&self) -> bool {
        matches!(self.phase, Phase::Returning(_))
    }
}

/// A new configuration comes.
impl State {
    pub(super) fn want(&mut self, mut plan: Box<Plan>, now: Instant) {
        if self.life != Life::Running {
            return self.refuse(*plan, "draining", now);
        }
        let Some(running) = &mut self.transaction else {
            return match self.holding {
                Holding::No => self.begin(*plan, now),
                Holding::Yes => self.wait(plan, now),
            };
        };
        if !running.is_returning() && running.generation.plan.means_the_same(&plan) {
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
        let decided = running.is_committing() || running.is_returning();
        if decided || waited >= patience || self.holding == Holding::Yes {
            return self.wait(plan, now);
        }
        if let Some(older) = self.abandon(now) {
            plan.tickets.extend(older);
        }
        self.begin(*plan, chain_since);
    }

    fn wait(&mut self, mut plan: Box<Plan>, now: Instant) {
        if let Some(older) = self.next.take() {
            plan.tickets.extend(self.supersede(*older, now));
        }
        self.next = Some(plan);
    }

    pub(super) fn release(&mut self, now: Instant) {
        self.holding = Holding::No;
        if self.transaction.is_none() {
            self.begin_next(now);
        }
    }

    /// Whoever waits for an end that is on its way.
    pub(super) fn join(&mut self, tickets: Vec<Ticket>) {
        if let Some(running) = &mut self.transaction {
            running.tickets.extend(tickets);
        }
    }

    pub(super) fn begin(&mut self, mut plan: Plan, chain_since: Instant) {
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
    pub(super) fn supersede(&mut self, mut plan: Plan, now: Instant) -> Vec<Ticket> {
        let tickets = std::mem::take(&mut plan.tickets);
        let record = Record::of(&plan, None, Verdict::Superseded, Vec::new(), now);
        self.conclude(record, Vec::new());
        tickets
    }

    pub(super) fn refuse(&mut self, mut plan: Plan, why: &str, now: Instant) {
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
            Some(running) => {
                if !running.is_returning() {
                    self.reject(vec![why.to_owned()], now);
                }
                self.returning = None;
                self.end_return(now);
            }
            None => {}
        }
    }
}
