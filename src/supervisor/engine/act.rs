//! Doing what `state` says.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use super::{Engine, Heir, Labels, SLACK};
use crate::admin::{CommandError, CommandReply, ReloadResult};
use crate::ipc::channel::ChannelError;
use crate::ipc::message::{PackError, Packed, Prepare, ToWorker};
use crate::model::config::Log;
use crate::shm::names::in_use;
use crate::shm::totals::Totals;
use crate::supervisor::admin_port::Moved;
use crate::supervisor::intake::Look;
use crate::supervisor::sockets::NotBound;
use crate::supervisor::state::history::{Record, Verdict};
use crate::supervisor::state::{
    Action, Event, ExitReason, Generation, KillReason, Plan, Settings, Source, Ticket, WorkerId,
};

impl Engine {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Spawn { worker, slot } => self.spawn(worker, slot),
            Action::Kill { worker, reason } => self.kill(worker, reason),
            Action::Bind { generation } => self.bind(generation),
            Action::Unbind { generation } => self.unbind(generation),
            Action::Prepare { worker, generation } => self.prepare(worker, generation),
            Action::Abort { worker, generation } => self.abort(worker, generation),
            Action::Open { generation } => self.open(generation),
            Action::Try { worker, generation } => self.try_out(worker, generation),
            Action::Commit { worker, generation } => self.commit(worker, generation),
            Action::Retire { generation } => self.retire(generation),
            Action::Leave { worker } => {
                let sent = self.children.send(worker, &ToWorker::Leave);
                self.check(worker, sent);
            }
            Action::DrainWorker { worker, timeout } => {
                let sent = self.children.send(worker, &ToWorker::Drain { timeout });
                self.check(worker, sent);
            }
            Action::Close => {
                let committed = self.state.committed();
                let settings = committed.map(|generation| &generation.plan.settings);
                self.sockets.close(settings, self.heir());
            }
            Action::Conclude { record, tickets } => self.conclude(&record, tickets),
            Action::PassOn { tickets } => self.pass_on_tickets(tickets),
            Action::GoBack { to, from, why } => {
                tracing::error!(from, to, why, "the guard goes back");
                self.go_back(to, Source::Guard { of: to, from, why }, Vec::new());
            }
            Action::Content { generation } => tracing::info!(generation, "the guard is content"),
            Action::AnnounceReady { generation } => {
                tracing::info!(generation, "ready");
                if let Some(inheritance) = self.inheritance.take() {
                    inheritance.say_ready();
                }
            }
            Action::Exit(reason) => self.leave(reason),
        }
    }

    fn spawn(&mut self, worker: WorkerId, slot: u16) {
        let log = self
            .state
            .committed()
            .map_or(crate::log::AT_START, |g| g.plan.config.log);
        match self.children.spawn(worker, slot, log) {
            Ok(pid) => tracing::info!(slot, pid = pid.as_raw(), "worker started"),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(slot, error, "worker not started");
                self.events.push_back(Event::Exited(worker));
            }
        }
    }

    fn kill(&mut self, worker: WorkerId, reason: KillReason) {
        if let Some(child) = self.children.get(worker) {
            let (slot, pid) = (child.slot, child.pid.as_raw());
            tracing::warn!(slot, pid, ?reason, "worker killed");
        }
        self.kills.insert(worker, reason);
        self.children.kill(worker);
    }

    fn bind(&mut self, number: u64) {
        let Some(Generation { plan, .. }) = self.state.find(number).cloned() else {
            return;
        };
        let event = match self.bind_all(number, &plan) {
            Ok(()) => Event::Bound { generation: number },
            Err(reasons) => Event::NotBound {
                generation: number,
                reasons,
            },
        };
        self.events.push_back(event);
    }

    fn bind_all(&mut self, number: u64, plan: &Plan) -> Result<(), Vec<String>> {
        let config = &plan.config;
        let told = |one: &NotBound| one.told(&plan.addresses);
        if let Err(errors) = self.sockets.bind(number, &plan.settings) {
            return Err(errors.iter().map(told).collect());
        }
        let used = in_use(&Totals::read(&self.segment));
        let index = Arc::new(self.names.assign(config, Instant::now(), &used));
        let packed = Packed::pack(index.as_ref()).map_err(|error: PackError| {
            self.sockets.unbind(number);
            vec![error.to_string()]
        })?;
        self.labels.insert(number, Labels { index, packed });
        self.tell_endpoints();
        if self.names_version != self.names.version() {
            self.names_version = self.names.version();
            let names = self.names.labels();
            let names = names.map(|(id, _, name)| (id, name.to_owned()));
            self.names_by_id = Arc::new(names.collect());
        }
        Ok(())
    }

    fn unbind(&mut self, number: u64) {
        self.sockets.unbind(number);
        self.labels.remove(&number);
        self.tell_endpoints();
    }

    /// A generation that was called off in the same moment is not there any more; its abort follows.
    fn prepare(&mut self, worker: WorkerId, number: u64) {
        let Some(Generation { plan, .. }) = self.state.find(number).cloned() else {
            return;
        };
        let Some(slot) = self.children.get(worker).map(|child| child.slot) else {
            return;
        };
        let serve = self.sockets.serve_list(number, &plan.settings, slot);
        let lent = self
            .children
            .lend(worker, &serve, |id| self.sockets.lend(id));
        self.check(worker, lent);
        let labels = self.labels.get(&number).map(|labels| labels.packed.clone());
        let prepare = Prepare {
            generation: number,
            sockets: serve,
            given: self.sockets.of_admin(number, &plan.settings),
            config: Packed::from(plan.packed.join()),
            labels: labels.unwrap_or_default(),
            memory: crate::container::limits().memory_of_worker(plan.settings.workers),
        };
        let sent = self
            .children
            .send(worker, &ToWorker::Prepare(Box::new(prepare)));
        self.check(worker, sent);
    }

    /// Of its sockets it keeps those that it serves; the others are lent again when they are needed.
    fn abort(&mut self, worker: WorkerId, generation: u64) {
        let serving = self.state.fleet().worker(worker).and_then(|w| w.serving);
        self.remember_lent(worker, serving);
        let sent = self.children.send(worker, &ToWorker::Abort { generation });
        self.check(worker, sent);
    }

    /// It has the sockets of both generations until it commits one.
    fn try_out(&mut self, worker: WorkerId, generation: u64) {
        let sent = self.children.send(worker, &ToWorker::Try { generation });
        self.check(worker, sent);
    }

    fn commit(&mut self, worker: WorkerId, generation: u64) {
        self.remember_lent(worker, Some(generation));
        let sent = self.children.send(worker, &ToWorker::Commit { generation });
        self.check(worker, sent);
    }

    fn remember_lent(&mut self, worker: WorkerId, generation: Option<u64>) {
        let slot = self.children.get(worker).map(|child| child.slot);
        let plan = generation.and_then(|number| self.state.find(number));
        let kept = match (plan, slot) {
            (Some(Generation { number, plan }), Some(slot)) => {
                self.sockets.serve_list(*number, &plan.settings, slot)
            }
            _ => Vec::new(),
        };
        self.children.keeps(worker, &kept);
    }

    fn open(&mut self, number: u64) {
        let Some(Generation { plan, .. }) = self.state.find(number).cloned() else {
            return;
        };
        if let Err(error) = self.sockets.open(&plan.settings) {
            // The address is ours and other slots listen on it: they serve it.
            tracing::error!(%error, "a socket of a new slot does not listen");
        }
        self.log_as(plan.config.log);
        self.open_admin(number, &plan.settings);
        self.announce_listeners(&plan.settings);
        self.timing.send_if_modified(|timing| {
            let wanted = super::timing(&plan.config);
            std::mem::replace(timing, wanted) != wanted
        });
        self.send_ticket_keys(&plan.config);
        self.watch_files();
        tracing::debug!(generation = number, "generation committed");
    }

    fn open_admin(&mut self, generation: u64, settings: &Settings) {
        let sockets = &self.sockets;
        let moved = self.admin.serve(
            settings.admin,
            sockets.of_admin(generation, settings),
            |id| sockets.lend(id),
            |id| sockets.is_let(id, settings),
        );
        match (moved, sockets.admin_address(settings)) {
            (Ok(Moved::Yes), Some(address)) => tracing::info!(%address, "admin listening"),
            (Ok(_), _) => {}
            (Err(error), _) => tracing::error!(%error, "the admin port stays where it was"),
        }
    }

    /// What an operator has asked for stays until the file says something else.
    fn log_as(&mut self, wanted: Log) {
        if std::mem::replace(&mut self.logging, wanted) == wanted {
            return;
        }
        self.log_filter = None;
        if let Err(error) = self.log.apply(wanted) {
            tracing::warn!(%error, "the log stays as it is");
        }
    }

    fn retire(&mut self, number: u64) {
        let Some(Generation { plan, .. }) = self.state.find(number).cloned() else {
            return;
        };
        // Closed here first: what arrived here alone would be lost with the last who has it.
        self.sockets.retire(&plan.settings, self.heir());
        self.admin.retire();
        for (worker, error) in self.children.send_to_all(&ToWorker::Retire) {
            self.check(worker, Err(error));
        }
        self.slack = SLACK;
        self.labels.retain(|kept, _| *kept >= number);
        self.announced
            .retain(|address, _| plan.settings.listeners.contains(address));
        self.resolver.serve(&plan.config);
        self.tell_endpoints();
    }

    fn heir(&self) -> Heir {
        match self.successor {
            Some(_) => Heir::Successor,
            None => Heir::Nobody,
        }
    }

    fn announce_listeners(&mut self, settings: &Settings) {
        for (configured, address) in self.sockets.addresses(settings) {
            if self.announced.insert(configured, address) != Some(address) {
                tracing::info!(%configured, %address, "listening");
            }
        }
    }

    fn conclude(&mut self, record: &Record, tickets: Vec<Ticket>) {
        self.slack = SLACK;
        let Record {
            generation,
            hash,
            took,
            changes,
            errors,
            ..
        } = record;
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match record.verdict {
            Verdict::Committed | Verdict::RolledBack => {
                let changes = changes.join("; ");
                let source = super::publish::source(&record.source, &self.launch);
                tracing::info!(generation, hash, source, took_ms, changes, "reload done");
                self.keep_last_good(record);
            }
            Verdict::Rejected => {
                let errors = errors.join("\n");
                tracing::error!(hash, took_ms, errors, "reload rejected");
            }
            Verdict::Superseded => tracing::info!(hash, "superseded by a newer configuration"),
        }
        // What was looked up for one that came to nothing is not wanted any more.
        if let (Verdict::Rejected, false) = (record.verdict, self.state.is_reloading())
            && let Some(config) = self.config()
        {
            self.resolver.serve(&config);
        }
        if record.verdict == Verdict::RolledBack {
            // To know what it names as it is now: what changes of it later is taken up.
            self.look(Look::Hint);
        }
        if let Some(result) = result(record.verdict) {
            self.counts.reload(result, *took);
        }
        for ticket in tickets {
            self.answer(ticket, self.outcome(record));
        }
    }

    fn outcome(&self, record: &Record) -> Result<CommandReply, CommandError> {
        match record.generation {
            Some(generation) => Ok(CommandReply {
                generation,
                message: format!("generation {generation} is served"),
                changes: record.changes.clone(),
            }),
            None => Err(CommandError::Refused(record.errors.clone())),
        }
    }

    pub(super) fn answer(&mut self, ticket: Ticket, answer: Result<CommandReply, CommandError>) {
        if let Some(reply) = self.waiting.remove(&ticket) {
            // Whoever asked may have gone away.
            let _unheard = reply.send(answer);
        }
    }

    /// Only what came from the file: a copy of a rollback would outlive its pin.
    fn keep_last_good(&mut self, record: &Record) {
        let Some(path) = &self.launch.last_good else {
            return;
        };
        let Some(text) = record
            .text
            .clone()
            .filter(|_| record.source == Source::File)
        else {
            return;
        };
        let (path, generation) = (path.clone(), record.generation);
        // Bounded by the helper threads, and one at a time in practice: a reload is far longer.
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = crate::source::document::keep(&path, &text.join()) {
                tracing::warn!(generation, path = %path.display(), %error, "last good not kept");
            }
        }));
    }

    fn leave(&mut self, reason: ExitReason) {
        self.exit = Some(match reason {
            ExitReason::Drained => {
                tracing::info!("drained");
                ExitCode::SUCCESS
            }
            ExitReason::Stopped => {
                tracing::warn!("stopped, with work in flight");
                ExitCode::FAILURE
            }
            ExitReason::FailedToStart => ExitCode::FAILURE,
        });
    }

    /// A worker whose queue is full, or whose channel cannot take a message, is of no use.
    pub(super) fn check(&mut self, worker: WorkerId, sent: Result<(), ChannelError>) {
        if let Err(error) = sent {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a worker cannot be told");
            self.events.push_back(Event::Hung(worker));
        }
    }
}

fn result(verdict: Verdict) -> Option<ReloadResult> {
    match verdict {
        Verdict::Committed => Some(ReloadResult::Committed),
        Verdict::RolledBack => Some(ReloadResult::RolledBack),
        Verdict::Rejected => Some(ReloadResult::Rejected),
        Verdict::Superseded => None,
    }
}
