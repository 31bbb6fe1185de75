//! The writing side: a process's own row. Cells are found, or made, when a snapshot is built or a
//! label is first seen, and then added to without a lock, since nobody else writes in the row.
//!
//! Not here: reading (`totals`), ids (`names`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;

use super::layout::{self, BUCKETS, RowCell, Shape, ShareCell};
use super::series::{Family, Key, Nature};
use super::{RowId, Segment, ShmError};

/// A process's own row.
#[derive(Debug)]
pub struct Recorder {
    segment: Segment,
    row: RowId,
    /// Every entry that the row has, those of earlier processes among them.
    entries: RefCell<HashMap<Key, Entry>>,
    /// Entries that hold no key, by shape.
    free: RefCell<[Vec<usize>; 2]>,
    /// How many series the row may have (`metrics.maxSeries`).
    limit: Cell<usize>,
}

#[derive(Debug)]
struct Entry {
    at: usize,
    /// Shared with every handle: an entry that somebody may still write is never given away.
    held: Rc<()>,
}

/// A number that grows, or a gauge.
#[derive(Debug, Clone)]
pub struct Counter {
    cell: &'static AtomicU64,
    _held: Rc<()>,
}

/// Durations in buckets.
#[derive(Debug, Clone)]
pub struct Histogram {
    /// The sum in nanoseconds, then the buckets.
    cells: &'static [AtomicU64],
    _held: Rc<()>,
}

impl Counter {
    pub fn add(&self, more: u64) {
        add(self.cell, more);
    }

    /// For gauges.
    pub fn set(&self, value: u64) {
        self.cell.store(value, Relaxed);
    }

    /// For gauges.
    pub fn sub(&self, less: u64) {
        self.cell
            .store(self.cell.load(Relaxed).wrapping_sub(less), Relaxed);
    }
}

impl Histogram {
    pub fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let [sum, buckets @ ..] = self.cells {
            add(sum, nanos);
            if let Some(bucket) = buckets.get(layout::bucket(nanos)) {
                add(bucket, 1);
            }
        }
    }
}

/// Load and store instead of fetch_add: the row has one writer, so a locked instruction buys nothing.
fn add(cell: &AtomicU64, more: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(more), Relaxed);
}

impl Recorder {
    /// Takes up a leased row where the process before left it.
    pub fn open(segment: Segment, row: RowId) -> Result<Recorder, ShmError> {
        if row.0 >= layout::ROWS {
            return Err(ShmError::NoRow(row.0));
        }
        segment
            .row_cell(row, RowCell::Pid)
            .store(u64::from(std::process::id()), Relaxed);
        let mut entries = HashMap::new();
        let mut free = [Vec::new(), Vec::new()];
        for (shape, at) in row_entries(&segment, row) {
            match Key::from_word(segment.cell(at).load(Relaxed)) {
                Some(key) if key.family().shape() == shape => {
                    entries.insert(
                        key,
                        Entry {
                            at,
                            held: Rc::new(()),
                        },
                    );
                }
                _ => list(&mut free, shape).push(at),
            }
        }
        let (entries, free) = (RefCell::new(entries), RefCell::new(free));
        Ok(Recorder {
            segment,
            row,
            entries,
            free,
            limit: Cell::new(usize::MAX),
        })
    }

    /// The bound on series, from the config of the generation that is being prepared.
    pub fn set_limit(&self, series: usize) {
        self.limit.set(series);
    }

    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The slot that the row was leased for.
    pub fn slot(&self) -> u16 {
        self.segment
            .lease_of(self.row)
            .map_or(0, |lease| lease.slot)
    }

    pub fn beat(&self) {
        self.segment.beat(self.row);
    }

    /// What this process has under way at an endpoint; `None` beyond the board's end.
    pub fn share(&self, endpoint: u32, cell: ShareCell) -> Option<&'static AtomicU64> {
        let share = self.segment.share(self.row, endpoint, cell)?;
        let used = self.segment.cell(layout::ENDPOINTS_USED);
        used.fetch_max(u64::from(endpoint) + 1, Relaxed);
        Some(share)
    }

    pub fn counter(&self, key: Key) -> Counter {
        let (at, held) = self.find_or_make(key, Shape::Scalar);
        Counter {
            cell: self.segment.cell(at + 1),
            _held: held,
        }
    }

    pub fn histogram(&self, key: Key) -> Histogram {
        let (at, held) = self.find_or_make(key, Shape::Histogram);
        let cells = self
            .segment
            .cells
            .get(at + 1..at + 2 + BUCKETS)
            .unwrap_or_default();
        Histogram { cells, _held: held }
    }

    /// Frees the entries of series whose labels `is_known` denies, unless a handle is still held.
    pub fn forget(&self, is_known: impl Fn(Key) -> bool) {
        let mut free = self.free.borrow_mut();
        self.entries.borrow_mut().retain(|key, entry| {
            let keep = is_known(*key) || Rc::strong_count(&entry.held) > 1;
            if !keep {
                clear(&self.segment, key.family().shape(), entry.at);
                list(&mut free, key.family().shape()).push(entry.at);
            }
            keep
        });
    }

    fn find_or_make(&self, key: Key, shape: Shape) -> (usize, Rc<()>) {
        if let Some(entry) = self.entries.borrow().get(&key) {
            return (entry.at, Rc::clone(&entry.held));
        }
        let overflow = Key::overflow(key.family());
        let room = key == overflow || self.entries.borrow().len() < self.limit.get();
        if let Some(made) = room.then(|| self.make(key, shape)).flatten() {
            return made;
        }
        if key == overflow {
            // No chunk is left at all: counted nowhere, in a cell that no sum reads.
            return (layout::NOWHERE, Rc::new(()));
        }
        if key.family() != Family::DroppedSeries {
            self.counter(Key::new(Family::DroppedSeries, 0, 0, 0))
                .add(1);
        }
        self.find_or_make(overflow, shape)
    }

    fn make(&self, key: Key, shape: Shape) -> Option<(usize, Rc<()>)> {
        let at = self.free_entry(shape)?;
        let held = Rc::new(());
        self.segment.cell(at).store(key.word(), Release);
        self.entries.borrow_mut().insert(
            key,
            Entry {
                at,
                held: Rc::clone(&held),
            },
        );
        Some((at, held))
    }

    fn free_entry(&self, shape: Shape) -> Option<usize> {
        let mut free = self.free.borrow_mut();
        let free = list(&mut free, shape);
        if free.is_empty() {
            let chunk = claim_chunk(&self.segment)?;
            let header = self.segment.cell(layout::chunk_header(chunk));
            header.store(layout::header_word(self.row.0, shape), Release);
            free.extend(shape.entries(chunk));
            free.reverse();
        }
        free.pop()
    }
}

fn list(free: &mut [Vec<usize>; 2], shape: Shape) -> &mut Vec<usize> {
    let [scalars, histograms] = free;
    match shape {
        Shape::Scalar => scalars,
        Shape::Histogram => histograms,
    }
}

fn claim_chunk(segment: &Segment) -> Option<u32> {
    let next = segment.cell(layout::NEXT_CHUNK);
    let end = u64::from(segment.layout.chunks);
    let claimed = next.fetch_update(Relaxed, Relaxed, |at| (at < end).then_some(at + 1));
    claimed.ok().and_then(|chunk| u32::try_from(chunk).ok())
}

/// The chunks claimed so far, with their row and shape.
pub(super) fn chunks(segment: &Segment) -> impl Iterator<Item = (u32, u16, Shape)> {
    let claimed = segment.cell(layout::NEXT_CHUNK).load(Acquire);
    let claimed = u32::try_from(claimed)
        .unwrap_or(u32::MAX)
        .min(segment.layout.chunks);
    (0..claimed).filter_map(|chunk| {
        let header = segment.cell(layout::chunk_header(chunk)).load(Acquire);
        layout::parse_header(header).map(|(row, shape)| (chunk, row, shape))
    })
}

fn row_entries(segment: &Segment, row: RowId) -> impl Iterator<Item = (Shape, usize)> {
    chunks(segment)
        .filter(move |(_, owner, _)| *owner == row.0)
        .flat_map(|(chunk, _, shape)| shape.entries(chunk).map(move |at| (shape, at)))
}

/// The values first come to 0 under the old key, where a reader that is half-way through sees less
/// of a series that is gone; then the entry is free.
fn clear(segment: &Segment, shape: Shape, at: usize) {
    for value in at + 1..at + shape.entry_cells() {
        segment.cell(value).store(0, Relaxed);
    }
    segment.cell(at).store(0, Release);
}

/// Of a row whose process is gone.
pub(super) fn clear_gauges(segment: &Segment, row: RowId) {
    for (shape, at) in row_entries(segment, row) {
        let key = Key::from_word(segment.cell(at).load(Relaxed));
        if key.is_some_and(|key| key.family().nature() == Nature::Gauge) {
            clear(segment, shape, at);
        }
    }
}
