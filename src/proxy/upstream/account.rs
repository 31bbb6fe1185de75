//! What one worker remembers of an upstream's requests: how many there were, how many were answered
//! and sent again in the last ten seconds, and who waits. Outlives a generation.
//!
//! Not here: the arithmetic (`model::retry::budget`).

use std::cell::RefCell;
use std::rc::Rc;

use super::queue::Queue;
use crate::model::config::traffic::RetryBudget;
use crate::model::retry::Failure;
use crate::model::retry::budget::Window;
use crate::proxy::timers::Tick;

#[derive(Debug, Default)]
pub(in crate::proxy) struct Account {
    window: RefCell<Window>,
    queue: Rc<Queue>,
}

impl Account {
    pub(in crate::proxy) fn request(&self, now: Tick) {
        self.window.borrow_mut().request(now.seconds());
    }

    pub(in crate::proxy) fn answer(&self, now: Tick) {
        self.window.borrow_mut().answer(now.seconds());
    }

    /// Takes one retry out of the budget, if there is one in it.
    pub(in crate::proxy) fn may_retry(
        &self,
        failure: Failure,
        budget: RetryBudget,
        now: Tick,
    ) -> bool {
        let mut window = self.window.borrow_mut();
        window.take(failure, budget, now.seconds())
    }

    pub(in crate::proxy) fn queue(&self) -> &Rc<Queue> {
        &self.queue
    }
}
