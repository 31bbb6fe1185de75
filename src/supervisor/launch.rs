//! How the program was started, and the configuration that it starts with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::cpus;
use super::state::pieces::Pieces;
use super::state::{Plan, Settings, Source, Ticket};
use crate::admin::Timestamp;
use crate::ipc::message::Packed;
use crate::model::Address;
use crate::model::config::{Config, Log, OrphanedStreams};
use crate::source::document::{self, Document};
use crate::source::files::Named;

#[derive(Debug, Clone)]
pub struct Launch {
    pub config: PathBuf,
    /// Where a copy of the last configuration that was served is kept.
    pub last_good: Option<PathBuf>,
    /// The file that was started, which may be another binary by now.
    pub binary: PathBuf,
    pub start: Start,
    /// The closed list of reason codes that the data plane counts by.
    pub reasons: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Afresh,
    /// In the place of a supervisor that serves.
    Takeover,
}

/// What is served first.
#[derive(Debug)]
pub struct First {
    pub(super) wanted: Wanted,
    /// Set where that is the copy: everything wrong with the file itself.
    pub(super) broken: Option<Broken>,
}

/// A text that is not served.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) hash: String,
    pub(super) errors: Vec<String>,
    pub(super) files: Named,
}

/// A configuration that could be served, and where it came from.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) text: String,
    pub(super) hash: String,
    pub(super) source: Source,
    pub(super) config: Config,
    pub(super) warnings: Vec<String>,
    pub(super) seen: Instant,
    /// What was read beside the text.
    pub(super) files: Named,
    /// Where its addresses stand; none where it is not what the file says.
    pub(super) addresses: Vec<Address>,
}

impl First {
    pub(super) fn log(&self) -> Log {
        self.wanted.config.log
    }
}

/// Reads the file; where it is not valid, the copy of the last one that was.
pub fn first(launch: &Launch) -> Result<First, Box<Document>> {
    let seen = Instant::now();
    // A certificate whose time is over is better than none of what could be served.
    let document = document::load(&launch.config, &|_| true);
    match Wanted::from(document, Source::File, seen) {
        Ok(wanted) => Ok(First {
            wanted,
            broken: None,
        }),
        Err(document) => match &launch.last_good {
            None => Err(document),
            Some(copy) => {
                match Wanted::from(document::load(copy, &|_| true), Source::LastGood, seen) {
                    Ok(wanted) => Ok(First {
                        wanted,
                        broken: Some(Broken::of(&document)),
                    }),
                    Err(_) => Err(document),
                }
            }
        },
    }
}

impl Broken {
    pub(super) fn of(document: &Document) -> Broken {
        Broken {
            hash: document::hash(&document.text),
            errors: document.loaded.errors().map(ToString::to_string).collect(),
            files: document.files.clone(),
        }
    }
}

impl Wanted {
    pub(super) fn from(
        mut document: Document,
        source: Source,
        seen: Instant,
    ) -> Result<Wanted, Box<Document>> {
        let Some(config) = document.loaded.config.take() else {
            return Err(Box::new(document));
        };
        Ok(Wanted {
            hash: document::hash(&document.text),
            warnings: document
                .loaded
                .warnings()
                .map(ToString::to_string)
                .collect(),
            text: document.text,
            source,
            config,
            seen,
            files: document.files,
            addresses: document.loaded.addresses,
        })
    }

    /// Packs it for the workers; to be done where it may take a while.
    pub(super) fn plan(self, before: Option<&Plan>, tickets: Vec<Ticket>) -> Result<Plan, String> {
        let packed = Packed::pack(&self.config).map_err(|error| error.to_string())?;
        let changes = before.map_or_else(Vec::new, |before| changes(&before.config, &self.config));
        let (packed_like, text_like) = before
            .map(|before| (&*before.packed, &*before.text))
            .unzip();
        Ok(Plan {
            hash: self.hash,
            source: self.source,
            at: Timestamp::now().millis(),
            seen: self.seen,
            settings: settings(&self.config),
            config: Arc::new(self.config),
            packed: Arc::new(Pieces::cut(packed.bytes(), packed_like)),
            text: Arc::new(Pieces::cut(self.text.as_bytes(), text_like)),
            files: Arc::new(self.files),
            changes,
            addresses: self.addresses,
            tickets,
        })
    }
}

pub(super) fn changes(before: &Config, after: &Config) -> Vec<String> {
    crate::model::change::between(before, after)
        .into_iter()
        .map(|change| change.to_string())
        .collect()
}

pub(super) fn settings(config: &Config) -> Settings {
    let drain_timeout = config.drain.timeout;
    Settings {
        workers: cpus::workers(config.workers),
        listeners: config
            .listeners
            .iter()
            .map(|listener| listener.address)
            .collect(),
        admin: config.admin.listen,
        prepare_timeout: config.reload.prepare_timeout,
        lifecycle: config.lifecycle,
        drain_min_delay: config.drain_min_delay(),
        drain_timeout,
        surplus_timeout: match config.reload.orphaned_streams {
            OrphanedStreams::Keep => None,
            OrphanedStreams::Drain => Some(drain_timeout),
        },
        guard: config.reload.guard,
        canary: config.reload.canary,
    }
}
