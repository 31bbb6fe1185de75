//! The program's log as it is written: every line kept, and waiting for a line that says something.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ChildStderr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use super::wait::DEADLINE;

/// The stderr of all processes, which the workers inherit from the supervisor.
#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

struct Shared {
    pipe: File,
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    /// Of a line whose end has not come yet.
    begun: Vec<u8>,
    /// The last process that could write here is gone.
    ended: bool,
}

/// One line, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    json: Value,
}

impl Log {
    /// It is read all the while, so that nobody waits for room in the pipe.
    pub(crate) fn reading(pipe: ChildStderr) -> Log {
        let log = Log(Arc::new(Shared {
            pipe: OwnedFd::from(pipe).into(),
            lines: Mutex::default(),
            grown: Condvar::new(),
        }));
        let background = log.clone();
        thread::spawn(move || {
            loop {
                background.readable(PollTimeout::NONE);
                if background.caught_up().ended {
                    break;
                }
            }
        });
        log
    }

    /// Everything that was written before this call: what a process has logged before it answered is there.
    fn caught_up(&self) -> MutexGuard<'_, Lines> {
        let mut lines = self.0.lines.lock().unwrap();
        let mut piece = [0; 16 * 1024];
        while !lines.ended && self.readable(PollTimeout::ZERO) {
            match (&self.0.pipe).read(&mut piece).unwrap() {
                0 => lines.end(),
                count => lines.take(&piece[..count]),
            }
            self.0.grown.notify_all();
        }
        lines
    }

    /// Whether there is something to be read, or the end.
    fn readable(&self, timeout: PollTimeout) -> bool {
        let mut one = [PollFd::new(self.0.pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut one, timeout).is_ok_and(|ready| ready > 0)
    }

    pub(crate) fn text(&self) -> String {
        self.caught_up().lines.join("\n")
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.caught_up()
            .lines
            .iter()
            .filter_map(|line| Event::parse(line))
            .collect()
    }

    /// The events with this message so far.
    pub(crate) fn all(&self, message: &str) -> Vec<Event> {
        self.events()
            .into_iter()
            .filter(|event| event.message() == message)
            .collect()
    }

    /// Waits for an event with this message.
    #[track_caller]
    pub(crate) fn wait_for(&self, message: &str) -> Event {
        self.wait_until(&format!("a log line {message:?}"), |event| {
            (event.message() == message).then(|| event.clone())
        })
    }

    /// Waits for the event of which `pick` makes something, looking at the earliest first.
    #[track_caller]
    pub(crate) fn wait_until<T>(&self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        self.try_wait_until(pick)
            .unwrap_or_else(|why| panic!("no {what}: {why}"))
    }

    pub(crate) fn try_wait_until<T>(
        &self,
        pick: impl Fn(&Event) -> Option<T>,
    ) -> Result<T, &'static str> {
        let started = Instant::now();
        let mut next = 0;
        let mut lines = self.caught_up();
        loop {
            let new = lines.lines[next..]
                .iter()
                .filter_map(|line| Event::parse(line));
            if let Some(found) = new.into_iter().find_map(|event| pick(&event)) {
                return Ok(found);
            }
            next = lines.lines.len();
            if lines.ended {
                return Err("all processes are gone");
            }
            let left = DEADLINE
                .checked_sub(started.elapsed())
                .ok_or("the deadline has passed")?;
            lines = self.0.grown.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Waits until no process is left that could write a line.
    #[track_caller]
    pub(crate) fn wait_for_end(&self) {
        let (lines, _) = self
            .0
            .grown
            .wait_timeout_while(self.caught_up(), DEADLINE, |l| !l.ended)
            .unwrap();
        assert!(
            lines.ended,
            "a process still holds stderr:\n{}",
            lines.lines.join("\n")
        );
    }
}

impl Lines {
    fn take(&mut self, piece: &[u8]) {
        let mut pieces = piece.split(|byte| *byte == b'\n');
        // What is behind the last line's end has not ended yet.
        let rest = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.begun.extend_from_slice(piece);
            self.line();
        }
        self.begun.extend_from_slice(rest);
    }

    fn line(&mut self) {
        let line = std::mem::take(&mut self.begun);
        self.lines.push(String::from_utf8_lossy(&line).into_owned());
    }

    fn end(&mut self) {
        self.ended = true;
        if !self.begun.is_empty() {
            self.line();
        }
    }
}

impl Event {
    /// `None` for a line that is not a JSON object.
    fn parse(line: &str) -> Option<Event> {
        let json: Value = serde_json::from_str(line).ok()?;
        json.is_object().then_some(Event { json })
    }

    pub(crate) fn message(&self) -> &str {
        self.field("message")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A field, whether it stands at the top or in `fields`.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        self.json
            .get(name)
            .or_else(|| self.json.get("fields")?.get(name))
    }

    /// A field as text, also where it is a number.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.field(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> u64 {
        let number = self.text(name).and_then(|text| text.parse().ok());
        number.unwrap_or_else(|| panic!("no number {name} in {}", self.json))
    }
}
