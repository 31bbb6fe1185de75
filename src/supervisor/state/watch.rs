//! The time after a commit in which a generation can turn out to be worse than the one before.

use std::time::Instant;

use super::guard::{Finding, GuardRun, Measured, Samples};
use super::{Action, Generation, State};

#[derive(Debug)]
pub(super) struct Watch {
    run: GuardRun,
    generation: u64,
    before: u64,
}

impl Watch {
    /// A generation that brings another back is not watched: to and fro helps nobody.
    pub(super) fn begin(
        generation: &Generation,
        before: Option<&Generation>,
        samples: &Samples,
        now: Instant,
    ) -> Option<Watch> {
        let guard = generation.plan.settings.guard?;
        if generation.plan.source.brings_back().is_some() {
            return None;
        }
        Some(Watch {
            run: GuardRun::new(guard, samples, now),
            generation: generation.number,
            before: before?.number,
        })
    }

    pub(super) fn deadline(&self) -> Instant {
        self.run.until
    }
}

impl State {
    pub(super) fn measured(&mut self, measured: Measured, now: Instant) {
        self.canary_measured(&measured);
        if let Some(watch) = &mut self.watch {
            watch.run.measure(measured.total);
        }
        self.samples.add(measured.total, now);
    }

    pub(super) fn watch_clock(&mut self, now: Instant) {
        // While another is on its way nothing can be begun: if that is refused, it is still to be judged.
        if self.transaction.is_some() {
            return;
        }
        let Some(watch) = self.watch.take_if(|watch| watch.run.until <= now) else {
            return;
        };
        if self.generation() != Some(watch.generation) {
            return;
        }
        let (from, to) = (watch.generation, watch.before);
        self.actions.push(match watch.run.finding() {
            Finding::Worse(why) => Action::GoBack { to, from, why },
            Finding::NotWorse => Action::Content { generation: from },
        });
    }
}
