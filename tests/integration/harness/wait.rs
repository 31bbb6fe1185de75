//! Waiting for facts. A test never sleeps and hopes: it names a fact and gives it a deadline, long
//! enough for a busy machine, which only a failing test ever reaches.
//!
//! The one place in tests/ that sleeps (tests/tidy.rs holds the others to that).

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long any single fact may take to become true.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks at a fact that cannot wake us by itself.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks at `fact` until it gives a value; panics with `what` when the deadline has passed.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = fact() {
            return value;
        }
        assert!(
            started.elapsed() < DEADLINE,
            "not true within {DEADLINE:?}: {what}"
        );
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Closed until the test opens it; an upstream waits behind it where others would sleep.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn closed() -> Gate {
        Gate::default()
    }

    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Returns when the gate is open, or after the deadline: by then the test that should have
    /// opened it has failed, and its upstream's thread need not stay behind.
    pub(crate) fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        let _waited = self
            .0
            .1
            .wait_timeout_while(open, DEADLINE, |open| !*open)
            .unwrap();
    }
}
