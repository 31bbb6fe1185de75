//! How many handshakes may be under way at once. One more than that ends the oldest: an honest client
//! takes a few round trips, and one that never finishes must not keep others waiting.
//!
//! Not here: how long a single one may take.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

#[derive(Default)]
pub(in crate::proxy) struct Turns(Rc<State>);

#[derive(Default)]
struct State {
    most: Cell<usize>,
    last: Cell<u64>,
    /// By number, so the first is the oldest.
    under_way: RefCell<BTreeMap<u64, Waker>>,
}

/// One handshake under way.
pub(in crate::proxy) struct Turn {
    state: Rc<State>,
    number: u64,
}

impl Turns {
    pub(in crate::proxy) fn set(&self, most: usize) {
        self.0.most.set(most);
    }

    pub(in crate::proxy) fn take(&self) -> Turn {
        let number = self.0.last.get() + 1;
        self.0.last.set(number);
        let mut under_way = self.0.under_way.borrow_mut();
        let mut ended = Vec::new();
        while under_way.len() >= self.0.most.get().max(1) {
            ended.extend(under_way.pop_first().map(|(_, waker)| waker));
        }
        under_way.insert(number, Waker::noop().clone());
        drop(under_way);
        // Outside of the borrow: waking may run code of ours.
        ended.into_iter().for_each(Waker::wake);
        Turn {
            state: Rc::clone(&self.0),
            number,
        }
    }
}

impl Turn {
    /// Ready when it is over, because others want to begin.
    pub(in crate::proxy) fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.state.under_way.borrow_mut().get_mut(&self.number) {
            None => Poll::Ready(()),
            Some(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.state.under_way.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_ends_the_oldest() {
        let turns = Turns::default();
        turns.set(2);
        let mut nobody = Context::from_waker(Waker::noop());
        let mut is_over = |turn: &Turn| turn.poll_over(&mut nobody).is_ready();
        let (first, second) = (turns.take(), turns.take());
        assert!(!is_over(&first) && !is_over(&second));
        let third = turns.take();
        assert!(is_over(&first) && !is_over(&second) && !is_over(&third));
        drop(second);
        let fourth = turns.take();
        assert!(!is_over(&third) && !is_over(&fourth), "there was room");
        drop((first, third, fourth));
        assert!(turns.0.under_way.borrow().is_empty());
    }
}
