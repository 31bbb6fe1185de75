//! The way to the end: first everything is served on, because who sends requests here learns late
//! that it should not, then nothing new is accepted and what is in flight finishes.
//!
//! Not here: how a worker does its part (`proxy`).

use std::time::{Duration, Instant};

use super::{Action, DRAIN_GRACE, ExitReason, KillReason, Life, Stage, State};
use crate::model::config::Lifecycle;

/// All is served on, and the end is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaving {
    ends: Ends,
    /// Not before.
    earliest: Instant,
    /// Nothing is accepted after it.
    latest: Instant,
    /// Nothing goes on after it.
    cut_off: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    AtTime,
    /// When no client connection is open.
    WhenIdle,
}

impl Leaving {
    /// When something is to be done about it.
    pub(super) fn deadline(self) -> Instant {
        self.latest
    }
}

impl State {
    /// As the lifecycle has it.
    pub(super) fn leave(&mut self, now: Instant) {
        let Some((lifecycle, min_delay, timeout)) = self.drain_settings() else {
            return self.drain(now);
        };
        let earliest = now + min_delay;
        self.begin_leaving(
            match lifecycle {
                Lifecycle::Edge => Leaving {
                    ends: Ends::AtTime,
                    earliest,
                    latest: earliest,
                    cut_off: earliest + timeout,
                },
                Lifecycle::Sidecar => {
                    let cut_off = earliest.max(now + timeout);
                    Leaving {
                        ends: Ends::WhenIdle,
                        earliest,
                        latest: cut_off,
                        cut_off,
                    }
                }
            },
            now,
        );
    }

    /// The application is done, and says so: what is left of its connections ends, and nobody waits.
    pub(super) fn quit(&mut self, now: Instant) {
        let Some((_, _, timeout)) = self.drain_settings() else {
            return self.drain(now);
        };
        let cut_off = now + timeout;
        let leaving = Leaving {
            ends: Ends::WhenIdle,
            earliest: now,
            latest: cut_off,
            cut_off,
        };
        self.begin_leaving(leaving, now);
    }

    /// So many client connections are open in all.
    pub(super) fn connections(&mut self, open: u64, now: Instant) {
        if let Life::Leaving(leaving) = self.life
            && leaving.ends == Ends::WhenIdle
            && leaving.earliest <= now
            && open == 0
        {
            self.drain_until(leaving.cut_off, now);
        }
    }

    /// Accept no more from now on.
    pub(super) fn drain(&mut self, now: Instant) {
        let timeout = self.drain_settings().map_or(Duration::ZERO, |(_, _, t)| t);
        self.drain_until(now + timeout, now);
    }

    pub(super) fn replaced(&mut self, now: Instant) {
        if let Some(next) = self.next.take() {
            let tickets = next.tickets;
            self.actions.push(Action::PassOn { tickets });
        }
        self.drain(now);
    }

    pub(super) fn stop(&mut self) {
        for (worker, _) in self.fleet.stages() {
            self.kill(worker, KillReason::Stop);
        }
        self.end(ExitReason::Stopped);
    }

    pub(super) fn ending_clock(&mut self, now: Instant) {
        match self.life {
            Life::Leaving(leaving) if leaving.latest <= now => {
                self.drain_until(leaving.cut_off, now);
            }
            Life::Draining { until } if until <= now => self.stop(),
            _ => {}
        }
    }

    pub(super) fn end_if_drained(&mut self) {
        if matches!(self.life, Life::Draining { .. }) && self.fleet.is_empty() {
            self.end(ExitReason::Drained);
        }
    }

    /// A worker that was not there yet when the others were told.
    pub(super) fn tell_newcomer(&mut self, worker: super::WorkerId) {
        if matches!(self.life, Life::Leaving(leaving) if leaving.ends == Ends::AtTime) {
            self.actions.push(Action::Leave { worker });
        }
    }

    fn begin_leaving(&mut self, leaving: Leaving, now: Instant) {
        if self.life != Life::Running {
            return;
        }
        self.give_up_reloads("draining", now);
        self.life = Life::Leaving(leaving);
        for (worker, stage) in self.fleet.stages() {
            if stage == Stage::Alive {
                self.tell_newcomer(worker);
            }
        }
    }

    fn drain_until(&mut self, cut_off: Instant, now: Instant) {
        if !self.is_serving() {
            return;
        }
        self.give_up_reloads("draining", now);
        let timeout = cut_off.saturating_duration_since(now);
        let until = now + timeout + DRAIN_GRACE;
        self.life = Life::Draining { until };
        // First: what comes in here alone would be lost.
        self.actions.push(Action::Close);
        for (worker, stage) in self.fleet.stages() {
            match stage {
                Stage::Starting { .. } => self.kill(worker, KillReason::Stop),
                Stage::Killed => {}
                Stage::Alive | Stage::Draining { .. } => {
                    self.fleet.let_go(worker, Some(until));
                    let timeout = Some(timeout);
                    self.actions.push(Action::DrainWorker { worker, timeout });
                }
            }
        }
    }

    pub(super) fn end(&mut self, reason: ExitReason) {
        self.life = Life::Ended;
        self.actions.push(Action::Exit(reason));
    }

    fn drain_settings(&self) -> Option<(Lifecycle, Duration, Duration)> {
        let settings = &self.committed.as_ref()?.plan.settings;
        Some((
            settings.lifecycle,
            settings.drain_min_delay,
            settings.drain_timeout,
        ))
    }
}

/// What others may see of it.
impl State {
    /// Whether workers are wanted, and replaced when they die.
    pub fn is_serving(&self) -> bool {
        matches!(self.life, Life::Running | Life::Leaving(_))
    }

    /// Whether it wants to be told how many connections are open.
    pub fn awaits_idle(&self) -> bool {
        matches!(self.life, Life::Leaving(leaving) if leaving.ends == Ends::WhenIdle)
    }
}
