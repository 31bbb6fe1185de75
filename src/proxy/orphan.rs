//! Long-lived answers whose rule or upstream a reload has removed. With `orphanedStreams: drain` they
//! are broken off, spread over a window, so that not all of their clients come back at once.
//!
//! Not here: requests whose answer has not begun; they end soon by themselves.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::Proxy;
use super::active::Active;
use super::observe::Observation;
use crate::model::config::Config;

#[derive(Default)]
pub(super) struct Orphans {
    /// Generations that may still have requests, to know what theirs were called.
    past: RefCell<Vec<Weak<Active>>>,
    kept: RefCell<Kept>,
    /// Counts how often streams had to look whether they are kept.
    looks: Cell<u32>,
    /// Counts those that were condemned, for spreading their ends.
    condemned: Cell<u32>,
}

/// What the newest generation has.
#[derive(Default)]
struct Kept {
    rules: HashSet<String>,
    upstreams: HashSet<String>,
    window: Duration,
}

/// What an exchange runs on: a generation's number, and places in it.
#[derive(Clone, Copy)]
pub(super) struct Ground {
    pub(super) generation: u64,
    pub(super) route: Option<u32>,
    pub(super) upstream: Option<u32>,
}

impl Ground {
    pub(super) fn of(seen: &Observation) -> Self {
        Self {
            generation: seen.generation,
            route: seen.route,
            upstream: seen.upstream,
        }
    }
}

impl Orphans {
    /// A generation is in place.
    pub(super) fn note(&self, active: &Arc<Active>) {
        let mut past = self.past.borrow_mut();
        past.retain(|one| one.strong_count() > 0);
        past.push(Arc::downgrade(active));
    }

    fn look(&self, config: &Config, window: Duration) {
        self.kept.replace(Kept {
            rules: config.rules.iter().map(|rule| rule.name.clone()).collect(),
            upstreams: config
                .upstreams
                .iter()
                .map(|upstream| upstream.id.clone())
                .collect(),
            window,
        });
        self.looks.set(self.looks.get().wrapping_add(1));
    }

    fn is_orphan(&self, ground: Ground) -> bool {
        let past = self.past.borrow();
        let mut alive = past.iter().filter_map(Weak::upgrade);
        let Some(active) = alive.find(|active| active.snapshot.generation == ground.generation)
        else {
            return false;
        };
        let (snapshot, kept) = (&active.snapshot, self.kept.borrow());
        let route = ground
            .route
            .and_then(|at| snapshot.routes.routes().get(at as usize));
        let upstream = ground
            .upstream
            .and_then(|at| snapshot.upstreams.get(at as usize));
        route.is_some_and(|route| !kept.rules.contains(&*route.name))
            || upstream.is_some_and(|upstream| !kept.upstreams.contains(&*upstream.id))
    }

    fn sentence(&self) -> Pin<Box<Sleep>> {
        let place = self.condemned.get().wrapping_add(1);
        self.condemned.set(place);
        Box::pin(sleep(self.kept.borrow().window.mul_f64(part(place))))
    }
}

/// Where in the window the nth of the condemned goes: in the middle of the longest stretch in which
/// none goes yet, so that they are spread over all of it however many there are.
fn part(place: u32) -> f64 {
    f64::from(place.reverse_bits()) / (f64::from(u32::MAX) + 1.0)
}

impl Proxy {
    /// Answers under way whose rule or upstream `config` lacks end within the window.
    pub fn drain_orphans(&self, config: &Config, window: Duration) {
        self.orphans.look(config, window);
        self.timers.ring_all();
    }
}

/// Answers to the end; `None` when it is broken off as an orphan.
pub(super) async fn unless_orphaned<T>(
    orphans: &Orphans,
    ground: Ground,
    answer: impl Future<Output = T>,
) -> Option<T> {
    let mut answer = pin!(answer);
    let (mut looks, mut sentence) = (orphans.looks.get(), None);
    poll_fn(|cx| {
        let now = orphans.looks.get();
        if now != looks {
            looks = now;
            if sentence.is_none() && orphans.is_orphan(ground) {
                sentence = Some(orphans.sentence());
            }
        }
        let over = sentence
            .as_mut()
            .is_some_and(|end| end.as_mut().poll(cx).is_ready());
        if over {
            Poll::Ready(None)
        } else {
            answer.as_mut().poll(cx).map(Some)
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn few_and_many_ends_are_spread_over_the_whole_window() {
        assert_eq!([1, 2, 3].map(part), [0.5, 0.25, 0.75]);
        for count in [10, 64, 1000] {
            let mut parts: Vec<f64> = (1..=count).map(part).collect();
            parts.extend([0.0, 1.0]);
            parts.sort_by(f64::total_cmp);
            let longest = parts.windows(2).map(|two| two[1] - two[0]);
            let longest = longest.fold(0.0, f64::max);
            assert!(longest <= 2.0 / f64::from(count), "{longest} of {count}");
        }
    }
}
