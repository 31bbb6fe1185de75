//! How fast a peer moves while it is waited for: a peer that always moves a little before a timeout would
//! otherwise stay as long as it likes.
//!
//! Only time that is spent waiting for the peer counts, and after a while of grace, so that the slowest
//! of honest lines is never near the bound. Not here: what happens to one that is too slow.

use std::task::{Context, Poll};
use std::time::Duration;

use super::body::Size;
use super::timers::{Alarm, Tick};
use crate::model::config::Limits;

/// What is asked of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeastRate {
    /// 0 asks for nothing.
    pub(super) bytes_per_second: u32,
    pub(super) grace: Duration,
}

impl LeastRate {
    /// Of a client that sends a request's body. A stream, of whatever protocol, may be silent.
    pub(super) fn of_body(size: Size, limits: &Limits) -> Self {
        Self {
            bytes_per_second: match size {
                Size::Known(_) => limits.min_body_rate,
                Size::Unknown => 0,
            },
            grace: limits.rate_grace,
        }
    }

    /// Of a client that takes a response.
    pub(super) fn of_response(limits: &Limits) -> Self {
        Self {
            bytes_per_second: limits.min_response_rate,
            grace: limits.rate_grace,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Option<Tick>,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// The peer has moved so much; the wait for it is over for now.
    pub(super) fn moved(&mut self, bytes: u64, alarm: &Alarm) {
        self.bytes += bytes;
        self.pause(alarm);
    }

    /// It is not the peer that is waited for.
    pub(super) fn pause(&mut self, alarm: &Alarm) {
        if let Some(since) = self.since.take() {
            self.waited += alarm.now().since(since);
        }
    }

    /// Waits for the peer; ready once it has been too slow for what it has moved.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        alarm: &Alarm,
        least: LeastRate,
    ) -> Poll<()> {
        if least.bytes_per_second == 0 {
            return Poll::Pending;
        }
        let since = *self.since.get_or_insert_with(|| alarm.now());
        alarm.poll(cx, since.after(self.patience_left(least)))
    }

    fn patience_left(&self, least: LeastRate) -> Duration {
        let millis = self.bytes.saturating_mul(1000) / u64::from(least.bytes_per_second.max(1));
        let earned = Duration::from_millis(millis);
        (least.grace.saturating_add(earned)).saturating_sub(self.waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_earns_time_and_waiting_takes_it() {
        let least = LeastRate {
            bytes_per_second: 100,
            grace: Duration::from_secs(5),
        };
        let mut pace = Pace::default();
        assert_eq!(pace.patience_left(least), Duration::from_secs(5));
        pace.bytes = 1000;
        assert_eq!(pace.patience_left(least), Duration::from_secs(15));
        pace.waited = Duration::from_secs(16);
        assert_eq!(pace.patience_left(least), Duration::ZERO);
    }
}
