//! Read and write buffers that go round within a worker: a connection takes one when there is
//! something to read and gives it back before it idles.
//!
//! Not here: who may hold how many; a connection holds at most one for each direction.

use std::cell::RefCell;

use bytes::BytesMut;

use super::budget::{Budget, LargeGuard};

/// What a fresh buffer holds: a head with its usual headers and a small body.
pub(super) const SMALL: usize = 8 * 1024;
/// What a long body is read with.
pub(super) const LARGE: usize = 64 * 1024;
/// Buffers kept for the next taker; more are freed.
const KEPT: usize = 128;

#[derive(Default)]
pub(super) struct Buffers {
    free: RefCell<Vec<BytesMut>>,
    budget: Budget,
}

impl Buffers {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            free: RefCell::default(),
            budget,
        }
    }

    /// Leave to use a buffer of `LARGE`, where there is memory for one more.
    pub(super) fn take_large(&self) -> Option<LargeGuard> {
        self.budget.take_large()
    }

    pub(super) fn take(&self) -> BytesMut {
        self.free
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| BytesMut::with_capacity(SMALL))
    }

    /// Keeps it unless somebody still holds a part of it, or it has grown.
    pub(super) fn give(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT && buffer.try_reclaim(SMALL) && buffer.capacity() <= 2 * SMALL {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_round() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.extend_from_slice(b"head and body");
        let at = buffer.as_ptr();
        drop(buffer.split_to(4).freeze());
        buffers.give(buffer);
        let again = buffers.take();
        assert!(again.is_empty() && again.capacity() >= SMALL);
        assert_eq!(again.as_ptr(), at, "the same memory");
    }

    #[test]
    fn shared_and_grown_buffers_are_not_kept() {
        let buffers = Buffers::default();
        let mut shared = buffers.take();
        shared.extend_from_slice(b"held");
        let held = shared.split_to(4).freeze();
        buffers.give(shared);
        buffers.give(BytesMut::with_capacity(LARGE));
        assert!(buffers.free.borrow().is_empty());
        assert_eq!(&held[..], b"held");
    }
}
