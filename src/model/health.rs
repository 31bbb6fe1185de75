//! What is known of an endpoint's health, as it stands in the shared memory: what active checks say,
//! and what live traffic has shown. Two words with one writer's side each: the supervisor's checks,
//! and the workers' experience.
//!
//! Pure: time is an argument. Not here: who takes what from it (`proxy`), and the checks themselves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub mod outlier;
#[cfg(test)]
mod tests;

/// Milliseconds on the monotonic clock that all processes of a machine share.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Millis(pub u64);

/// What everybody thinks of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nobody has looked yet: gets requests.
    Unknown,
    Healthy,
    /// Active checks say so.
    Unhealthy,
    /// Failed too often in live traffic; comes back by itself.
    Ejected,
    /// It is back, gets one request at a time, and the rest when one of them goes well.
    Trial,
    /// Its name has no address yet.
    Unresolved,
}

/// What active checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    pub verdict: Verdict,
    /// Since when; of an endpoint that nobody has checked, since when it is known.
    pub since: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Unknown,
    Healthy,
    Unhealthy,
}

impl Verdict {
    /// In the order of their numbers.
    pub const ALL: [Verdict; 3] = [Verdict::Unknown, Verdict::Healthy, Verdict::Unhealthy];

    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Unknown => "unknown",
            Verdict::Healthy => "healthy",
            Verdict::Unhealthy => "unhealthy",
        }
    }
}

/// How one active check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckResult {
    Success,
    Failure,
}

impl CheckResult {
    pub const ALL: [&'static str; 2] = ["success", "failure"];
}

/// What live traffic has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Experience {
    /// Kept out until then. In the past, it is the time of the return; 0 where it never was out.
    pub until: Millis,
    /// How often it was ejected lately: each time is longer.
    pub ejections: u8,
    /// Errors since the last request that went well.
    pub streak: u16,
    pub trust: Trust,
}

/// How an endpoint that was ejected gets back among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    #[default]
    Full,
    /// It has answered nothing since: it gets one request, and the rest when that goes well.
    Trial,
}

/// Seventeen years.
const UNTIL_BITS: u32 = 39;
const UNTIL_END: u64 = 1 << UNTIL_BITS;

impl Millis {
    pub fn after(self, wait: Duration) -> Millis {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Millis(self.0.saturating_add(wait))
    }

    pub fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Health {
    pub fn of(checked: Checked, experience: Experience, now: Millis) -> Health {
        match checked.verdict {
            Verdict::Unhealthy => Health::Unhealthy,
            _ if experience.is_out(now) => Health::Ejected,
            _ if experience.trust == Trust::Trial => Health::Trial,
            Verdict::Healthy => Health::Healthy,
            Verdict::Unknown => Health::Unknown,
        }
    }

    pub fn takes_traffic(self) -> bool {
        matches!(self, Health::Unknown | Health::Healthy)
    }
}

impl Checked {
    pub fn from_word(word: u64) -> Checked {
        Checked {
            verdict: match word & 0xff {
                1 => Verdict::Healthy,
                2 => Verdict::Unhealthy,
                _ => Verdict::Unknown,
            },
            since: Millis(word >> 8),
        }
    }

    pub fn word(self) -> u64 {
        self.since.0 << 8 | self.verdict as u64
    }
}

impl Experience {
    pub fn from_word(word: u64) -> Experience {
        Experience {
            until: Millis(word >> 25),
            trust: match word >> 24 & 1 {
                0 => Trust::Full,
                _ => Trust::Trial,
            },
            ejections: (word >> 16 & 0xff) as u8,
            streak: (word & 0xffff) as u16,
        }
    }

    pub fn word(self) -> u64 {
        let until = self.until.0.min(UNTIL_END - 1);
        let trial = u64::from(self.trust == Trust::Trial);
        until << 25 | trial << 24 | u64::from(self.ejections) << 16 | u64::from(self.streak)
    }

    pub fn is_out(self, now: Millis) -> bool {
        self.until > now
    }

    /// Whether it is back, and nobody knows yet how it does.
    pub fn is_on_trial(self, now: Millis) -> bool {
        self.trust == Trust::Trial && !self.is_out(now)
    }

    /// After an answer that was good. One to a request from before an ejection says nothing of what
    /// comes after it.
    #[must_use]
    pub fn after_answer(self, now: Millis) -> Experience {
        let trust = match self.is_out(now) {
            true => self.trust,
            false => Trust::Full,
        };
        Experience {
            streak: 0,
            trust,
            ..self
        }
    }

    /// Back before its time, because somebody has looked.
    #[must_use]
    pub fn back(self, now: Millis) -> Experience {
        let until = self.until.min(now);
        Experience { until, ..self }
    }
}
