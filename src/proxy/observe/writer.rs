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
    told: Arc<Told>,
    /// Lines that were taken and of which it is not known yet what became of them.
    open: Cell<u64>,
    dropped: Cell<u64>,
    /// The thread was too busy to be told.
    to_reopen: Cell<bool>,
}

/// By the thread: what became of lines.
#[derive(Debug, Default)]
struct Told {
    written: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug)]
enum Order {
    Write(Vec<u8>),
    Reopen,
    /// Answered when everything before it is written.
    Finish(SyncSender<()>),
}

struct Sink {
    target: Target,
    state: State,
}

/// How the last write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fine,
    /// Perhaps in the middle of a line.
    Failed,
}

enum Target {
    Stdout,
    File(File),
}

impl Writer {
    pub(super) fn open(destination: &LogDestination, bound: usize) -> io::Result<Writer> {
        let sink = Sink::open(destination)?;
        let (orders, receiver) = sync_channel(BATCHES);
        let told = Arc::<Told>::default();
        let (path, tells) = (destination.clone(), Arc::clone(&told));
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .stack_size(STACK)
            .spawn(move || run(&receiver, sink, &path, &tells))?;
        Ok(Writer {
            destination: destination.clone(),
            buffer: RefCell::default(),
            bound: Cell::new(bound),
            orders,
            told,
            open: Cell::new(0),
            dropped: Cell::new(0),
            to_reopen: Cell::new(false),
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
            self.open.set(self.open.get() + 1);
        }
        let full = buffer.len() >= BATCH;
        drop(buffer);
        if full {
            self.flush();
        }
    }

    /// Hands what has gathered to the thread, if it keeps up.
    pub(super) fn flush(&self) {
        self.send_lines();
        if self.to_reopen.get() && self.orders.try_send(Order::Reopen).is_ok() {
            self.to_reopen.set(false);
        }
    }

    fn send_lines(&self) {
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
                self.told.lost.fetch_add(count(&lines), Relaxed);
            }
            Err(_) => {}
        }
    }

    /// The file may have been moved away; what comes from now on belongs into a new one.
    pub(super) fn reopen(&self) {
        self.to_reopen.set(true);
        self.flush();
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

    /// How many lines were written, and how many dropped, since the last time.
    pub(super) fn take_counts(&self) -> (u64, u64) {
        let written = self.told.written.swap(0, Relaxed);
        let lost = self.told.lost.swap(0, Relaxed);
        let known = written.saturating_add(lost);
        self.open.set(self.open.get().saturating_sub(known));
        (written, self.dropped.take().saturating_add(lost))
    }

    /// Whether all that it was given is written or lost, and counted.
    pub(super) fn is_settled(&self) -> bool {
        self.open.get() == 0
    }
}

fn run(orders: &Receiver<Order>, mut sink: Sink, path: &LogDestination, told: &Told) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Write(lines) => {
                let counter = match sink.write(&lines) {
                    State::Fine => &told.written,
                    State::Failed => &told.lost,
                };
                counter.fetch_add(count(&lines), Relaxed);
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
        let target = match destination {
            LogDestination::Stdout => Target::Stdout,
            LogDestination::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                Target::File(file)
            }
        };
        let state = State::Fine;
        Ok(Sink { target, state })
    }

    /// Says so when it begins to fail, and when that is over.
    fn write(&mut self, lines: &[u8]) -> State {
        let before = self.state;
        // What was cut off must not become the begin of another line.
        let written = match before {
            State::Fine => Ok(()),
            State::Failed => self.target.write(b"\n"),
        };
        let written = written.and_then(|()| self.target.write(lines));
        self.state = match &written {
            Ok(()) => State::Fine,
            Err(_) => State::Failed,
        };
        match (before, written) {
            (State::Fine, Err(error)) => {
                tracing::warn!(%error, "the access log cannot be written, its lines are lost");
            }
            (State::Failed, Ok(())) => tracing::info!("the access log is written again"),
            _ => {}
        }
        self.state
    }
}

impl Target {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Target::File(file) => file.write_all(lines),
            Target::Stdout => {
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
        assert_eq!(writer.take_counts(), (0, 2));
    }

    #[test]
    fn a_line_that_was_cut_off_is_no_begin_of_another() {
        let (_folder, destination, path) = file();
        let mut sink = Sink::open(&destination).unwrap();
        assert_eq!(sink.write(b"one\ntw"), State::Fine);
        sink.state = State::Failed;
        assert_eq!(sink.write(b"three\n"), State::Fine);
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written, "one\ntw\nthree\n");
    }

    #[test]
    fn a_file_is_opened_again_as_soon_as_the_thread_can_be_told() {
        let (_folder, destination, _) = file();
        let (orders, told) = sync_channel(1);
        let writer = Writer {
            destination,
            buffer: RefCell::default(),
            bound: Cell::new(100),
            orders,
            told: Arc::default(),
            open: Cell::new(0),
            dropped: Cell::new(0),
            to_reopen: Cell::new(false),
        };
        say(&writer, "one");
        writer.reopen();
        assert!(matches!(told.recv(), Ok(Order::Write(_))));
        assert!(told.try_recv().is_err(), "there was room for one order");
        writer.flush();
        assert!(matches!(told.try_recv(), Ok(Order::Reopen)));
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
