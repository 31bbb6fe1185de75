//! Sends spans to a collector, from a task of its own: requests only leave them in a bounded list. A
//! collector that is slow or away costs spans, which are counted, never a request.
//!
//! Not here: what a span says (`otlp`), and which requests have one (`trace`).

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::otlp;
use crate::model::config::observe::Tracing;

/// Spans that wait; more are dropped.
const WAITING: usize = 2_048;
/// Spans of one request to the collector; so many do not wait for the next tick.
const BATCH: usize = 512;
const EVERY: Duration = Duration::from_secs(1);
/// For one request to the collector, from the connection to its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than any answer of a collector.
const ANSWER: usize = 16 * 1024;

/// Owns the task; what waits when it is dropped is lost.
#[derive(Debug)]
pub(super) struct Exporter {
    shared: Rc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    settings: Tracing,
    worker: u16,
    spans: RefCell<Vec<Vec<u8>>>,
    full: Notify,
    exported: Cell<u64>,
    dropped: Cell<u64>,
}

impl Exporter {
    pub(super) fn start(settings: &Tracing, worker: u16) -> Exporter {
        let shared = Rc::new(Shared {
            settings: settings.clone(),
            worker,
            spans: RefCell::default(),
            full: Notify::new(),
            exported: Cell::new(0),
            dropped: Cell::new(0),
        });
        let task = tokio::task::spawn_local(run(Rc::clone(&shared))).abort_handle();
        Exporter { shared, task }
    }

    pub(super) fn settings(&self) -> &Tracing {
        &self.shared.settings
    }

    pub(super) fn add(&self, span: Vec<u8>) {
        let shared = &self.shared;
        let mut spans = shared.spans.borrow_mut();
        if spans.len() >= WAITING {
            shared.dropped.set(shared.dropped.get() + 1);
            return;
        }
        spans.push(span);
        if spans.len() >= BATCH {
            shared.full.notify_one();
        }
    }

    /// Exported and dropped, since the last time.
    pub(super) fn take_counts(&self) -> (u64, u64) {
        (self.shared.exported.take(), self.shared.dropped.take())
    }

    /// Sends all that wait, for a worker that ends.
    pub(super) async fn finish(&self) {
        while let Some(batch) = self.shared.take_batch() {
            self.shared.send(batch).await;
        }
    }
}

impl Shared {
    fn take_batch(&self) -> Option<Vec<Vec<u8>>> {
        let mut spans = self.spans.borrow_mut();
        let count = spans.len().min(BATCH);
        (count > 0).then(|| spans.drain(..count).collect())
    }

    async fn send(&self, batch: Vec<Vec<u8>>) {
        let body = otlp::request(&batch, &self.settings.service_name, self.worker);
        let count = batch.len() as u64;
        match timeout(PATIENCE, post(&self.settings, &body)).await {
            Ok(Ok(())) => self.exported.set(self.exported.get() + count),
            Ok(Err(error)) => self.lose(count, &error.to_string()),
            Err(_) => self.lose(count, "no answer in time"),
        }
    }

    fn lose(&self, count: u64, error: &str) {
        tracing::debug!(error, count, "spans could not be exported");
        self.dropped.set(self.dropped.get() + count);
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(shared: Rc<Shared>) {
    loop {
        let waits = shared.spans.borrow().len();
        if waits < BATCH {
            // Either may be dropped: a notification is kept for the next time.
            tokio::select! {
                () = sleep(EVERY) => {}
                () = shared.full.notified() => {}
            }
        }
        if let Some(batch) = shared.take_batch() {
            shared.send(batch).await;
        }
    }
}

/// One request on a connection of its own: a batch a second is not worth keeping one.
async fn post(settings: &Tracing, body: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect(&settings.authority).await?;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        settings.path,
        settings.authority,
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    let mut bounded = stream.take(ANSWER as u64);
    while !answer.contains(&b'\n') && bounded.read_buf(&mut answer).await? > 0 {}
    let line = answer
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let code = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    match code {
        [b'2', _, _] => Ok(()),
        _ => Err(io::Error::other(format!(
            "answered {}",
            String::from_utf8_lossy(line).trim()
        ))),
    }
}
