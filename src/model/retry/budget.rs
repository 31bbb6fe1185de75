//! How much retries may add to an upstream's load: a share of the requests of the last ten seconds,
//! and a few beside that, so that an outage is never multiplied.
//!
//! A try that finds no connection has given no server anything to do. It is free while the upstream as
//! a whole answers; when it does not, more attempts to connect would be an outage's multiple too.
//! Not here: a clock; the second is an argument.

use super::Failure;
use crate::model::config::traffic::RetryBudget;

const SECONDS: usize = 10;

/// What happened to one upstream in the last ten seconds, as one worker saw it.
#[derive(Debug, Default)]
pub struct Window {
    slots: [Counts; SECONDS],
    sum: Counts,
    /// The second that is being counted.
    now: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    requests: u32,
    answers: u32,
    retries: u32,
}

impl Window {
    pub fn request(&mut self, now: u64) {
        self.add(now, |counts| &mut counts.requests);
    }

    /// A server has answered, whatever it said.
    pub fn answer(&mut self, now: u64) {
        self.add(now, |counts| &mut counts.answers);
    }

    /// Takes one retry out of the budget, if there is one in it.
    pub fn take(&mut self, failure: Failure, budget: RetryBudget, now: u64) -> bool {
        self.advance(now);
        if failure == Failure::Connect && self.answers_as_a_whole() {
            return true;
        }
        let share = u64::from(self.sum.requests) * u64::from(budget.percent) / 100;
        let least = u64::from(budget.min_per_second) * SECONDS as u64;
        let free = u64::from(self.sum.retries) < share + least;
        if free {
            self.add(now, |counts| &mut counts.retries);
        }
        free
    }

    /// At least every other request, those under way counted as unanswered.
    fn answers_as_a_whole(&self) -> bool {
        u64::from(self.sum.answers) * 2 >= u64::from(self.sum.requests).saturating_sub(FIRST)
    }

    fn add(&mut self, now: u64, field: impl Fn(&mut Counts) -> &mut u32) {
        self.advance(now);
        let place = place(self.now);
        if let Some(slot) = self.slots.get_mut(place) {
            *field(slot) = field(slot).saturating_add(1);
            *field(&mut self.sum) = field(&mut self.sum).saturating_add(1);
        }
    }

    /// Seconds that are ten seconds old are forgotten. A clock that goes back stands still.
    fn advance(&mut self, now: u64) {
        if now <= self.now {
            return;
        }
        let passed = (now - self.now).min(SECONDS as u64);
        for second in (now - passed + 1)..=now {
            if let Some(slot) = self.slots.get_mut(place(second)) {
                let old = std::mem::take(slot);
                self.sum.requests = self.sum.requests.saturating_sub(old.requests);
                self.sum.answers = self.sum.answers.saturating_sub(old.answers);
                self.sum.retries = self.sum.retries.saturating_sub(old.retries);
            }
        }
        self.now = now;
    }
}

/// So many requests may be under way before their answers are missed.
const FIRST: u64 = 100;

fn place(second: u64) -> usize {
    (second % SECONDS as u64) as usize
}
