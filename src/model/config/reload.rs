//! How a change of the file becomes the next generation, and what guards against a bad one.
//!
//! Not here: the steps of a reload (`supervisor::state`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a change of the file becomes the next generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// How long the file must be left alone before it is read.
    pub debounce: Duration,
    /// How often the file is looked at where the system tells of no change.
    pub poll: Duration,
    /// How long the workers may take to prepare a generation.
    pub prepare_timeout: Duration,
    pub orphaned_streams: OrphanedStreams,
    /// Goes back by itself from a generation that turns out worse than the one before.
    pub guard: Option<Comparison>,
    /// Tries a generation on one worker before the others.
    pub canary: Option<Comparison>,
}

/// When a generation counts as worse than what it is compared with: by the share of its requests that
/// end with 5xx, or whose upstream takes no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// How long to look at it.
    pub window: Duration,
    /// By how many percentage points a share may grow.
    pub bound: u32,
    /// Fewer requests than that say nothing.
    pub min_requests: u32,
}

/// What happens to a long-lived stream whose rule or upstream a reload removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrphanedStreams {
    /// It goes on until it ends by itself.
    Keep,
    Drain,
}
