//! When a dead worker is replaced: at once, unless it dies again and again.

use std::time::{Duration, Instant};

/// A worker that has lived so long did not die of its start.
pub(super) const STABLE: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// One after the other, each soon after its start.
    deaths: u32,
}

impl Backoff {
    /// How long to wait after a death.
    pub(super) fn after_death(&mut self, started: Instant, now: Instant) -> Duration {
        if now.saturating_duration_since(started) >= STABLE {
            self.deaths = 0;
        }
        self.deaths = self.deaths.saturating_add(1);
        match self.deaths.checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_at_once_then_ever_later_up_to_the_bound() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        let waits: Vec<u128> = (0..10)
            .map(|_| backoff.after_death(start, start).as_millis())
            .collect();
        assert_eq!(
            waits,
            [0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000]
        );
        let much_later = start + STABLE;
        assert_eq!(backoff.after_death(start, much_later), Duration::ZERO);
        assert_eq!(backoff.after_death(start, start), FIRST);
    }
}
