//! Coarse timers for a worker's connections: one alarm per connection, armed lazily.
//!
//! A deadline that is never waited for costs nothing, and one that is already covered by an earlier
//! alarm costs a comparison: the alarm rings too early, the task looks at its own deadline again and
//! goes back to sleep. So thousands of requests a second, each with its timeouts, arm a timer a few
//! times a minute.
//!
//! Not here: what happens when a deadline has passed; the one who waits decides.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::shm::health::{self, Millis};

/// Two sweeps are at least this far apart, so a deadline is kept to within this.
const GRAIN: u64 = 10;
const NEVER: u64 = u64::MAX;

/// Milliseconds on the clock that all processes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u64);

impl Tick {
    pub(super) fn millis(self) -> Millis {
        Millis(self.0)
    }

    pub(super) fn seconds(self) -> u64 {
        self.0 / 1_000
    }

    /// No time where `earlier` is later.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    pub(super) fn after(self, wait: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(wait.as_millis()).unwrap_or(NEVER)),
        )
    }
}

pub(super) struct Timers {
    began: Instant,
    /// The same moment, in ticks.
    first: u64,
    /// What the clock said when it was last read.
    last: Cell<Tick>,
    entries: RefCell<Entries>,
    /// When the sweeper looks next.
    next: Cell<u64>,
    sweeper: RefCell<Option<Waker>>,
}

#[derive(Default)]
struct Entries {
    all: Vec<Entry>,
    free: Vec<u32>,
}

struct Entry {
    due: u64,
    waker: Option<Waker>,
}

/// One connection's alarm; its place is given back when it is dropped.
pub(super) struct Alarm {
    timers: Rc<Timers>,
    place: u32,
}

impl Timers {
    pub(super) fn new() -> Rc<Self> {
        let first = health::now().0;
        Rc::new(Self {
            began: Instant::now(),
            first,
            last: Cell::new(Tick(first)),
            entries: RefCell::default(),
            next: Cell::new(NEVER),
            sweeper: RefCell::new(None),
        })
    }

    pub(super) fn now(&self) -> Tick {
        let now = Tick(health::now().0);
        self.last.set(now);
        now
    }

    /// Right to about a second, as something reads the clock that often.
    pub(super) fn about_now(&self) -> Tick {
        self.last.get()
    }

    pub(super) fn alarm(self: &Rc<Self>) -> Alarm {
        let mut entries = self.entries.borrow_mut();
        let place = entries.free.pop().unwrap_or_else(|| {
            entries.all.push(Entry {
                due: NEVER,
                waker: None,
            });
            u32::try_from(entries.all.len() - 1).unwrap_or(u32::MAX)
        });
        Alarm {
            timers: Rc::clone(self),
            place,
        }
    }

    /// Wakes every connection, whatever its deadline: something changed that all must look at.
    pub(super) fn ring_all(&self) {
        self.ring(NEVER);
    }

    /// Rings what is due, for as long as the worker lives.
    pub(super) async fn run(self: Rc<Self>) {
        let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
        std::future::poll_fn(|cx| {
            self.sweeper.replace(Some(cx.waker().clone()));
            while self.next.get() != NEVER {
                let next = self.next.get().saturating_sub(self.first);
                sleep
                    .as_mut()
                    .reset(self.began + Duration::from_millis(next));
                if sleep.as_mut().poll(cx).is_pending() {
                    break;
                }
                let now = self.now().0;
                self.ring(now);
                self.plan(now);
            }
            Poll::<()>::Pending
        })
        .await;
    }

    fn ring(&self, until: u64) {
        let mut due: Vec<Waker> = Vec::new();
        for entry in &mut self.entries.borrow_mut().all {
            if entry.due <= until {
                entry.due = NEVER;
                due.extend(entry.waker.clone());
            }
        }
        // Outside of the borrow: waking may run code of ours.
        due.into_iter().for_each(Waker::wake);
    }

    fn plan(&self, now: u64) {
        let first = self
            .entries
            .borrow()
            .all
            .iter()
            .map(|entry| entry.due)
            .min();
        self.next.set(match first {
            None | Some(NEVER) => NEVER,
            Some(due) => due.max(now.saturating_add(GRAIN)),
        });
    }

    fn arm(&self, place: u32, due: u64, waker: &Waker) {
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.all.get_mut(place as usize) else {
            return;
        };
        if entry
            .waker
            .as_ref()
            .is_none_or(|known| !known.will_wake(waker))
        {
            entry.waker = Some(waker.clone());
        }
        entry.due = entry.due.min(due);
        drop(entries);
        if due < self.next.get() {
            self.next.set(due);
            if let Some(sweeper) = &*self.sweeper.borrow() {
                sweeper.wake_by_ref();
            }
        }
    }

    fn give_back(&self, place: u32) {
        let mut entries = self.entries.borrow_mut();
        if let Some(entry) = entries.all.get_mut(place as usize) {
            *entry = Entry {
                due: NEVER,
                waker: None,
            };
            entries.free.push(place);
        }
    }
}

impl Alarm {
    pub(super) fn now(&self) -> Tick {
        self.timers.now()
    }

    /// Right to about a second, for a little less than `now` costs.
    pub(super) fn about_now(&self) -> Tick {
        self.timers.about_now()
    }

    /// The task that is woken for whatever happens here, from now on.
    pub(super) fn attend(&self, cx: &mut Context<'_>) {
        self.timers.arm(self.place, NEVER, cx.waker());
    }

    /// Ready once `due` has passed; until then the task is woken for it, and perhaps before.
    pub(super) fn poll(&self, cx: &mut Context<'_>, due: Tick) -> Poll<()> {
        if due <= self.now() {
            return Poll::Ready(());
        }
        self.arm(cx, due);
        Poll::Pending
    }

    fn arm(&self, cx: &mut Context<'_>, due: Tick) {
        self.timers.arm(self.place, due.0, cx.waker());
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.timers.give_back(self.place);
    }
}

/// Does `work` for as long as `due` has not passed; `None` when it has. The work is pinned by the
/// caller, so that it is not moved, and dropped there.
pub(super) async fn before<T>(
    due: Option<Tick>,
    alarm: &Alarm,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let Some(due) = due else {
        return Some(work.await);
    };
    std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => alarm.poll(cx, due).map(|()| None),
    })
    .await
}

/// A bound on one wait: it starts to run when there is nothing to do but wait, and starts anew with
/// every piece of progress. It knows when it began, so that the bound may change while it runs.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<Tick>);

impl Patience {
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        alarm: &Alarm,
        bound: Duration,
    ) -> Poll<()> {
        match self.0 {
            Some(since) => alarm.poll(cx, since.after(bound)),
            None => {
                let since = alarm.now();
                self.0 = Some(since);
                alarm.arm(cx, since.after(bound));
                Poll::Pending
            }
        }
    }

    pub(super) fn renew(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn with_timers<T>(test: impl AsyncFnOnce(Rc<Timers>) -> T) -> T {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let timers = Timers::new();
                let sweeper = tokio::task::spawn_local(Rc::clone(&timers).run());
                let result = test(timers).await;
                sweeper.abort();
                result
            })
            .await
    }

    #[tokio::test]
    async fn rings_when_due_and_not_before() {
        with_timers(async |timers| {
            let alarm = timers.alarm();
            let due = timers.now().after(Duration::from_millis(300));
            std::future::poll_fn(|cx| alarm.poll(cx, due)).await;
            assert!(timers.now() >= due);
        })
        .await;
    }

    #[tokio::test]
    async fn a_shorter_deadline_after_a_longer_one_is_kept() {
        with_timers(async |timers| {
            let (long, short) = (timers.alarm(), timers.alarm());
            let far = timers.now().after(Duration::from_secs(3600));
            let near = timers.now().after(Duration::from_millis(100));
            std::future::poll_fn(|cx| {
                assert!(long.poll(cx, far).is_pending());
                short.poll(cx, near)
            })
            .await;
            assert!(timers.now() < far);
        })
        .await;
    }

    #[tokio::test]
    async fn places_are_used_again() {
        let timers = Timers::new();
        for _ in 0..100 {
            drop(timers.alarm());
        }
        assert_eq!(timers.entries.borrow().all.len(), 1);
    }

    #[tokio::test]
    async fn ring_all_wakes_a_far_deadline() {
        with_timers(async |timers| {
            let alarm = timers.alarm();
            let far = timers.now().after(Duration::from_secs(3600));
            let rung = Rc::new(Cell::new(false));
            let waiter = {
                let rung = Rc::clone(&rung);
                tokio::task::spawn_local(std::future::poll_fn(move |cx| {
                    if rung.get() {
                        Poll::Ready(())
                    } else {
                        alarm.poll(cx, far)
                    }
                }))
            };
            tokio::task::yield_now().await;
            rung.set(true);
            timers.ring_all();
            waiter.await.unwrap();
            assert!(timers.now() < far);
        })
        .await;
    }
}
