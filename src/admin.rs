//! The admin port: probes, metrics, status, dashboard, and the few calls that change something.
//!
//! It sees the supervisor through two seams only: `Status`, plain data that the supervisor publishes,
//! and `Command`, which it sends and waits for. It never imports the supervisor, and no client of it
//! can make the supervisor wait.

mod access;
mod answer;
mod command;
mod config_view;
mod counts;
#[cfg(test)]
mod documentation;
mod endpoints;
#[cfg(test)]
pub(crate) mod fixtures;
mod metrics;
mod probe;
mod routes;
mod server;
mod status;
mod time;
mod views;

use tokio::sync::{mpsc, watch};

pub use command::{Command, CommandError, CommandReply, Reply, Text, Verb};
pub use counts::Counts;
pub use metrics::catalog;
pub use routes::ENDPOINTS;
pub use server::{Door, serve};
pub use status::{
    Certificate, CheckState, Listener, NameState, Reload, ReloadResult, RestartReason, ServerState,
    SourceKind, Status, Worker, WorkerState,
};
pub use time::Timestamp;

/// All that the admin port is given.
#[derive(Debug, Clone)]
pub struct Sources {
    pub status: watch::Receiver<std::sync::Arc<Status>>,
    pub commands: mpsc::Sender<Command>,
    pub segment: crate::shm::Segment,
    /// The closed list of reason codes, in the order of their ids.
    pub reasons: &'static [&'static str],
}
