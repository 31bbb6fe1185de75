//! Where things stand in the shared segment, in cells of eight bytes. Pure arithmetic; a change
//! here is a change of `CURRENT_VERSION`, since two binaries may map one segment.
//!
//! ```text
//! page 0           magic, version, number of chunks, next free chunk
//! rows             ROWS headers of a cache line each: owner, pid, heartbeat
//! health board     a cache line per endpoint
//! shares           per row and endpoint: what this process has under way there
//! shared cells     rate limits
//! arena            chunks of a page; each belongs to one row and holds its counters
//! ```

pub const CURRENT_VERSION: u64 = 3;
pub(super) const MAGIC_WORD: u64 = u64::from_le_bytes(*b"sluice\0\x01");

/// Processes that can have a row at once: workers, draining ones among them, and supervisors. Miri, which
/// keeps a history of every cell, gets few of everything.
pub const ROWS: u16 = if cfg!(miri) { 8 } else { 256 };
/// Endpoints that the health board and the shares have room for.
pub const ENDPOINTS: u32 = if cfg!(miri) { 64 } else { 16_384 };
/// Cells for `Segment::shared`.
pub const SHARED: u32 = if cfg!(miri) { 64 } else { 65_536 };

const PAGE: usize = 512;
const ROW_CELLS: usize = 8;
const ROWS_AT: usize = PAGE;
const BOARD_AT: usize = ROWS_AT + ROWS as usize * ROW_CELLS;
/// Cells of one endpoint's place on the board: a cache line, so that news of one disturb no other.
pub(super) const BOARD_CELLS: usize = 8;
const SHARES_AT: usize = BOARD_AT + ENDPOINTS as usize * BOARD_CELLS;
/// Cells of one endpoint's share in one row.
const SHARE_CELLS: usize = 2;
const ROW_SHARES: usize = ENDPOINTS as usize * SHARE_CELLS;
const SHARED_AT: usize = SHARES_AT + ROWS as usize * ROW_SHARES;
const ARENA_AT: usize = SHARED_AT + SHARED as usize;

pub(super) const MAGIC: usize = 0;
pub(super) const VERSION: usize = 1;
pub(super) const CHUNKS: usize = 2;
/// A scalar's key and value that belong to nobody: what is written here is read by nobody.
pub(super) const NOWHERE: usize = 64;
/// On a cache line of its own: it is written whenever a row grows.
pub(super) const NEXT_CHUNK: usize = 8;
/// No row at or above this one was ever leased: sums end there.
pub(super) const ROWS_USED: usize = 16;
/// No endpoint at or above this one was ever given an id.
pub(super) const ENDPOINTS_USED: usize = 17;

/// Upper bounds of a histogram's buckets in nanoseconds: 0.5 ms to 30 s, and the last without one.
pub const BOUNDS: [u64; 15] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];
/// One per bound, and one for what is above the last.
pub const BUCKETS: usize = BOUNDS.len() + 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowCell {
    /// The worker's slot plus one; 0 while the row is free.
    Owner = 0,
    Pid = 1,
    Beats = 2,
}

/// What a process has under way at an endpoint. It alone writes its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareCell {
    /// Requests in flight.
    Requests = 0,
    /// Connections, idle ones among them.
    Connections = 1,
}

/// How big a segment is: only the arena's size differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub chunks: u32,
}

/// What a chunk's entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A key and a value.
    Scalar = 1,
    /// A key, a sum in nanoseconds, and the buckets.
    Histogram = 2,
}

impl Layout {
    /// 128 MiB of addresses; memory is used by the page as series appear.
    pub const DEFAULT: Layout = Layout { chunks: 32_768 };

    pub const fn bytes(self) -> usize {
        (ARENA_AT + self.chunks as usize * PAGE) * 8
    }

    pub(super) fn of_size(bytes: usize) -> Option<Layout> {
        let arena = (bytes / 8).checked_sub(ARENA_AT)?;
        let layout = Layout {
            chunks: u32::try_from(arena / PAGE).ok()?,
        };
        (layout.bytes() == bytes).then_some(layout)
    }
}

impl Shape {
    pub(super) const fn entry_cells(self) -> usize {
        match self {
            Shape::Scalar => 2,
            Shape::Histogram => 2 + BUCKETS,
        }
    }

    /// Where the entries of a chunk of this shape start. A chunk's first cell is its header.
    pub(super) fn entries(self, chunk: u32) -> impl Iterator<Item = usize> {
        let first = ARENA_AT + chunk as usize * PAGE + 2;
        let count = (PAGE - 2) / self.entry_cells();
        (0..count).map(move |entry| first + entry * self.entry_cells())
    }
}

pub(super) const fn chunk_header(chunk: u32) -> usize {
    ARENA_AT + chunk as usize * PAGE
}

/// A header of 0 is a chunk whose owner died before it could say whose it is: lost, and harmless.
pub(super) const fn header_word(row: u16, shape: Shape) -> u64 {
    (row as u64) << 8 | shape as u64
}

pub(super) fn parse_header(word: u64) -> Option<(u16, Shape)> {
    let shape = match word & 0xff {
        1 => Shape::Scalar,
        2 => Shape::Histogram,
        _ => return None,
    };
    Some((u16::try_from(word >> 8).ok()?, shape))
}

pub(super) const fn row(row: u16, cell: RowCell) -> usize {
    ROWS_AT + row as usize * ROW_CELLS + cell as usize
}

/// The first cell of an endpoint's place on the board.
pub(super) fn board(endpoint: u32) -> Option<usize> {
    (endpoint < ENDPOINTS).then_some(BOARD_AT + endpoint as usize * BOARD_CELLS)
}

pub(super) fn share(row: u16, endpoint: u32, cell: ShareCell) -> Option<usize> {
    let known = row < ROWS && endpoint < ENDPOINTS;
    let at = row as usize * ROW_SHARES + endpoint as usize * SHARE_CELLS + cell as usize;
    known.then_some(SHARES_AT + at)
}

pub(super) fn shared(index: u32) -> Option<usize> {
    (index < SHARED).then_some(SHARED_AT + index as usize)
}

/// The bucket that takes a duration.
pub(super) fn bucket(nanos: u64) -> usize {
    BOUNDS.partition_point(|bound| *bound < nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_do_not_overlap_and_fill_the_segment() {
        let layout = Layout { chunks: 3 };
        assert!(row(ROWS - 1, RowCell::Beats) < BOARD_AT);
        let last = board(ENDPOINTS - 1).map(|at| at + BOARD_CELLS);
        assert_eq!(last, Some(SHARES_AT));
        let last = share(ROWS - 1, ENDPOINTS - 1, ShareCell::Connections);
        assert_eq!(last.map(|at| at + 1), Some(SHARED_AT));
        let (next_row, next) = (
            share(1, 0, ShareCell::Requests),
            share(0, 1, ShareCell::Requests),
        );
        assert_eq!(next_row, Some(SHARES_AT + ROW_SHARES));
        assert_eq!(next, Some(SHARES_AT + SHARE_CELLS));
        assert_eq!(shared(SHARED - 1).map(|at| at + 1), Some(ARENA_AT));
        assert_eq!((board(ENDPOINTS), shared(SHARED)), (None, None));
        assert_eq!(share(ROWS, 0, ShareCell::Requests), None);
        assert_eq!(share(0, ENDPOINTS, ShareCell::Requests), None);
        for shape in [Shape::Scalar, Shape::Histogram] {
            let last = shape.entries(2).last().expect("a chunk has entries") + shape.entry_cells();
            assert!(last <= layout.bytes() / 8, "{shape:?}");
            let first = shape.entries(1).next().expect("a chunk has entries");
            let before = shape.entries(0).last().expect("a chunk has entries");
            assert!(before + shape.entry_cells() <= chunk_header(1) && first > chunk_header(1));
        }
        assert_eq!(Layout::of_size(layout.bytes()), Some(layout));
        assert_eq!(Layout::of_size(layout.bytes() + 8), None);
    }

    #[test]
    fn headers_survive_the_round_trip() {
        for shape in [Shape::Scalar, Shape::Histogram] {
            assert_eq!(parse_header(header_word(255, shape)), Some((255, shape)));
        }
        assert_eq!(parse_header(0), None);
        assert_eq!(parse_header(u64::MAX), None);
    }

    #[test]
    fn a_bucket_takes_its_upper_bound() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(500_000), 0);
        assert_eq!(bucket(500_001), 1);
        assert_eq!(bucket(30_000_000_000), BUCKETS - 2);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
