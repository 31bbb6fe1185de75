//! What stands in for `map` under Miri, which knows no memfd and no shared mapping: a segment is
//! ordinary memory of one process. What is checked there is how threads share the cells; how
//! processes come by them is not here.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;

pub(super) fn memfd(_: usize) -> io::Result<OwnedFd> {
    Ok(std::fs::File::open("/dev/null")?.into())
}

pub(super) fn size(_: BorrowedFd<'_>) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn map(_: BorrowedFd<'_>, bytes: usize) -> io::Result<&'static [AtomicU64]> {
    // Zeroed at once: to write every cell takes Miri minutes.
    Ok(AtomicU64::from_mut_slice(vec![0; bytes / 8].leak()))
}
