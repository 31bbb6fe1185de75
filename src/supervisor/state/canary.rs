//! A generation that one worker serves first, while the others wait.
//!
//! Not here: the comparison (`guard`).

use std::time::Instant;

use super::guard::{CanaryRun, Finding, Measured};
use super::reload::Phase;
use super::{State, WorkerId};

impl State {
    /// The generation that this worker tries out alone.
    pub(super) fn canary_generation(&self, worker: WorkerId) -> Option<u64> {
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

    pub(super) fn begin_canary(&mut self, now: Instant) {
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
        let attempt = self.fleet.ask_try(worker, number, now);
        self.actions.push(attempt);
    }

    pub(super) fn canary_measured(&mut self, measured: &Measured) {
        if let Some(Phase::Canary(run)) = self.transaction.as_mut().map(|t| &mut t.phase) {
            run.measure(measured);
        }
    }

    pub(super) fn judge_canary(&mut self, now: Instant) {
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
        for worker in self.fleet.alive() {
            self.give_work(worker, now);
        }
        self.commit_if_all_prepared(now);
    }
}
