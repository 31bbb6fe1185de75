//! A valid configuration on its way to become a generation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::pieces::Pieces;
use crate::model::Address;
use crate::model::config::{Comparison, Config, Lifecycle};
use crate::source::files::Named;

/// Somebody who waits to hear how it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

#[derive(Debug)]
pub struct Plan {
    /// Of the text it was read from, SHA-256 in hex.
    pub hash: String,
    pub source: Source,
    /// Milliseconds since 1970, for people.
    pub at: u64,
    /// When the change was seen.
    pub seen: Instant,
    pub settings: Settings,
    pub config: Arc<Config>,
    /// The config as workers get it.
    pub packed: Arc<Pieces>,
    /// What it was read from.
    pub text: Arc<Pieces>,
    /// What was read beside the text.
    pub files: Arc<Named>,
    /// What it changes, in words.
    pub changes: Vec<String>,
    /// Where its addresses stand in the text, should one be taken.
    pub addresses: Vec<Address>,
    pub tickets: Vec<Ticket>,
}

impl Plan {
    /// Two looks at one edit: one reload.
    pub(super) fn means_the_same(&self, other: &Plan) -> bool {
        self.hash == other.hash && self.source == other.source && self.config == other.config
    }
}

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    File,
    /// The copy that is kept for a start with a broken file, or what is served while the file is broken, with
    /// other contents of what it names.
    LastGood,
    /// An earlier generation, brought back by an operator.
    Rollback {
        of: u64,
    },
    /// The same by the guard, which found `from` worse.
    Guard {
        of: u64,
        from: u64,
        why: String,
    },
}

impl Source {
    /// The generation whose configuration this is once more.
    pub fn brings_back(&self) -> Option<u64> {
        match self {
            Source::File | Source::LastGood => None,
            Source::Rollback { of } | Source::Guard { of, .. } => Some(*of),
        }
    }
}

/// What of a configuration concerns the supervisor's decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub workers: u16,
    pub listeners: Vec<SocketAddr>,
    pub admin: SocketAddr,
    pub prepare_timeout: Duration,
    pub lifecycle: Lifecycle,
    /// How long everything is served on before a drain.
    pub drain_min_delay: Duration,
    pub drain_timeout: Duration,
    /// How long a worker that is not needed any more may keep its streams; `None`: as long as they last.
    pub surplus_timeout: Option<Duration>,
    pub guard: Option<Comparison>,
    pub canary: Option<Comparison>,
}
