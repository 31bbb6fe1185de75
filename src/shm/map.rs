//! The memfd and its mapping: the one place of this program's unsafe code about memory.
//!
//! Not here: what the cells mean (`layout`).
#![expect(
    unsafe_code,
    reason = "mmap has no safe form; the cells it gives out are atomics"
)]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use rustix::fs::{MemfdFlags, SealFlags};

/// A sealed memfd of `bytes` zeroes: nobody can shrink it under those who have mapped it.
pub(super) fn memfd(bytes: usize) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("sluice", flags)?;
    rustix::fs::ftruncate(&fd, bytes as u64)?;
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd)
}

/// The size of a memfd that cannot shrink; others are refused, since a mapping of them could fault.
pub(super) fn size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let seals = rustix::fs::fcntl_get_seals(fd)?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a sealed memfd",
        ));
    }
    let size = rustix::fs::fstat(fd)?.st_size;
    usize::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Maps the first `bytes` of a sealed memfd, shared, for the rest of this process's life.
pub(super) fn map(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<&'static [AtomicU64]> {
    if size(fd)? < bytes {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "smaller than its layout",
        ));
    }
    let length = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps no Rust object.
    let start = unsafe { mmap(None, length, protection, flags, fd, 0) }?;
    // SAFETY: the mapping is page-aligned, `bytes` long, backed by a file that is at least as long
    // and sealed against shrinking, and never unmapped, hence valid for 'static; it is shared with
    // other processes, and all of them touch it through atomics alone; any bits are a valid u64.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>().as_ptr(), bytes / 8) })
}
