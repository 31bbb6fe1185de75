//! A status for the tests of the admin port: two workers that serve generation 3.

use std::sync::Arc;

use super::status::{
    Listener, NameState, Reload, ReloadResult, ServerState, Status, Worker, WorkerState,
};
use super::time::Timestamp;
use crate::model::config::ServerHost;
use crate::shm::RowId;

pub(crate) fn status() -> Status {
    Status {
        version: "0.0.0",
        pid: std::process::id(),
        pod: Some(crate::container::Pod {
            name: "web-0".to_owned(),
            namespace: "shop".to_owned(),
        }),
        started_at: Timestamp::default(),
        state: ServerState::Serving,
        generation: 3,
        config_hash: "0123456789abcdef".to_owned(),
        config_source: "/etc/sluice/sluice.yaml".to_owned(),
        source_kind: crate::admin::SourceKind::File,
        pinned: None,
        workers: vec![
            worker(0, WorkerState::Serving),
            worker(1, WorkerState::Serving),
        ],
        listeners: vec![Listener {
            configured: "0.0.0.0:0".to_owned(),
            address: "0.0.0.0:8080".to_owned(),
        }],
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

pub(super) fn name() -> NameState {
    NameState {
        host: ServerHost::Name("todos".to_owned()),
        name: "todos".to_owned(),
        addresses: vec!["10.0.0.1".to_owned()],
        ttl_seconds: Some(5),
        resolved_at: Some(Timestamp::now()),
        failures: 0,
        last_error: None,
        next_lookup_at: None,
    }
}

pub(super) fn worker(slot: u16, state: WorkerState) -> Worker {
    Worker {
        slot,
        row: RowId(slot),
        pid: std::process::id(),
        state,
        generation: 3,
        started_at: Timestamp::default(),
        restarts: 0,
    }
}

pub(super) fn reload(result: ReloadResult) -> Reload {
    Reload {
        at: Timestamp::now(),
        result,
        generation: Some(3),
        source: "/etc/sluice/sluice.yaml".to_owned(),
        config_hash: "0123456789abcdef".to_owned(),
        duration_ms: 12,
        errors: Vec::new(),
        changes: Vec::new(),
    }
}
