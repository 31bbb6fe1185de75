//! When an endpoint that takes live traffic is to be left out for a while: too many errors in a row,
//! or too large a share of errors.

use std::time::Duration;

use super::{Experience, Millis, Trust};
use crate::model::config::balance::{ErrorRate, Outliers};

/// Requests and errors of one interval, in one word of the shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// Which interval, counted from the clock's beginning and cut to its bits.
    number: u32,
    requests: u32,
    errors: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Well,
    Error,
}

const COUNT_BITS: u32 = 20;
const COUNT_END: u64 = 1 << COUNT_BITS;
const NUMBER_END: u64 = 1 << 24;

impl Window {
    pub fn from_word(word: u64) -> Window {
        Window {
            number: (word >> (2 * COUNT_BITS)) as u32,
            requests: (word >> COUNT_BITS & (COUNT_END - 1)) as u32,
            errors: (word & (COUNT_END - 1)) as u32,
        }
    }

    pub fn word(self) -> u64 {
        let counts = u64::from(self.requests) << COUNT_BITS | u64::from(self.errors);
        u64::from(self.number) << (2 * COUNT_BITS) | counts
    }

    /// With one more request; a new interval begins at nothing.
    #[must_use]
    pub fn with(self, outcome: Outcome, rate: ErrorRate, now: Millis) -> Window {
        let interval = u64::try_from(rate.interval.as_millis()).unwrap_or(u64::MAX);
        let number = (now.0 / interval.max(1) % NUMBER_END) as u32;
        let before = match self.number == number {
            true => self,
            false => Window {
                number,
                ..Window::default()
            },
        };
        if u64::from(before.requests) + 1 >= COUNT_END {
            return before;
        }
        Window {
            requests: before.requests + 1,
            errors: before.errors + u32::from(outcome == Outcome::Error),
            ..before
        }
    }

    pub fn is_too_much(self, rate: ErrorRate) -> bool {
        let share = u64::from(self.errors) * 100;
        self.requests >= rate.min_requests
            && share >= u64::from(rate.percent) * u64::from(self.requests)
    }
}

impl Outliers {
    /// Whether so many errors in a row are too many. One that is on trial may have none.
    pub fn is_too_many(&self, seen: Experience, now: Millis) -> bool {
        let most = self.consecutive_errors;
        let in_a_row = most.is_some_and(|most| seen.streak >= most);
        in_a_row || (seen.streak > 0 && seen.is_on_trial(now))
    }

    /// How many of so many endpoints may be out at once. A single one is never left out, and of
    /// several at least one may be.
    pub fn most_out(&self, endpoints: usize) -> usize {
        match endpoints {
            0 | 1 => 0,
            _ => (endpoints * self.max_percent as usize / 100).max(1),
        }
    }

    /// Left out from now on: each time for longer, unless it has been well since. `None` where it is
    /// out already.
    pub fn ejected(&self, seen: Experience, now: Millis) -> Option<Experience> {
        if seen.is_out(now) {
            return None;
        }
        let ejections = self.remembered(seen, now).saturating_add(1);
        Some(Experience {
            until: now.after(self.time(ejections)),
            ejections,
            streak: 0,
            trust: Trust::Trial,
        })
    }

    /// An ejection is forgotten for each `base_time` that it has been well since the last one.
    fn remembered(&self, seen: Experience, now: Millis) -> u8 {
        let base = self.base_time.as_millis().max(1);
        let forgotten = now.since(seen.until).as_millis() / base;
        seen.ejections
            .saturating_sub(u8::try_from(forgotten).unwrap_or(u8::MAX))
    }

    fn time(&self, ejections: u8) -> Duration {
        let time = self.base_time.saturating_mul(u32::from(ejections));
        time.min(self.max_time.max(self.base_time))
    }
}

#[cfg(test)]
mod tests;
