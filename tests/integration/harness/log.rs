//! The program's log as it is written: every line kept, and waiting for a line that says something.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::wait::DEADLINE;

/// The stderr of all processes, which the workers inherit from the supervisor.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    /// The last process that could write here is gone.
    ended: bool,
}

/// One line, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    json: Value,
}

impl Log {
    pub(crate) fn reading(from: impl Read + Send + 'static) -> Log {
        let log = Log::default();
        let shared = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                shared.change(|lines| lines.lines.push(line));
            }
            shared.change(|lines| lines.ended = true);
        });
        log
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    pub(crate) fn text(&self) -> String {
        self.0.0.lock().unwrap().lines.join("\n")
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.0
            .0
            .lock()
            .unwrap()
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
        let mut lines = self.0.0.lock().unwrap();
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
            lines = self.0.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Waits until no process is left that could write a line.
    #[track_caller]
    pub(crate) fn wait_for_end(&self) {
        let lines = self.0.0.lock().unwrap();
        let (lines, _) = self
            .0
            .1
            .wait_timeout_while(lines, DEADLINE, |l| !l.ended)
            .unwrap();
        assert!(
            lines.ended,
            "a process still holds stderr:\n{}",
            lines.lines.join("\n")
        );
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
