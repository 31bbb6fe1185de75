//! Notices when endpoints that were left out come back: an ejection ends by the clock, and nobody else
//! would say so.
//!
//! Not here: ejections, which the worker that decides them tells.

use std::collections::HashSet;

use crate::shm::Segment;
use crate::shm::health::{Health, Millis};

#[derive(Debug, Default)]
pub(super) struct Returns {
    out: HashSet<u32>,
}

impl Returns {
    /// Those that were out at the last look and are not any more; `endpoints` are ids with names.
    pub(super) fn look<'n>(
        &mut self,
        endpoints: impl Iterator<Item = (u32, &'n str, &'n str)>,
        segment: &Segment,
        now: Millis,
    ) -> Vec<(&'n str, &'n str)> {
        let mut back = Vec::new();
        for (id, upstream, address) in endpoints {
            let health = segment.board(id).map(|board| board.health(now));
            if health == Some(Health::Ejected) {
                self.out.insert(id);
            } else if self.out.remove(&id) && health.is_some_and(Health::takes_traffic) {
                back.push((upstream, address));
            }
        }
        back
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::health::Experience;
    use crate::shm::layout::Layout;

    #[test]
    fn a_return_is_told_once() {
        let segment = Segment::create_sized(Layout { chunks: 1 }).unwrap();
        let board = segment.board(3).unwrap();
        let until = Millis(100);
        board.learn(|seen| Some(Experience { until, ..seen }));
        let mut returns = Returns::default();
        let mut look = |now| {
            let endpoints = [(2, "app", "one"), (3, "app", "two")].into_iter();
            returns.look(endpoints, &segment, Millis(now))
        };
        assert_eq!(look(99), []);
        assert_eq!(look(101), [("app", "two")]);
        assert_eq!(look(102), []);
    }
}
