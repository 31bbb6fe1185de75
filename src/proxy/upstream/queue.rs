//! Requests of one upstream that wait for their turn, first come, first served. A turn that ends wakes
//! the first; one that ends in another worker is found when the first looks again.
//!
//! Not here: when there is room (`admission`), and how long anybody waits.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};

#[derive(Debug, Default)]
pub(in crate::proxy) struct Queue {
    waiting: RefCell<VecDeque<(u64, Option<Waker>)>>,
    next: Cell<u64>,
}

/// A place in the queue, left by dropping it.
#[derive(Debug)]
pub(in crate::proxy) struct Spot {
    queue: Rc<Queue>,
    number: u64,
}

/// Somebody's turn: whoever waits is told of its end.
#[derive(Debug)]
pub(in crate::proxy) struct Turn(Rc<Queue>);

impl Queue {
    pub(in crate::proxy) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// At the end of the queue, unless `most` wait already.
    pub(in crate::proxy) fn join(self: &Rc<Self>, most: u32) -> Option<Spot> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= most as usize {
            return None;
        }
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        waiting.push_back((number, None));
        Some(Spot {
            queue: Rc::clone(self),
            number,
        })
    }

    pub(in crate::proxy) fn turn(self: &Rc<Self>) -> Turn {
        Turn(Rc::clone(self))
    }

    fn wake_first(&self) {
        let first = self.waiting.borrow();
        let waker = first.front().and_then(|(_, waker)| waker.clone());
        // Outside of the borrow: waking may run code of ours.
        drop(first);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Spot {
    pub(in crate::proxy) fn is_first(&self) -> bool {
        let waiting = self.queue.waiting.borrow();
        waiting
            .front()
            .is_some_and(|(number, _)| *number == self.number)
    }

    /// The task is woken when it may be its turn.
    pub(in crate::proxy) fn attend(&self, cx: &Context<'_>) {
        let mut waiting = self.queue.waiting.borrow_mut();
        let mine = waiting
            .iter_mut()
            .find(|(number, _)| *number == self.number);
        if let Some((_, waker)) = mine
            && waker
                .as_ref()
                .is_none_or(|known| !known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        let was_first = self.is_first();
        let mut waiting = self.queue.waiting.borrow_mut();
        waiting.retain(|(number, _)| *number != self.number);
        drop(waiting);
        if was_first {
            self.queue.wake_first();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.wake_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_come_first_served_and_no_more_than_the_bound() {
        let queue = Rc::new(Queue::default());
        let (one, two) = (queue.join(2).unwrap(), queue.join(2).unwrap());
        assert!(queue.join(2).is_none());
        assert!(one.is_first() && !two.is_first());
        drop(one);
        assert!(two.is_first());
        let three = queue.join(2).unwrap();
        assert!(!three.is_first());
        drop(two);
        drop(three);
        assert!(queue.is_empty());
        assert!(queue.join(0).is_none());
    }

    #[tokio::test]
    async fn the_end_of_a_turn_wakes_the_first_alone() {
        let queue = Rc::new(Queue::default());
        let turn = queue.turn();
        let woken = Rc::new(RefCell::new(Vec::new()));
        let local = tokio::task::LocalSet::new();
        for name in ["first", "second"] {
            let (spot, woken) = (queue.join(8).unwrap(), Rc::clone(&woken));
            local.spawn_local(async move {
                let mut polls = 0;
                std::future::poll_fn(|cx| {
                    spot.attend(cx);
                    polls += 1;
                    match polls {
                        1 => std::task::Poll::Pending,
                        _ => std::task::Poll::Ready(()),
                    }
                })
                .await;
                woken.borrow_mut().push(name);
                std::future::pending::<()>().await;
                drop(spot);
            });
        }
        local.run_until(tokio::task::yield_now()).await;
        assert!(woken.borrow().is_empty());
        drop(turn);
        local
            .run_until(async {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        assert_eq!(*woken.borrow(), ["first"]);
    }
}
