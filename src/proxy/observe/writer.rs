//! Takes the access log's lines out of the worker's way: they gather in a bounded buffer, and a thread
//! writes them, since no kind of stdout can be trusted not to block. Lines that find no room are
//! dropped and counted.
//!
//! Not here: what a line says (`lines`).

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use crate::model::config::observe::LogDestination;

/// So many bytes go to the thread at once, without waiting for the next tick.
const BATCH: usize = 32 * 1024;
/// Batches under way to the thread; more lines wait in the buffer.
const BATCHES: usize = 2;
/// What a pipe takes as a whole: several workers write into one.
const WHOLE: usize = 4096;
/// How long the last lines may take when the worker ends.
const FAREWELL: Duration = Duration::from_secs(2);
/// Between two tries to hand the last lines over.
const RETRY: Duration = Duration::from_millis(5);
const STACK: usize = 64 * 1024;

/// The worker's end.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) destination: LogDestination,
    buffer: RefCell<Vec<u8>>,
    bound: Cell<usize>,
    orders: SyncSender<Order>,
    /// Lines that could not be written.
    lost: Arc<AtomicU64>,
    dropped: Cell<u64>,
    written: Cell<u64>,
}

#[derive(Debug)]
enum Order {
    Write(Vec<u8>),
    Reopen,
    /// Answered when everything before it is written.
    Finish(SyncSender<()>),
}

enum Sink {
    Stdout,
    File(File),
}

impl Writer {
    pub(super) fn open(destination: &LogDestination, bound: usize) -> io::Result<Writer> {
        let sink = Sink::open(destination)?;
        let (orders, receiver) = sync_channel(BATCHES);
        let lost = Arc::new(AtomicU64::new(0));
        let (path, losses) = (destination.clone(), Arc::clone(&lost));
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .stack_size(STACK)
            .spawn(move || run(&receiver, sink, &path, &losses))?;
        Ok(Writer {
            destination: destination.clone(),
            buffer: RefCell::default(),
            bound: Cell::new(bound),
            orders,
            lost,
            dropped: Cell::new(0),
            written: Cell::new(0),
        })
    }

    pub(super) fn set_bound(&self, bound: usize) {
        self.bound.set(bound);
    }

    /// Adds what `format` writes: one line with its end.
    pub(super) fn line(&self, format: impl FnOnce(&mut Vec<u8>)) {
        let mut buffer = self.buffer.borrow_mut();
        let before = buffer.len();
        format(&mut buffer);
        if buffer.len() > self.bound.get() {
            buffer.truncate(before);
            self.dropped.set(self.dropped.get() + 1);
        } else {
            self.written.set(self.written.get() + 1);
        }
        let full = buffer.len() >= BATCH;
        drop(buffer);
        if full {
            self.flush();
        }
    }

    /// Hands what has gathered to the thread, if it keeps up.
    pub(super) fn flush(&self) {
        let mut buffer = self.buffer.borrow_mut();
        if buffer.is_empty() {
            return;
        }
        match self
            .orders
            .try_send(Order::Write(std::mem::take(&mut buffer)))
        {
            Ok(()) => buffer.reserve(BATCH),
            Err(TrySendError::Full(Order::Write(lines))) => *buffer = lines,
            Err(TrySendError::Disconnected(Order::Write(lines))) => {
                self.lost.fetch_add(count(&lines), Relaxed);
            }
            Err(_) => {}
        }
    }

    /// The file may have been moved away; what comes from now on belongs into a new one.
    pub(super) fn reopen(&self) {
        self.flush();
        // Where the thread is busy it is asked again at the next signal.
        if self.orders.try_send(Order::Reopen).is_err() {
            tracing::warn!("the access log is too busy to be opened again");
        }
    }

    /// Writes what is left, for as long as a worker that ends may wait; it serves nobody any more.
    pub(super) fn finish(&self) {
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            self.flush();
            let (done, finished) = sync_channel(1);
            let order = Order::Finish(done);
            if self.buffer.borrow().is_empty() && self.orders.try_send(order).is_ok() {
                // What is late is lost with the process.
                let _late =
                    finished.recv_timeout(deadline.saturating_duration_since(Instant::now()));
                return;
            }
            std::thread::sleep(RETRY);
        }
    }

    /// How many lines were taken, and how many dropped, since the last time.
    pub(super) fn take_counts(&self) -> (u64, u64) {
        (
            self.written.take(),
            self.dropped.take() + self.lost.swap(0, Relaxed),
        )
    }
}

fn run(orders: &Receiver<Order>, mut sink: Sink, path: &LogDestination, lost: &AtomicU64) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Write(lines) => {
                if sink.write(&lines).is_err() {
                    lost.fetch_add(count(&lines), Relaxed);
                }
            }
            Order::Reopen => match Sink::open(path) {
                Ok(opened) => sink = opened,
                Err(error) => tracing::warn!(%error, "the access log could not be opened again"),
            },
            // Nobody waits any more where this fails.
            Order::Finish(done) => drop(done.try_send(())),
        }
    }
}

impl Sink {
    fn open(destination: &LogDestination) -> io::Result<Sink> {
        match destination {
            LogDestination::Stdout => Ok(Sink::Stdout),
            LogDestination::File(path) => OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map(Sink::File),
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Sink::File(file) => file.write_all(lines),
            Sink::Stdout => {
                let mut stdout = io::stdout().lock();
                pieces(lines).try_for_each(|piece| {
                    stdout.write_all(piece)?;
                    stdout.flush()
                })
            }
        }
    }
}

/// Whole lines, as many at once as a pipe takes as a whole; a longer line stands alone.
fn pieces(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if lines.is_empty() {
            return None;
        }
        let reach = lines.get(..WHOLE).unwrap_or(lines);
        let end = memchr::memrchr(b'\n', reach).or_else(|| memchr::memchr(b'\n', lines));
        let (piece, rest) = lines.split_at(end.map_or(lines.len(), |end| end + 1));
        lines = rest;
        Some(piece)
    })
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, LogDestination, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let destination = LogDestination::File(path.to_str().unwrap().to_owned());
        (folder, destination, path)
    }

    fn say(writer: &Writer, text: &str) {
        writer.line(|buffer| buffer.extend_from_slice(format!("{text}\n").as_bytes()));
    }

    #[test]
    fn lines_reach_the_file_and_follow_it_when_it_is_moved() {
        let (_folder, destination, path) = file();
        let writer = Writer::open(&destination, 1 << 20).unwrap();
        say(&writer, "one");
        writer.finish();
        let moved = path.with_extension("1");
        std::fs::rename(&path, &moved).unwrap();
        writer.reopen();
        say(&writer, "two");
        writer.finish();
        assert_eq!(std::fs::read_to_string(moved).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "two\n");
        assert_eq!(writer.take_counts(), (2, 0));
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let (_folder, destination, path) = file();
        let writer = Writer::open(&destination, 10).unwrap();
        for _ in 0..3 {
            say(&writer, "12345");
        }
        writer.finish();
        assert_eq!(writer.take_counts(), (1, 2));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "12345\n");
    }

    #[test]
    fn a_disk_that_is_full_loses_lines_and_says_so() {
        let full = LogDestination::File("/dev/full".to_owned());
        let writer = Writer::open(&full, 1 << 20).unwrap();
        say(&writer, "one");
        say(&writer, "two");
        writer.finish();
        assert_eq!(writer.take_counts(), (2, 2));
    }

    #[test]
    fn a_path_that_cannot_be_written_is_an_error_at_once() {
        let nowhere = LogDestination::File("/nonexistent/access.log".to_owned());
        assert!(Writer::open(&nowhere, 1 << 20).is_err());
    }

    #[test]
    fn pieces_are_whole_lines() {
        let (short, long) = ("a".repeat(1_500) + "\n", "b".repeat(9_000) + "\n");
        let text = [short.as_str(), &short, &short, &long, &short].concat();
        let lengths: Vec<usize> = pieces(text.as_bytes()).map(<[u8]>::len).collect();
        assert_eq!(lengths, [3_002, 1_501, 9_001, 1_501]);
    }
}
