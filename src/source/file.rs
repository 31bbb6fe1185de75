//! Tells when a configuration file, or one that it names, may have changed, whichever way: written in place, renamed over,
//! reached through symlinks that are swapped as the kubelet swaps a ConfigMap's, gone for a moment.
//!
//! It watches directories, not the file: a watch on a file ends with its inode. A slow poll covers
//! what the system does not tell. Not here: reading the file, and whether it has really changed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

mod hops;
mod mounts;

use hops::Ways;
pub use mounts::is_single_file_mount;

/// A file that never comes to rest is looked at after so many debounce times nevertheless.
const PATIENCE: u32 = 10;

/// `reload.debounce` and `reload.poll`; both can change while running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    pub debounce: Duration,
    pub poll: Duration,
}

/// Watches for as long as it lives.
#[derive(Debug)]
pub struct Watch {
    hints: mpsc::Receiver<()>,
    task: JoinHandle<()>,
}

impl Watch {
    /// To be called within a runtime.
    /// `beside` are the files that the first one names: whatever changes one of them is a change.
    pub fn begin(
        path: PathBuf,
        beside: watch::Receiver<Vec<PathBuf>>,
        timing: watch::Receiver<Timing>,
    ) -> Watch {
        // One hint that was not taken yet stands for all that follow.
        let (to, hints) = mpsc::channel(1);
        let task = tokio::spawn(run(path, beside, timing, to));
        Watch { hints, task }
    }

    /// The file may have changed. May be dropped: a hint is kept for the next call.
    pub async fn changed(&mut self) {
        if self.hints.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    path: PathBuf,
    mut beside: watch::Receiver<Vec<PathBuf>>,
    mut timing: watch::Receiver<Timing>,
    hints: mpsc::Sender<()>,
) {
    let stirred = Arc::new(Notify::new());
    let mut watched = Watched::new(&stirred);
    loop {
        // Before the look that follows a hint: what happens after it is told by the watch.
        let files = beside.borrow_and_update().clone();
        watched.arm(&path, &files);
        let _full = hints.try_send(());
        let Timing { debounce, poll } = *timing.borrow_and_update();
        tokio::select! {
            () = stirred.notified() => settle(&stirred, debounce).await,
            () = sleep(poll) => {}
            changed = timing.changed() => if changed.is_err() { return },
            changed = beside.changed() => if changed.is_err() { return },
        }
    }
}

/// Waits until nothing has happened for the debounce time.
async fn settle(stirred: &Notify, debounce: Duration) {
    let began = Instant::now();
    while began.elapsed() < debounce * PATIENCE {
        if timeout(debounce, stirred.notified()).await.is_err() {
            return;
        }
    }
}

/// Whether it can mean other contents of what is watched for. One that names no place may hide
/// anything.
fn matters(event: &notify::Event, ways: &Mutex<Ways>) -> bool {
    let ways = ways.lock().unwrap_or_else(PoisonError::into_inner);
    let mut paths = event.paths.iter();
    is_relevant(&event.kind) && (event.paths.is_empty() || paths.any(|path| ways.lead_by(path)))
}

/// Which of the system's events can mean other contents. Reading the file, as is done after each of
/// them, is none; a change of its owner or mode can mean that it can be read now, or no more.
fn is_relevant(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

/// The directories that are watched, each as the directory it was when its watch began.
struct Watched {
    watcher: Option<RecommendedWatcher>,
    /// What the watcher tells events that matter from others by.
    ways: Arc<Mutex<Ways>>,
    directories: BTreeMap<PathBuf, Identity>,
    complained: bool,
}

/// Device and inode: another directory may have taken the path.
type Identity = (u64, u64);

impl Watched {
    fn new(stirred: &Arc<Notify>) -> Watched {
        let stirred = Arc::clone(stirred);
        let ways = Arc::<Mutex<Ways>>::default();
        let known = Arc::clone(&ways);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error, such as an overflow of the queue, may hide anything.
            if event.map_or(true, |event| matters(&event, &known)) {
                stirred.notify_one();
            }
        });
        let mut watched = Watched {
            watcher: None,
            ways,
            directories: BTreeMap::new(),
            complained: false,
        };
        match watcher {
            Ok(watcher) => watched.watcher = Some(watcher),
            Err(error) => watched.complain(&error),
        }
        watched
    }

    /// Watches what leads to the file now, and nothing else.
    fn arm(&mut self, path: &Path, beside: &[PathBuf]) {
        let Some(mut watcher) = self.watcher.take() else {
            return;
        };
        let beside = beside.iter().map(PathBuf::as_path);
        let ways = Ways::to([path].into_iter().chain(beside));
        let wanted = ways.directories.clone();
        *self.ways.lock().unwrap_or_else(PoisonError::into_inner) = ways;
        for gone in self.outdated(&wanted) {
            self.directories.remove(&gone);
            // The system has ended the watch of a directory that is gone.
            let _ended_already = watcher.unwatch(&gone);
        }
        for directory in wanted {
            let Some(identity) = identity(&directory) else {
                continue;
            };
            if self.directories.contains_key(&directory) {
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.directories.insert(directory, identity)),
                Err(error) => self.complain(&error),
            }
        }
        self.watcher = Some(watcher);
    }

    fn outdated(&self, wanted: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
        let outdated = self.directories.iter().filter(|(path, known)| {
            !wanted.contains(*path) || identity(path).as_ref() != Some(*known)
        });
        outdated.map(|(path, _)| path.clone()).collect()
    }

    /// Once: the poll goes on, and finds changes later.
    fn complain(&mut self, error: &notify::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(%error, "changes of the configuration file are found by polling only");
        }
    }
}

fn identity(directory: &Path) -> Option<Identity> {
    let metadata = std::fs::metadata(directory).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests;
