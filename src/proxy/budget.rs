//! What connections and requests may take of a worker's memory, as counts: so many connections, so
//! many requests at once, so many large buffers and wide windows. Beyond them load is shed, or waits at its client, before
//! the kernel kills.
//!
//! Not here: how much memory there is; the supervisor divides the container's among the workers.

use std::cell::Cell;
use std::rc::Rc;

const KIB: u64 = 1024;
/// Of a connection that waits, or whose first bytes have come; the kernel's part of it too.
const CONNECTION: u64 = 10 * KIB;
/// Of a request under way: the state of it, a connection to an upstream, a small buffer each way.
const EXCHANGE: u64 = 32 * KIB;
/// Of a buffer that long bodies are read with.
const LARGE_BUFFER: u64 = 80 * KIB;

/// However little memory there is, a few are always served.
const LEAST: u32 = 16;

#[derive(Clone, Default)]
pub(super) struct Budget(Rc<Counts>);

#[derive(Default)]
struct Counts {
    bounds: Cell<Option<Bounds>>,
    exchanges: Cell<u32>,
    large_buffers: Cell<u32>,
    /// Bytes.
    windows: Cell<u64>,
    /// In connections.
    weights: Cell<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    connections: u32,
    exchanges: u32,
    large_buffers: u32,
    windows: u64,
}

/// One request under way.
pub(super) struct ExchangeGuard(Budget);

/// One large buffer.
pub(super) struct LargeGuard(Budget);

/// What a client may send at once of all its bodies, beyond the least that HTTP/2 has.
pub(super) struct WindowGuard {
    budget: Budget,
    bytes: u64,
}

/// What a connection takes beyond any other, as so many others.
pub(super) struct Weight {
    budget: Budget,
    connections: u32,
}

impl Budget {
    /// In bytes; `None` is as much as there is.
    pub(super) fn set(&self, memory: Option<u64>) {
        self.0.bounds.set(memory.map(Bounds::within));
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.0.bounds.get().is_some()
    }

    /// How many there may be, beside what those that are there weigh.
    pub(super) fn connections(&self) -> u32 {
        let weights = self.0.weights.get();
        self.0.bounds.get().map_or(u32::MAX, |b| {
            b.connections.saturating_sub(weights).max(LEAST)
        })
    }

    pub(super) fn weigh(&self) -> Weight {
        Weight {
            budget: self.clone(),
            connections: 0,
        }
    }

    pub(super) fn begin_exchange(&self) -> Option<ExchangeGuard> {
        let most = self.0.bounds.get().map_or(u32::MAX, |b| b.exchanges);
        take_one(&self.0.exchanges, most).then(|| ExchangeGuard(self.clone()))
    }

    /// Of a request whose head has not come to its end: half of the room is kept for those whose has.
    pub(super) fn begin_head(&self) -> Option<ExchangeGuard> {
        let most = self.0.bounds.get().map_or(u32::MAX, |b| b.exchanges / 2);
        take_one(&self.0.exchanges, most).then(|| ExchangeGuard(self.clone()))
    }

    pub(super) fn take_large(&self) -> Option<LargeGuard> {
        let most = self.0.bounds.get().map_or(u32::MAX, |b| b.large_buffers);
        take_one(&self.0.large_buffers, most).then(|| LargeGuard(self.clone()))
    }

    pub(super) fn take_window(&self, bytes: u64) -> Option<WindowGuard> {
        let most = self.0.bounds.get().map_or(u64::MAX, |b| b.windows);
        let taken = self.0.windows.get().saturating_add(bytes);
        if taken > most {
            return None;
        }
        self.0.windows.set(taken);
        Some(WindowGuard {
            budget: self.clone(),
            bytes,
        })
    }
}

fn take_one(taken: &Cell<u32>, most: u32) -> bool {
    let free = taken.get() < most;
    taken.set(taken.get() + u32::from(free));
    free
}

fn give_back(taken: &Cell<u32>) {
    taken.set(taken.get().saturating_sub(1));
}

impl Bounds {
    /// A half for connections, a quarter for requests, an eighth each for large buffers and windows.
    fn within(memory: u64) -> Bounds {
        let count = |part: u64, each: u64| {
            let count = memory / part / each;
            u32::try_from(count).unwrap_or(u32::MAX).max(LEAST)
        };
        Bounds {
            connections: count(2, CONNECTION),
            exchanges: count(4, EXCHANGE),
            large_buffers: count(8, LARGE_BUFFER),
            windows: memory / 8,
        }
    }
}

impl Drop for ExchangeGuard {
    fn drop(&mut self) {
        give_back(&self.0.0.exchanges);
    }
}

impl Drop for LargeGuard {
    fn drop(&mut self) {
        give_back(&self.0.0.large_buffers);
    }
}

impl Weight {
    pub(super) fn set(&mut self, connections: u32) {
        let all = &self.budget.0.weights;
        let others = all.get().saturating_sub(self.connections);
        all.set(others.saturating_add(connections));
        self.connections = connections;
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Drop for WindowGuard {
    fn drop(&mut self) {
        let taken = &self.budget.0.windows;
        taken.set(taken.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_at_once_fits() {
        for memory in [16 << 20, 64 << 20, 1 << 30] {
            let bounds = Bounds::within(memory);
            let connections = u64::from(bounds.connections) * CONNECTION;
            let exchanges = u64::from(bounds.exchanges) * EXCHANGE;
            let buffers = u64::from(bounds.large_buffers) * LARGE_BUFFER;
            let taken = connections + exchanges + buffers + bounds.windows;
            assert!(taken <= memory, "{taken} of {memory}");
            assert!(taken > memory / 2, "{taken} of {memory}");
        }
    }

    #[test]
    fn a_few_are_served_with_no_memory_at_all() {
        let bounds = Bounds::within(0);
        assert_eq!(bounds.connections, LEAST);
        assert_eq!(bounds.exchanges, LEAST);
    }

    #[test]
    fn what_a_connection_weighs_leaves_room_for_fewer() {
        let budget = Budget::default();
        let (mut one, mut other) = (budget.weigh(), budget.weigh());
        one.set(33);
        assert_eq!(budget.connections(), u32::MAX);
        budget.set(Some(2 << 20));
        let all = Bounds::within(2 << 20).connections;
        assert_eq!(budget.connections(), all - 33);
        other.set(5);
        one.set(9);
        assert_eq!(budget.connections(), all - 14);
        drop(one);
        assert_eq!(budget.connections(), all - 5);
        other.set(1_000);
        assert_eq!(budget.connections(), LEAST);
    }

    #[test]
    fn windows_are_counted_in_bytes() {
        let budget = Budget::default();
        assert!(!budget.is_bounded());
        budget.set(Some(24 << 20));
        assert!(budget.is_bounded());
        let one = budget.take_window(1 << 20);
        let two = budget.take_window(2 << 20);
        assert!(one.is_some() && two.is_some());
        assert!(budget.take_window(1).is_none(), "an eighth is three");
        drop(one);
        assert!(budget.take_window((1 << 20) + 1).is_none());
        assert!(budget.take_window(1 << 20).is_some());
    }

    #[test]
    fn what_is_over_is_given_back() {
        let budget = Budget::default();
        budget.set(Some(0));
        let mut all: Vec<_> = (0..LEAST).map_while(|_| budget.begin_exchange()).collect();
        assert_eq!(all.len(), LEAST as usize);
        assert!(budget.begin_exchange().is_none());
        all.pop();
        assert!(budget.begin_exchange().is_some());
        assert!(budget.begin_head().is_none(), "more than half is taken");
        all.truncate(LEAST as usize / 2 - 1);
        assert!(budget.begin_head().is_some());
        budget.set(None);
        assert!(budget.take_large().is_some());
        assert!(budget.take_window(u64::from(u32::MAX)).is_some());
        assert_eq!(budget.connections(), u32::MAX);
    }
}
