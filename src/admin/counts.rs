//! What the supervisor itself counts, in its own row of the shared segment, so that these numbers
//! too outlive it when its binary is replaced.

use std::time::Duration;

use super::status::{ReloadResult, RestartReason};
use crate::model::health::{CheckResult, Verdict};
use crate::model::resolved::LookupResult;
use crate::shm::recorder::Recorder;
use crate::shm::series::{Family, Key};

#[derive(Debug)]
pub struct Counts {
    recorder: Recorder,
}

impl Counts {
    /// All series exist from the start: an alert on an increase needs the zero before it.
    pub fn new(recorder: Recorder) -> Counts {
        for result in ReloadResult::ALL {
            recorder.counter(reload_key(result));
        }
        for reason in RestartReason::ALL {
            recorder.counter(restart_key(reason));
        }
        for result in LookupResult::ALL {
            recorder.counter(lookup_key(result));
        }
        recorder.histogram(apply_key());
        Counts { recorder }
    }

    /// A reload is over; `took` is from the event to the last worker's commit.
    pub fn reload(&self, result: ReloadResult, took: Duration) {
        self.recorder.counter(reload_key(result)).add(1);
        if result != ReloadResult::Rejected {
            self.recorder.histogram(apply_key()).record(took);
        }
    }

    /// A name has been looked up.
    pub fn lookup(&self, result: LookupResult) {
        self.recorder.counter(lookup_key(result)).add(1);
    }

    /// An endpoint of the upstream with this id has been checked.
    pub fn health_check(&self, upstream: u32, result: CheckResult) {
        let key = Key::new(Family::HealthChecks, upstream, result as u32, 0);
        self.recorder.counter(key).add(1);
    }

    /// What checks say of an endpoint of the upstream is something else than before.
    pub fn health_change(&self, upstream: u32, to: Verdict) {
        let key = Key::new(Family::HealthChanges, upstream, to as u32, 0);
        self.recorder.counter(key).add(1);
    }

    pub fn restart(&self, reason: RestartReason) {
        self.recorder.counter(restart_key(reason)).add(1);
    }
}

fn lookup_key(result: LookupResult) -> Key {
    Key::new(Family::Lookups, result as u32, 0, 0)
}

fn reload_key(result: ReloadResult) -> Key {
    Key::new(Family::Reloads, result as u32, 0, 0)
}

fn restart_key(reason: RestartReason) -> Key {
    Key::new(Family::Restarts, reason as u32, 0, 0)
}

fn apply_key() -> Key {
    Key::new(Family::ApplyDuration, 0, 0, 0)
}
