//! The health board: one place per endpoint, which all processes read and which the active checks
//! and the workers write.
//!
//! Not here: what the words mean and when they change (`model::health`).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

use super::layout::BOARD_CELLS;
use crate::model::config::balance::ErrorRate;
use crate::model::health::outlier::{Outcome, Window};
pub use crate::model::health::{Checked, Experience, Health, Millis, Trust, Verdict};

/// An endpoint's place: what checks say, what traffic shows, and room for more.
#[derive(Debug, Clone, Copy)]
pub struct Board {
    cells: &'static [AtomicU64; BOARD_CELLS],
}

/// On the clock that all processes share. By the C library: where the kernel tells no address of its
/// own clock function, as under valgrind, that asks by a system call.
pub fn now() -> Millis {
    // The only ways to fail are a clock that the kernel does not have and memory that is not ours.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| now.num_milliseconds());
    Millis(u64::try_from(now).unwrap_or_default())
}

impl Board {
    pub(super) fn of(cells: &'static [AtomicU64]) -> Option<Board> {
        Some(Board {
            cells: cells.first_chunk()?,
        })
    }

    pub fn health(self, now: Millis) -> Health {
        Health::of(self.checked(), self.experience(), now)
    }

    pub fn checked(self) -> Checked {
        let [checked, ..] = self.cells;
        Checked::from_word(checked.load(Relaxed))
    }

    /// The supervisor's alone. A verdict that stays keeps the time since when it stands.
    pub fn check(self, verdict: Verdict, now: Millis) -> Checked {
        let [cell, ..] = self.cells;
        let before = self.checked();
        let since = match (before.verdict, verdict) {
            (before, verdict) if before == verdict => return self.checked(),
            // The first look at one that was believed to be well is no return.
            (Verdict::Unknown, Verdict::Healthy) => before.since,
            _ => now,
        };
        cell.store(Checked { verdict, since }.word(), SeqCst);
        if (before.verdict, verdict) == (Verdict::Unhealthy, Verdict::Healthy) {
            // Whoever has looked knows better than what was seen before.
            self.end_ejection(now);
        }
        before
    }

    /// Before its time; whether there was one.
    pub fn end_ejection(self, now: Millis) -> bool {
        let ended = self.learn(|seen| seen.is_out(now).then(|| seen.back(now)));
        ended.is_some()
    }

    /// One that is on trial gets one request in so long.
    pub fn takes_trial(self, now: Millis) -> bool {
        let [_, _, _, cell, ..] = self.cells;
        cell.load(Relaxed) <= now.0
    }

    /// It has got one.
    pub fn begin_trial(self, next: Millis) {
        let [_, _, _, cell, ..] = self.cells;
        cell.store(next.0, Relaxed);
    }

    /// Counts one request in the interval's word; what stands there afterwards.
    pub fn count(self, outcome: Outcome, rate: ErrorRate, now: Millis) -> Window {
        let [_, _, cell, ..] = self.cells;
        let counted = |word| Window::from_word(word).with(outcome, rate, now);
        // It always has a new value.
        let before = cell.fetch_update(Relaxed, Relaxed, |word| Some(counted(word).word()));
        counted(before.unwrap_or_else(|word| word))
    }

    /// The interval's word begins anew.
    pub fn forget_count(self) {
        let [_, _, cell, ..] = self.cells;
        cell.store(0, Relaxed);
    }

    pub fn experience(self) -> Experience {
        let [_, experience, ..] = self.cells;
        Experience::from_word(experience.load(Relaxed))
    }

    /// Changes it while nobody else does; `None` leaves it as it is. What stands there afterwards,
    /// where it was changed.
    pub fn learn(self, change: impl Fn(Experience) -> Option<Experience>) -> Option<Experience> {
        let [_, cell, ..] = self.cells;
        let changed = |word| change(Experience::from_word(word)).map(Experience::word);
        let before = cell.fetch_update(SeqCst, SeqCst, changed).ok()?;
        change(Experience::from_word(before))
    }

    /// When it last came back: by its checks, after an ejection, or into the configuration.
    pub fn up_since(self) -> Millis {
        self.checked().since.max(self.experience().until)
    }

    pub(super) fn begin(self, now: Millis) {
        let unknown = Checked {
            verdict: Verdict::Unknown,
            since: now,
        };
        let [checked, rest @ ..] = self.cells;
        checked.store(unknown.word(), Relaxed);
        rest.iter().for_each(|cell| cell.store(0, Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use crate::shm::Segment;
    use crate::shm::layout::Layout;

    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "there is one mapping")]
    fn all_mappings_see_a_change_and_a_new_endpoint_begins_anew() {
        let segment = Segment::create_sized(Layout { chunks: 1 }).expect("a segment");
        let fd = segment.fd().try_clone_to_owned().expect("a dup");
        let (ours, other) = (segment.board(7), Segment::open(fd).expect("opens"));
        let (ours, theirs) = (ours.expect("a place"), other.board(7).expect("a place"));
        segment.begin_endpoint(7, Millis(10));
        assert_eq!(theirs.up_since(), Millis(10));

        ours.check(Verdict::Healthy, Millis(20));
        assert_eq!(theirs.up_since(), Millis(10), "the first look is no return");
        ours.check(Verdict::Unhealthy, Millis(30));
        assert_eq!(theirs.health(Millis(30)), Health::Unhealthy);
        ours.check(Verdict::Unhealthy, Millis(35));
        assert_eq!(theirs.checked().since, Millis(30));
        ours.check(Verdict::Healthy, Millis(40));
        assert_eq!(theirs.up_since(), Millis(40));

        let eject = |seen: Experience| {
            let until = Millis(90);
            (seen.until < until).then_some(Experience { until, ..seen })
        };
        assert_eq!(theirs.learn(eject).map(|seen| seen.until), Some(Millis(90)));
        assert_eq!(theirs.learn(eject), None);
        assert_eq!(ours.health(Millis(89)), Health::Ejected);
        assert_eq!(ours.up_since(), Millis(90));

        segment.begin_endpoint(7, Millis(100));
        assert_eq!(theirs.health(Millis(0)), Health::Unknown);
        assert!(now() > Millis(0));
    }
}
