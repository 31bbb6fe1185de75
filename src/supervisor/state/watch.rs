//! The time after a commit in which a generation can turn out to be worse than the one before. It goes on
//! in a new binary.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::guard::{Finding, GuardRun, Measure, Measured, Samples, Seen};
use super::{Action, Generation, Holding, State};

#[derive(Debug)]
pub(super) struct Watch {
    run: GuardRun,
    generation: u64,
    before: u64,
}

/// What a predecessor has seen, and what it had not judged yet.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Vigil {
    samples: Vec<(Duration, Measure)>,
    watched: Option<Watched>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Watched {
    generation: u64,
    before: u64,
    left: Duration,
    seen: Seen,
}

impl Watch {
    /// A generation that brings another back is not watched: to and fro helps nobody.
    pub(super) fn begin(
        generation: &Generation,
        before: Option<u64>,
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
            before: before?,
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

    /// While another is on its way nothing can be begun: if that is refused, it is still to be judged. Nor
    /// while a successor starts, which judges in our place.
    pub(super) fn watch_is_due(&self) -> Option<Instant> {
        let may_begin = self.transaction.is_none() && self.holding == Holding::No;
        let watch = self.watch.as_ref().filter(|_| may_begin);
        watch.map(Watch::deadline)
    }

    pub(super) fn watch_clock(&mut self, now: Instant) {
        if self.watch_is_due().is_none_or(|due| due > now) {
            return;
        }
        let Some(watch) = self.watch.take() else {
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

    /// After the commit of this one.
    pub(super) fn begin_watch(
        &mut self,
        generation: &Generation,
        before: Option<u64>,
        now: Instant,
    ) {
        // The first one of a new binary: is it what its predecessor served, or an edit of it?
        let serving = self.history.serving().filter(|_| before.is_none());
        let same = serving.filter(|record| record.hash == generation.plan.hash);
        let left = self.watched.take();
        self.watch = match (same, generation.plan.settings.guard) {
            (Some(record), Some(guard)) => left
                .filter(|left| record.generation == Some(left.generation))
                .map(|left| Watch {
                    run: GuardRun::resumed(guard, left.left, left.seen, now),
                    generation: generation.number,
                    before: left.before,
                }),
            (Some(_), None) => None,
            (None, _) => {
                let before = before.or_else(|| serving?.generation);
                Watch::begin(generation, before, &self.samples, now)
            }
        };
    }

    /// For a successor.
    pub fn vigil(&self, now: Instant) -> Vigil {
        let watched = self.watch.as_ref().map(|watch| Watched {
            generation: watch.generation,
            before: watch.before,
            left: watch.deadline().saturating_duration_since(now),
            seen: watch.run.seen(),
        });
        Vigil {
            samples: self.samples.aged(now),
            watched,
        }
    }

    /// Of a predecessor whose counters go on here.
    pub fn keep_vigil(&mut self, vigil: Vigil, now: Instant) {
        self.samples = Samples::restored(vigil.samples, now);
        self.watched = vigil.watched;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::message::Packed;

    /// See `ipc::message::ESTATE_FORMAT`, of which this is a part.
    #[test]
    fn what_is_handed_over_has_the_bytes_of_its_format() {
        let measure = |requests| Measure {
            requests,
            server_errors: 2,
            connect_errors: 3,
        };
        let seen = Seen {
            usual: measure(4),
            at_commit: measure(5),
            latest: measure(6),
        };
        let vigil = Vigil {
            samples: vec![(Duration::from_millis(7), measure(1))],
            watched: Some(Watched {
                generation: 8,
                before: 9,
                left: Duration::from_secs(10),
                seen,
            }),
        };
        let bytes = Packed::pack(&vigil).unwrap();
        let shown: String = bytes.bytes().iter().map(|b| format!("{b:02x}")).collect();
        let known = "0100c09fab030102030108090a00040203050203060203";
        assert_eq!(shown, known);
    }
}
