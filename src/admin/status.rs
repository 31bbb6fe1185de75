//! What the supervisor publishes about itself and its workers. Serialized as it stands it is the
//! body of `GET /status`, so a field's name is a promise (docs/observability.md): fields are added,
//! never renamed.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::time::Timestamp;
use crate::container::Pod;
use crate::model::config::{Config, ServerHost};
use crate::model::resolved::Resolved;
use crate::shm::RowId;
use crate::shm::names::{Index, Labels};

/// Everything that the admin port tells, apart from the counters in shared memory.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub version: &'static str,
    pub pid: u32,
    /// Where the manifest says which it is.
    pub pod: Option<Pod>,
    pub started_at: Timestamp,
    pub state: ServerState,
    /// 0 until the first one is committed.
    pub generation: u64,
    /// The first 16 hex digits of the config text's SHA-256.
    pub config_hash: String,
    /// Where the configuration comes from.
    pub config_source: String,
    /// The same as one of four words.
    pub source_kind: SourceKind,
    /// Set while a generation other than the file's serves, brought back by an operator.
    pub pinned: Option<u64>,
    #[serde(skip)]
    pub workers: Vec<Worker>,
    pub listeners: Vec<Listener>,
    /// Those that are served now.
    pub certificates: Vec<Certificate>,
    pub last_reload: Option<Reload>,
    /// The latest first, at most 20 generations and 20 refusals.
    pub history: Vec<Reload>,
    /// The committed configuration, for `/config`, `/routes`, `/upstreams` and label names.
    #[serde(skip)]
    pub config: Option<Arc<Config>>,
    /// Its label ids, as sent to the workers.
    #[serde(skip)]
    pub index: Arc<Index>,
    /// The names of all ids that are not forgotten (`Names::labels`).
    #[serde(skip)]
    pub labels: Arc<Labels>,
    /// The endpoints of servers whose names are looked up.
    #[serde(skip)]
    pub resolved: Arc<Vec<Resolved>>,
    /// What is known of the names behind them.
    #[serde(skip)]
    pub names: Arc<Vec<NameState>>,
    /// By place on the health board: what active checks have last found.
    #[serde(skip)]
    pub checks: Arc<HashMap<u32, CheckState>>,
}

/// The active checks of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckState {
    pub checks: u64,
    pub checked_at: Option<Timestamp>,
    /// What was wrong the last time.
    pub error: Option<String>,
}

/// One name that is looked up for upstreams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameState {
    /// As its servers' urls have it.
    #[serde(skip)]
    pub host: ServerHost,
    pub name: String,
    /// With their ports, where name servers say them.
    pub addresses: Vec<String>,
    /// Of the last good answer.
    pub ttl_seconds: Option<u64>,
    pub resolved_at: Option<Timestamp>,
    /// Lookups since then that have failed, or found nothing.
    pub failures: u32,
    pub last_error: Option<String>,
    /// `null` while it is being asked for.
    pub next_lookup_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerState {
    Starting,
    /// Every worker serves the committed generation.
    Serving,
    Draining,
}

/// Why the configuration is served that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// It is what the file says, or has said when it was last valid.
    File,
    /// The file was not valid at the start.
    LastGood,
    /// An operator has brought it back.
    Rollback,
    /// The guard has.
    Guard,
}

impl SourceKind {
    pub const ALL: [SourceKind; 4] = [
        SourceKind::File,
        SourceKind::LastGood,
        SourceKind::Rollback,
        SourceKind::Guard,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            SourceKind::File => "file",
            SourceKind::LastGood => "last-good",
            SourceKind::Rollback => "rollback",
            SourceKind::Guard => "guard",
        }
    }

    /// What everybody who looks has to be told.
    pub fn notice(self) -> Option<&'static str> {
        match self {
            SourceKind::File => None,
            SourceKind::LastGood => Some(
                "THE FILE IS NOT VALID: the last good configuration is served until it is mended",
            ),
            SourceKind::Rollback => {
                Some("an earlier generation is pinned, until the file changes or it is unpinned")
            }
            SourceKind::Guard => Some(
                "the guard has gone back to an earlier generation, until the file changes or it is unpinned",
            ),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    pub slot: u16,
    /// Its row in the shared segment.
    #[serde(skip)]
    pub row: RowId,
    pub pid: u32,
    pub state: WorkerState,
    pub generation: u64,
    pub started_at: Timestamp,
    /// How often the slot's worker has been replaced.
    pub restarts: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    Starting,
    Serving,
    Draining,
    /// Died again and again; waits before the next try.
    BackingOff,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// As written in the configuration.
    pub configured: String,
    /// As bound: the same but for port 0.
    pub address: String,
}

/// One file with a certificate that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Its file, as written in the configuration.
    pub name: String,
    /// The names that it is for.
    pub hosts: Vec<String>,
    pub issuer: String,
    pub serial: String,
    /// SHA-256, in hexadecimal.
    pub fingerprint: String,
    pub expires_at: Timestamp,
}

/// One attempt to bring a configuration to the workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reload {
    pub at: Timestamp,
    pub result: ReloadResult,
    /// The one it made, where it was committed.
    pub generation: Option<u64>,
    pub config_hash: String,
    /// Where the configuration came from.
    pub source: String,
    /// From the event to the last worker's commit, or to the refusal.
    pub duration_ms: u64,
    /// Every error with its YAML path and line.
    pub errors: Vec<String>,
    /// What it changed, in words.
    pub changes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadResult {
    Committed,
    /// Invalid, or refused by a worker; the generation before serves on.
    Rejected,
    /// Brought back by an operator or the guard.
    RolledBack,
}

impl ReloadResult {
    pub const ALL: [ReloadResult; 3] = [
        ReloadResult::Committed,
        ReloadResult::Rejected,
        ReloadResult::RolledBack,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ReloadResult::Committed => "committed",
            ReloadResult::Rejected => "rejected",
            ReloadResult::RolledBack => "rolled-back",
        }
    }
}

/// Why a worker had to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartReason {
    /// It ended by itself, with an exit code.
    Exit,
    /// A signal ended it.
    Signal,
    /// It did not beat for `worker.hangTimeout`.
    Hang,
    /// It did not answer in a reload.
    Unresponsive,
    /// What it sent was not understood.
    Protocol,
}

impl RestartReason {
    pub const ALL: [RestartReason; 5] = [
        RestartReason::Exit,
        RestartReason::Signal,
        RestartReason::Hang,
        RestartReason::Unresponsive,
        RestartReason::Protocol,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            RestartReason::Exit => "exit",
            RestartReason::Signal => "signal",
            RestartReason::Hang => "hang",
            RestartReason::Unresponsive => "unresponsive",
            RestartReason::Protocol => "protocol",
        }
    }
}

impl ServerState {
    pub fn as_str(self) -> &'static str {
        match self {
            ServerState::Starting => "starting",
            ServerState::Serving => "serving",
            ServerState::Draining => "draining",
        }
    }
}

impl WorkerState {
    pub const ALL: [WorkerState; 4] = [
        WorkerState::Starting,
        WorkerState::Serving,
        WorkerState::Draining,
        WorkerState::BackingOff,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            WorkerState::Starting => "starting",
            WorkerState::Serving => "serving",
            WorkerState::Draining => "draining",
            WorkerState::BackingOff => "backing-off",
        }
    }
}
