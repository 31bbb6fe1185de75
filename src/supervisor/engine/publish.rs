//! The supervisor's state as the admin port shows it.

use std::sync::Arc;

use super::Engine;
use crate::admin::{
    Listener, Reload, ReloadResult, ServerState, Status, Timestamp, Worker, WorkerState,
};
use crate::container::Pod;
use crate::shm::RowId;
use crate::supervisor::launch::Launch;
use crate::supervisor::state::history::{Record, Verdict};
use crate::supervisor::state::{Source, Stage};

/// Before anything else is known.
pub(super) fn starting(launch: &Launch, started_at: Timestamp) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        pod: Pod::of_environment(),
        started_at,
        state: ServerState::Starting,
        generation: 0,
        config_hash: String::new(),
        config_source: launch.config.display().to_string(),
        pinned: None,
        workers: Vec::new(),
        listeners: Vec::new(),
        certificates: Vec::new(),
        last_reload: None,
        history: Vec::new(),
        config: None,
        index: Arc::default(),
        labels: Arc::default(),
        resolved: Arc::default(),
    }
}

/// Of a slot whose next worker is not started yet.
const NO_ROW: RowId = RowId(u16::MAX);
/// As much of a hash as people compare.
const SHORT_HASH: usize = 16;

fn short(hash: &str) -> String {
    hash.chars().take(SHORT_HASH).collect()
}

/// Where the configuration that is served comes from, in words.
pub(super) fn source(source: &Source, launch: &Launch) -> String {
    match source {
        Source::File => launch.config.display().to_string(),
        Source::LastGood => {
            let copy = launch.last_good.as_ref().unwrap_or(&launch.config);
            format!("last good: {}", copy.display())
        }
        Source::Rollback { of } => format!("rollback to generation {of}"),
        Source::Guard { of, from } => format!("guard: generation {of} instead of {from}"),
    }
}

/// What is told of one that a newer one replaced is the newer one's story.
fn reload(record: &Record, launch: &Launch) -> Option<Reload> {
    let result = match record.verdict {
        Verdict::Committed => ReloadResult::Committed,
        Verdict::RolledBack => ReloadResult::RolledBack,
        Verdict::Rejected => ReloadResult::Rejected,
        Verdict::Superseded => return None,
    };
    Some(Reload {
        at: Timestamp::from_millis(record.at),
        result,
        generation: record.generation,
        config_hash: short(&record.hash),
        source: source(&record.source, launch),
        duration_ms: u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX),
        errors: record.errors.clone(),
        changes: record.changes.clone(),
    })
}

impl Engine {
    pub(super) fn publish(&self) {
        self.status.send_replace(Arc::new(self.describe()));
    }

    fn describe(&self) -> Status {
        let committed = self.state.committed();
        let history = self.state.history();
        let told = |record: &Record| reload(record, &self.launch);
        let labels = committed.and_then(|generation| self.labels.get(&generation.number));
        Status {
            state: self.server_state(),
            generation: self.state.generation().unwrap_or_default(),
            config_hash: committed.map(|g| short(&g.plan.hash)).unwrap_or_default(),
            config_source: committed.map_or_else(
                || self.launch.config.display().to_string(),
                |generation| source(&generation.plan.source, &self.launch),
            ),
            pinned: self.state.pinned(),
            workers: self.workers(),
            listeners: self.listeners(),
            last_reload: history.latest().and_then(told),
            history: history.all().into_iter().filter_map(told).collect(),
            config: committed.map(|generation| Arc::clone(&generation.plan.config)),
            index: labels
                .map(|labels| Arc::clone(&labels.index))
                .unwrap_or_default(),
            labels: Arc::clone(&self.names_by_id),
            resolved: Arc::clone(&self.resolved),
            ..starting(&self.launch, self.started_at)
        }
    }

    fn server_state(&self) -> ServerState {
        match (self.state.is_draining(), self.state.is_announced()) {
            (true, _) => ServerState::Draining,
            (false, true) => ServerState::Serving,
            (false, false) => ServerState::Starting,
        }
    }

    fn listeners(&self) -> Vec<Listener> {
        let listener =
            |(configured, address): (std::net::SocketAddr, std::net::SocketAddr)| Listener {
                configured: configured.to_string(),
                address: address.to_string(),
            };
        self.sockets.addresses().map(listener).collect()
    }

    fn workers(&self) -> Vec<Worker> {
        let fleet = self.state.fleet();
        let mut workers: Vec<Worker> = fleet
            .workers()
            .filter_map(|(id, worker)| {
                let child = self.children.get(id)?;
                let restarts = fleet.restarts(worker.slot);
                Some(Worker {
                    slot: worker.slot,
                    row: child.row,
                    pid: child.pid.as_raw().unsigned_abs(),
                    state: worker_state(worker.stage, worker.serving),
                    generation: worker.serving.unwrap_or_default(),
                    started_at: child.started_at,
                    restarts,
                })
            })
            .collect();
        workers.extend(fleet.waiting_slots().map(|(slot, restarts)| Worker {
            slot,
            row: NO_ROW,
            pid: 0,
            state: WorkerState::BackingOff,
            generation: 0,
            started_at: Timestamp::now(),
            restarts,
        }));
        workers.sort_by_key(|worker| (worker.slot, worker.pid));
        workers
    }
}

fn worker_state(stage: Stage, serving: Option<u64>) -> WorkerState {
    match (stage, serving) {
        (Stage::Draining { .. }, _) => WorkerState::Draining,
        (Stage::Alive, Some(_)) => WorkerState::Serving,
        _ => WorkerState::Starting,
    }
}
