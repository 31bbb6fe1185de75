//! Memory that was freed goes back to the system. Reading a configuration of ten thousand hosts takes
//! several times the memory that is kept of it, and a worker that changes over has two of them for a
//! moment, in small pieces among those that stay, which the allocator would hold on to for the rest of the
//! process's life (docs/adr/0028).
//!
//! Not here: when that is (the two processes).
#![expect(
    unsafe_code,
    reason = "the C library's calls have no safe form; they take no pointer and keep none"
)]

#[cfg(target_env = "gnu")]
use std::thread;

/// The supervisor's helper threads share one heap. Each would get one of its own, and keep a little of each reload in
/// it: what thousands of them leave behind would grow with the number of threads there ever were.
#[cfg(target_env = "gnu")]
pub(crate) fn share_one_heap() {
    // SAFETY: it sets a number, before there is any other thread.
    let set = unsafe { nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1) };
    if set == 0 {
        tracing::debug!("threads have heaps of their own");
    }
}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn share_one_heap() {}

/// The C library keeps a few freed blocks of each size for the thread that freed them, and neither joins
/// nor gives back what they hold apart. It does both with those of a thread that ends.
///
/// To be called on the loop's thread, whose own blocks take microseconds to take out. The rest takes
/// milliseconds where there is much, and is done beside it.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    const SIZES: std::ops::RangeInclusive<usize> = 24..=1032;
    const STEP: usize = 16;
    const OF_EACH: usize = 7;
    let all = |size| (0..OF_EACH).map(move |_| Vec::<u8>::with_capacity(size));
    let blocks: Vec<Vec<u8>> = SIZES.step_by(STEP).flat_map(all).collect();
    let free = thread::Builder::new().spawn(move || drop(blocks));
    let trim = || {
        // A thread that could not be started has freed them here, where they stay for another time.
        let _freed = free.map(thread::JoinHandle::join);
        // SAFETY: it may be called at any time, from any thread, and moves nothing that is in use.
        unsafe { nix::libc::malloc_trim(0) };
    };
    if let Err(error) = thread::Builder::new().spawn(trim) {
        tracing::debug!(%error, "freed memory is kept");
    }
}

/// Other C libraries give it back by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}
