//! Alive and ready, as pure functions of what the supervisor publishes: each check has a name and
//! either holds or says in a few words why not.

use super::status::{ServerState, Status, Worker, WorkerState};

/// One line of a probe's `?verbose` answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub name: String,
    /// `None` where the check holds.
    pub fault: Option<String>,
    /// It holds, and somebody should look at it nevertheless.
    pub notice: Option<&'static str>,
}

impl Check {
    pub(super) fn new(name: impl Into<String>, fault: Option<String>) -> Check {
        Check {
            name: name.into(),
            fault,
            notice: None,
        }
    }

    fn noticed(self, notice: Option<&'static str>) -> Check {
        Check { notice, ..self }
    }
}

/// Ready when every worker serves the committed generation and nobody has asked to drain.
pub(super) fn readiness(status: &Status) -> Vec<Check> {
    let mut checks = vec![
        Check::new("serving", serving_fault(status.state)),
        Check::new("generation", generation_fault(status)),
        Check::new("configuration", None).noticed(status.source_kind.notice()),
        Check::new("listeners", listeners_fault(status)),
        Check::new("workers", workers_fault(status)),
    ];
    checks.extend(
        status
            .workers
            .iter()
            .filter(|worker| counts(worker))
            .map(|worker| {
                Check::new(
                    format!("worker-{}", worker.slot),
                    worker_fault(worker, status.generation),
                )
            }),
    );
    checks
}

/// A worker that is on its way out says nothing about those that stay.
fn counts(worker: &Worker) -> bool {
    worker.state != WorkerState::Draining
}

fn serving_fault(state: ServerState) -> Option<String> {
    match state {
        ServerState::Serving => None,
        ServerState::Starting => Some("starting".to_owned()),
        ServerState::Draining => Some("draining".to_owned()),
    }
}

fn generation_fault(status: &Status) -> Option<String> {
    (status.generation == 0).then(|| "no generation is committed".to_owned())
}

fn listeners_fault(status: &Status) -> Option<String> {
    status
        .listeners
        .is_empty()
        .then(|| "no listener is bound".to_owned())
}

fn workers_fault(status: &Status) -> Option<String> {
    (!status.workers.iter().any(counts)).then(|| "no worker runs".to_owned())
}

fn worker_fault(worker: &Worker, generation: u64) -> Option<String> {
    if worker.state != WorkerState::Serving {
        return Some(worker.state.as_str().to_owned());
    }
    let behind = worker.generation != generation;
    behind.then(|| {
        format!(
            "serves generation {} instead of {generation}",
            worker.generation
        )
    })
}

/// The body of a probe's answer: one line, or one per check.
pub(super) fn describe(checks: &[Check], verbose: bool) -> String {
    if verbose {
        return checks.iter().map(line).collect();
    }
    match checks.iter().find(|check| check.fault.is_some()) {
        None => "ok\n".to_owned(),
        Some(Check { name, fault, .. }) => {
            format!("{name}: {}\n", fault.as_deref().unwrap_or(""))
        }
    }
}

fn line(check: &Check) -> String {
    match (&check.fault, check.notice) {
        (None, None) => format!("[+] {} ok\n", check.name),
        (None, Some(notice)) => format!("[!] {}: {notice}\n", check.name),
        (Some(fault), _) => format!("[-] {}: {fault}\n", check.name),
    }
}

#[cfg(test)]
mod tests;
