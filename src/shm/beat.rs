//! Which worker hangs: judged from heartbeats alone, so that a worker need not answer to be found
//! out. Pure: time is an argument. What happens to a hung worker is the supervisor's decision.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Lease, RowId, SUPERVISOR};

/// How often a worker should beat, for a given bound: often enough that a busy one is not suspected.
pub fn interval(hang_timeout: Duration) -> Duration {
    (hang_timeout / 10).clamp(Duration::from_millis(20), Duration::from_secs(1))
}

/// When each row was last seen to beat.
#[derive(Debug, Default)]
pub struct Watch {
    seen: HashMap<RowId, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    slot: u16,
    pid: u32,
    beats: u64,
    since: Instant,
}

impl Watch {
    /// The leases whose process has not beaten for `timeout`; to be asked every so often.
    pub fn hung(&mut self, leases: &[Lease], now: Instant, timeout: Duration) -> Vec<Lease> {
        self.seen
            .retain(|row, _| leases.iter().any(|lease| lease.row == *row));
        let workers = leases.iter().filter(|lease| lease.slot != SUPERVISOR);
        workers
            .filter(|lease| self.silence(lease, now) >= timeout)
            .copied()
            .collect()
    }

    fn silence(&mut self, lease: &Lease, now: Instant) -> Duration {
        let fresh = Seen {
            slot: lease.slot,
            pid: lease.pid,
            beats: lease.beats,
            since: now,
        };
        let seen = self.seen.entry(lease.row).or_insert(fresh);
        let same = (seen.slot, seen.pid, seen.beats) == (fresh.slot, fresh.pid, fresh.beats);
        if !same {
            *seen = fresh;
        }
        now.saturating_duration_since(seen.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn lease(slot: u16, pid: u32, beats: u64) -> Lease {
        Lease {
            row: RowId(slot),
            slot,
            pid,
            beats,
        }
    }

    #[test]
    fn silence_for_the_timeout_is_a_hang() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        assert!(
            watch
                .hung(&[lease(0, 7, 1), lease(1, 8, 1)], start, TIMEOUT)
                .is_empty()
        );
        let later = start + TIMEOUT;
        assert_eq!(
            watch.hung(&[lease(0, 7, 2), lease(1, 8, 1)], later, TIMEOUT),
            [lease(1, 8, 1)]
        );
    }

    #[test]
    fn a_replacement_in_the_same_row_starts_afresh() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        watch.hung(&[lease(0, 7, 5)], start, TIMEOUT);
        assert!(
            watch
                .hung(&[lease(0, 9, 5)], start + TIMEOUT, TIMEOUT)
                .is_empty()
        );
        watch.hung(&[], start + TIMEOUT, TIMEOUT);
        assert!(
            watch
                .hung(&[lease(0, 9, 5)], start + TIMEOUT * 3, TIMEOUT)
                .is_empty()
        );
    }

    #[test]
    fn the_supervisor_is_not_its_own_watchman() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let own = Lease {
            row: RowId(9),
            slot: SUPERVISOR,
            pid: 1,
            beats: 0,
        };
        watch.hung(&[own], start, TIMEOUT);
        assert!(watch.hung(&[own], start + TIMEOUT * 2, TIMEOUT).is_empty());
    }

    #[test]
    fn beats_come_ten_times_within_the_timeout() {
        assert_eq!(interval(Duration::from_secs(5)), Duration::from_millis(500));
        assert_eq!(
            interval(Duration::from_millis(1)),
            Duration::from_millis(20)
        );
    }
}
