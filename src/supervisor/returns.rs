//! Notices when endpoints that were left out come back: an ejection ends by the clock, a trial with a
//! request, and nobody else would say so.
//!
//! Not here: ejections, which the worker that decides them tells.

use std::collections::HashMap;

use crate::shm::Segment;
use crate::shm::health::{Health, Millis};

#[derive(Debug, Default)]
pub(super) struct Returns {
    /// Those that were not well at the last look, and how.
    out: HashMap<u32, Health>,
}

/// One that is on its way back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Return<'n> {
    pub(super) upstream: &'n str,
    pub(super) endpoint: &'n str,
    pub(super) step: Step,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It gets a request, to see how that goes.
    Trial,
    Back,
}

impl Return<'_> {
    pub(super) fn log(&self) {
        let (upstream, endpoint) = (self.upstream, self.endpoint);
        match self.step {
            Step::Trial => tracing::info!(upstream, endpoint, "endpoint on trial"),
            Step::Back => tracing::info!(upstream, endpoint, "endpoint back"),
        }
    }
}

impl Returns {
    /// What has changed for those that were out at the last look; `endpoints` are ids with names.
    pub(super) fn look<'n>(
        &mut self,
        endpoints: impl Iterator<Item = (u32, &'n str, &'n str)>,
        segment: &Segment,
        now: Millis,
    ) -> Vec<Return<'n>> {
        let mut back = Vec::new();
        for (id, upstream, endpoint) in endpoints {
            let Some(health) = segment.board(id).map(|board| board.health(now)) else {
                continue;
            };
            let before = self.out.remove(&id);
            let step = match (before, health) {
                (Some(Health::Ejected), Health::Trial) => Some(Step::Trial),
                (Some(_), health) if health.takes_traffic() => Some(Step::Back),
                _ => None,
            };
            if matches!(health, Health::Ejected | Health::Trial) {
                self.out.insert(id, health);
            }
            back.extend(step.map(|step| Return {
                upstream,
                endpoint,
                step,
            }));
        }
        back
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::health::{Experience, Trust};
    use crate::shm::layout::Layout;

    #[test]
    fn a_return_is_told_once() {
        let segment = Segment::create_sized(Layout { chunks: 1 }).unwrap();
        let board = segment.board(3).unwrap();
        let out = Experience {
            until: Millis(100),
            trust: Trust::Trial,
            ..Experience::default()
        };
        board.learn(|_| Some(out));
        let mut returns = Returns::default();
        let mut look = |now| {
            let endpoints = [(2, "app", "one"), (3, "app", "two")].into_iter();
            returns.look(endpoints, &segment, Millis(now))
        };
        let two = |step| Return {
            upstream: "app",
            endpoint: "two",
            step,
        };
        assert_eq!(look(99), []);
        assert_eq!(look(101), [two(Step::Trial)]);
        assert_eq!(look(102), []);
        board.learn(|seen| Some(seen.after_answer(Millis(103))));
        assert_eq!(look(104), [two(Step::Back)]);
        assert_eq!(look(105), []);
        board.learn(|_| {
            Some(Experience {
                until: Millis(200),
                ..out
            })
        });
        assert_eq!(look(106), []);
        board.learn(|seen| Some(seen.after_answer(Millis(200))));
        assert_eq!(
            look(201),
            [two(Step::Back)],
            "the trial was between two looks"
        );
    }
}
