//! The supervisor's state as the admin port shows it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Engine;
use crate::admin::{
    Certificate, Listener, NameState, Reload, ReloadResult, ServerState, SourceKind, Status,
    Timestamp, Worker, WorkerState,
};
use crate::container::Pod;
use crate::model::config::{Config, ServerHost};
use crate::shm::RowId;
use crate::supervisor::launch::Launch;
use crate::supervisor::resolver::{Entry, Lookup};
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
        source_kind: SourceKind::File,
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
        names: Arc::default(),
        checks: Arc::default(),
    }
}

/// Of a slot whose next worker is not started yet.
const NO_ROW: RowId = RowId(u16::MAX);
/// As much of a hash as people compare.
const SHORT_HASH: usize = 16;

fn short(hash: &str) -> String {
    hash.chars().take(SHORT_HASH).collect()
}

fn kind(source: &Source) -> SourceKind {
    match source {
        Source::File => SourceKind::File,
        Source::LastGood => SourceKind::LastGood,
        Source::Rollback { .. } => SourceKind::Rollback,
        Source::Guard { .. } => SourceKind::Guard,
    }
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
        Source::Guard { of, from, why } => {
            format!("guard: generation {of} instead of {from}; {why}")
        }
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

/// Each file once, however many listeners it serves.
fn certificates(config: &Config) -> Vec<Certificate> {
    let mut known = BTreeMap::new();
    for certificate in config.certificates() {
        known.entry(&certificate.file).or_insert(&certificate.facts);
    }
    let told = known.into_iter().map(|(file, facts)| Certificate {
        name: file.clone(),
        hosts: facts.names.clone(),
        issuer: facts.issuer.clone(),
        serial: facts.serial.clone(),
        fingerprint: facts.fingerprint.clone(),
        expires_at: Timestamp::from_millis(
            u64::try_from(facts.not_after)
                .unwrap_or_default()
                .saturating_mul(1000),
        ),
    });
    told.collect()
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
            source_kind: committed.map_or(SourceKind::File, |g| kind(&g.plan.source)),
            pinned: self.state.pinned(),
            workers: self.workers(),
            listeners: self.listeners(),
            certificates: committed.map_or_else(Vec::new, |g| certificates(&g.plan.config)),
            last_reload: history.latest().and_then(told),
            history: history.all().into_iter().filter_map(told).collect(),
            config: committed.map(|generation| Arc::clone(&generation.plan.config)),
            index: labels
                .map(|labels| Arc::clone(&labels.index))
                .unwrap_or_default(),
            labels: Arc::clone(&self.names_by_id),
            resolved: Arc::clone(&self.resolved),
            names: Arc::clone(&self.name_states),
            checks: Arc::clone(&self.check_states),
            ..starting(&self.launch, self.started_at)
        }
    }

    /// At most a few times a second: there may be thousands of names, each with its own time.
    pub(super) fn describe_names(&mut self) {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let entries = self.resolver.entries();
        let states = entries.map(|(lookup, entry)| name_state(lookup, entry, now, clock));
        self.name_states = Arc::new(states.collect());
        self.names_described_at = now;
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
        let committed = self.state.committed();
        let addresses = committed.map(|g| self.sockets.addresses(&g.plan.settings));
        let addresses = addresses.unwrap_or_default().into_iter();
        addresses.map(listener).collect()
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

fn name_state(lookup: &Lookup, entry: &Entry, now: Instant, clock: Timestamp) -> NameState {
    let host = match lookup {
        Lookup::Host(name) => ServerHost::Name(name.clone()),
        Lookup::Service(name) => ServerHost::Service(name.clone()),
    };
    let (Lookup::Host(name) | Lookup::Service(name)) = lookup;
    let addresses = entry.endpoints().into_iter().map(|found| match found.port {
        Some(port) => SocketAddr::new(found.ip, port).to_string(),
        None => found.ip.to_string(),
    });
    let before = |at| clock.before(now.saturating_duration_since(at));
    let after = |at: Instant| clock.after(at.saturating_duration_since(now));
    NameState {
        host,
        name: name.clone(),
        addresses: addresses.collect(),
        ttl_seconds: entry.resolved_at.map(|_| entry.ttl.as_secs()),
        resolved_at: entry.resolved_at.map(before),
        failures: entry.failures,
        last_error: entry.error.clone(),
        next_lookup_at: entry.due().map(after),
    }
}

fn worker_state(stage: Stage, serving: Option<u64>) -> WorkerState {
    match (stage, serving) {
        (Stage::Draining { .. }, _) => WorkerState::Draining,
        (Stage::Alive, Some(_)) => WorkerState::Serving,
        _ => WorkerState::Starting,
    }
}
