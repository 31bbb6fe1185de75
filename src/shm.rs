//! The shared segment: one memfd that the supervisor makes and every worker maps. It holds the
//! counters (each worker adds in a row of its own), the workers' heartbeats, and cells that all
//! workers share: the health board and rate limits.
//!
//! What is in it outlives the death of any process that maps it. Nothing here names a metric, reads
//! a clock or talks to another process: the segment's fd travels by `ipc`, names are `admin`'s.

pub mod beat;
pub mod health;
pub mod layout;
#[cfg_attr(miri, path = "shm/map_in_miri.rs")]
mod map;
pub mod names;
pub mod recorder;
pub mod series;
pub mod totals;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst,
};

use health::{Board, Millis};
use layout::{Layout, RowCell, ShareCell};

/// A mapped segment. The mapping lasts as long as the process, so its cells can be held anywhere.
#[derive(Debug, Clone)]
pub struct Segment {
    cells: &'static [AtomicU64],
    layout: Layout,
    /// Kept to hand it to workers, and to the next binary.
    fd: Arc<OwnedFd>,
}

/// The slot that a supervisor leases its own row under.
pub const SUPERVISOR: u16 = u16::MAX - 1;

/// One process's place in the segment: it alone writes the counters of its row while it lives.
/// Not the worker's slot: an old worker may still drain when its slot has a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct RowId(pub u16);

/// Who has leased a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub row: RowId,
    pub slot: u16,
    /// 0 until the worker has opened its row.
    pub pid: u32,
    pub beats: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ShmError {
    #[error("could not make the shared segment")]
    Create(#[source] std::io::Error),
    #[error("could not map the shared segment")]
    Map(#[source] std::io::Error),
    #[error("the shared segment has layout version {found}, this program has {expected}")]
    Version { found: u64, expected: u64 },
    #[error("the shared segment is damaged: {0}")]
    Damaged(&'static str),
    #[error("the shared segment has no row {0}")]
    NoRow(u16),
}

impl Segment {
    /// A new, empty segment of the usual size. Its pages cost memory only once written.
    pub fn create() -> Result<Segment, ShmError> {
        Self::create_sized(Layout::DEFAULT)
    }

    /// Smaller ones serve tests.
    pub fn create_sized(layout: Layout) -> Result<Segment, ShmError> {
        let fd = map::memfd(layout.bytes()).map_err(ShmError::Create)?;
        let cells = map::map(fd.as_fd(), layout.bytes()).map_err(ShmError::Map)?;
        let segment = Segment {
            cells,
            layout,
            fd: Arc::new(fd),
        };
        segment
            .cell(layout::VERSION)
            .store(layout::CURRENT_VERSION, Relaxed);
        segment
            .cell(layout::CHUNKS)
            .store(u64::from(layout.chunks), Relaxed);
        segment
            .cell(layout::MAGIC)
            .store(layout::MAGIC_WORD, Release);
        Ok(segment)
    }

    /// Maps a segment that another process made.
    pub fn open(fd: OwnedFd) -> Result<Segment, ShmError> {
        let bytes = map::size(fd.as_fd()).map_err(ShmError::Map)?;
        let layout = Layout::of_size(bytes).ok_or(ShmError::Damaged("odd size"))?;
        let cells = map::map(fd.as_fd(), layout.bytes()).map_err(ShmError::Map)?;
        let segment = Segment {
            cells,
            layout,
            fd: Arc::new(fd),
        };
        segment.verify()?;
        Ok(segment)
    }

    fn verify(&self) -> Result<(), ShmError> {
        if self.cell(layout::MAGIC).load(Acquire) != layout::MAGIC_WORD {
            return Err(ShmError::Damaged("no magic word"));
        }
        let found = self.cell(layout::VERSION).load(Relaxed);
        if found != layout::CURRENT_VERSION {
            return Err(ShmError::Version {
                found,
                expected: layout::CURRENT_VERSION,
            });
        }
        if self.cell(layout::CHUNKS).load(Relaxed) != u64::from(self.layout.chunks) {
            return Err(ShmError::Damaged(
                "the number of chunks does not fit the size",
            ));
        }
        Ok(())
    }

    /// To be sent to a worker, or kept over an exec.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes a free row for a worker that is about to be spawned; `None` when all are taken.
    pub fn lease(&self, slot: u16) -> Option<RowId> {
        (0..layout::ROWS).map(RowId).find(|row| {
            let taken = u64::from(slot) + 1;
            let owner = self.row_cell(*row, RowCell::Owner);
            let won = owner.compare_exchange(0, taken, Acquire, Relaxed).is_ok();
            if won {
                self.row_cell(*row, RowCell::Pid).store(0, Relaxed);
                let used = self.cell(layout::ROWS_USED);
                used.fetch_max(u64::from(row.0) + 1, Relaxed);
            }
            won
        })
    }

    /// Gives a row back after its process has been reaped. Its counts stay in every sum; its
    /// gauges (connections, requests in flight) died with it.
    pub fn release(&self, row: RowId) {
        if row.0 >= layout::ROWS {
            return;
        }
        recorder::clear_gauges(self, row);
        self.clear_shares(row);
        self.row_cell(row, RowCell::Pid).store(0, Relaxed);
        self.row_cell(row, RowCell::Owner).store(0, Release);
    }

    /// All rows that are leased now.
    pub fn leases(&self) -> Vec<Lease> {
        (0..layout::ROWS)
            .map(RowId)
            .filter_map(|row| self.lease_of(row))
            .collect()
    }

    fn lease_of(&self, row: RowId) -> Option<Lease> {
        let slot = self
            .row_cell(row, RowCell::Owner)
            .load(Acquire)
            .checked_sub(1)?;
        Some(Lease {
            row,
            slot: u16::try_from(slot).ok()?,
            pid: u32::try_from(self.row_cell(row, RowCell::Pid).load(Relaxed)).ok()?,
            beats: self.beats(row),
        })
    }

    /// Says that the row's process lives and its loop turns; called by the worker's own timer.
    pub fn beat(&self, row: RowId) {
        self.row_cell(row, RowCell::Beats).fetch_add(1, Relaxed);
    }

    /// How often the row's processes have beaten; `beat::Watch` judges from its changes.
    pub fn beats(&self, row: RowId) -> u64 {
        self.row_cell(row, RowCell::Beats).load(Relaxed)
    }

    /// One endpoint's place on the health board, by the endpoint's id; `None` beyond the board's end.
    pub fn board(&self, endpoint: u32) -> Option<Board> {
        Board::of(self.cells.get(layout::board(endpoint)?..)?)
    }

    /// What a process has under way at an endpoint; only that process may write it.
    pub fn share(&self, row: RowId, endpoint: u32, cell: ShareCell) -> Option<&'static AtomicU64> {
        self.cells.get(layout::share(row.0, endpoint, cell)?)
    }

    /// What all processes together have under way at an endpoint. A process that died has nothing
    /// there any more once its row is released.
    pub fn shares(&self, endpoint: u32, cell: ShareCell) -> u64 {
        let used = self.cell(layout::ROWS_USED).load(Relaxed);
        let rows = 0..u16::try_from(used).unwrap_or(layout::ROWS);
        let shares = rows.filter_map(|row| self.share(RowId(row), endpoint, cell));
        shares.fold(0, |sum, share| sum.saturating_add(share.load(SeqCst)))
    }

    /// An id is used from now on: it begins as if nothing had happened to it yet.
    pub fn begin_endpoint(&self, endpoint: u32, now: Millis) {
        if let Some(board) = self.board(endpoint) {
            board.begin(now);
            let used = self.cell(layout::ENDPOINTS_USED);
            used.fetch_max(u64::from(endpoint) + 1, Relaxed);
        }
    }

    fn clear_shares(&self, row: RowId) {
        let used = self.cell(layout::ENDPOINTS_USED).load(Relaxed);
        for endpoint in 0..u32::try_from(used).unwrap_or(layout::ENDPOINTS) {
            for cell in [ShareCell::Requests, ShareCell::Connections] {
                if let Some(share) = self.share(row, endpoint, cell) {
                    share.store(0, Relaxed);
                }
            }
        }
    }

    /// A cell that all workers share, for what must be counted together (rate limits).
    pub fn shared(&self, index: u32) -> Option<&'static AtomicU64> {
        self.cells.get(layout::shared(index)?)
    }

    fn row_cell(&self, row: RowId, cell: RowCell) -> &'static AtomicU64 {
        self.cell(layout::row(row.0.min(layout::ROWS - 1), cell))
    }

    /// Every index comes from `layout`, which keeps below the size that `open` verified.
    fn cell(&self, index: usize) -> &'static AtomicU64 {
        static NOWHERE: AtomicU64 = AtomicU64::new(0);
        self.cells.get(index).unwrap_or(&NOWHERE)
    }
}

#[cfg(test)]
mod tests;
