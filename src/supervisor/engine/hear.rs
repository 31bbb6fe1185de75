//! What happens outside, made into events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::wait::WaitStatus;

use super::Engine;
use crate::admin::{CommandError, RestartReason, Timestamp};
use crate::ipc::message::{FromWorker, ToWorker};
use crate::model::config::ServerHost;
use crate::model::resolved::Resolved;
use crate::shm::health;
use crate::supervisor::children::{Death, End, News};
use crate::supervisor::intake::{Look, Planned, Sight};
use crate::supervisor::launch::Broken;
use crate::supervisor::resolver::{self, Addresses};
use crate::supervisor::roster::AtWork;
use crate::supervisor::signals::Heard;
use crate::supervisor::state::history::{Record, Verdict};
use crate::supervisor::state::{Event, KillReason, Plan, Source, Stage, Ticket, WorkerId};

/// Between two descriptions of all names; each second there is one in any case.
const DESCRIBE_NAMES: Duration = Duration::from_millis(100);

impl Engine {
    pub(super) fn hear(&mut self, heard: Heard) {
        if self.pass_on(heard) {
            return;
        }
        match heard {
            Heard::Reload if self.is_replaced() => {}
            Heard::Reload => self.look(Look::Forced(Vec::new())),
            Heard::Drain => self.end_by(Event::Leave),
            Heard::Interrupt => {
                self.interrupts += 1;
                match self.interrupts {
                    1 => self.end_by(Event::Drain),
                    _ => self.tell(Event::Stop),
                }
            }
            Heard::Replace => self.replace(),
            Heard::ReopenLogs => {
                for (worker, error) in self.children.send_to_all(&ToWorker::ReopenLogs) {
                    self.check(worker, Err(error));
                }
            }
            Heard::Child => {
                for death in self.reap() {
                    self.died(death);
                }
            }
        }
    }

    pub(super) fn end_by(&mut self, event: Event) {
        if !self.state.is_draining() {
            tracing::info!("draining");
        }
        self.call_off_replacing();
        self.tell(event);
    }

    /// The workers that have ended; of others only a successor is of interest.
    pub(super) fn reap(&mut self) -> Vec<Death> {
        let mut deaths = Vec::new();
        for end in self.children.reap() {
            match end {
                End::OfWorker(death) => deaths.push(death),
                End::OfStranger(pid, status) => {
                    if let Some(successor) = &mut self.successor {
                        successor.note_end(pid, status);
                    }
                }
            }
        }
        deaths
    }

    fn died(&mut self, death: Death) {
        let Death {
            worker,
            pid,
            slot,
            status,
        } = death;
        let pid = pid.as_raw();
        let killed = self.kills.remove(&worker);
        let leaving = self.state.fleet().worker(worker).map(|worker| worker.stage);
        let expected = !self.state.is_serving() || matches!(leaving, Some(Stage::Draining { .. }));
        let status = match status {
            WaitStatus::Exited(_, code) => format!("exit code {code}"),
            WaitStatus::Signaled(_, signal, _) => format!("signal {signal}"),
            other => format!("{other:?}"),
        };
        if expected {
            tracing::info!(slot, pid, status, "worker exited");
        } else {
            tracing::warn!(slot, pid, status, "worker exited");
            self.counts.restart(restart_reason(killed, &status));
        }
        self.tell(Event::Exited(worker));
    }

    pub(super) fn news(&mut self, worker: WorkerId, news: News) {
        match news {
            News::Message(FromWorker::Ready) => {
                let endpoints = self.roster.all();
                if !endpoints.is_empty() {
                    let sent = self.children.send(worker, &ToWorker::Endpoints(endpoints));
                    self.check(worker, sent);
                }
                let keys = self.ticket_keys(self.config().as_deref());
                let sent = self.children.send(worker, &ToWorker::TicketKeys(keys));
                self.check(worker, sent);
                if let Some(filter) = self.log_filter.clone() {
                    let sent = self.children.send(worker, &ToWorker::LogFilter(filter));
                    self.check(worker, sent);
                }
                self.tell(Event::Ready(worker));
            }
            News::Message(FromWorker::Prepared { generation }) => {
                let slot = self.children.get(worker).map(|child| child.slot);
                tracing::debug!(slot, generation, "prepared");
                self.tell(Event::Prepared(worker, generation));
            }
            News::Message(FromWorker::Rejected { generation, reason }) => {
                tracing::warn!(generation, reason, "a worker refuses a generation");
                self.tell(Event::Rejected(worker, generation, reason));
            }
            News::Message(FromWorker::Committed { generation }) => {
                self.tell(Event::Committed(worker, generation));
            }
            // A worker that is gone, or going, is told by its process.
            News::Mute => self.tell(Event::Hung(worker)),
        }
    }

    pub(super) fn saw(&mut self, sight: Sight) {
        if self.is_replaced() {
            if let Some(Look::Forced(tickets)) = self.intake.again() {
                self.pass_on_tickets(tickets);
            }
            return self.pass_on_tickets(sight.into_tickets());
        }
        self.take_in(sight);
        self.watch_files();
        if let Some(look) = self.intake.again() {
            self.look(look);
        }
    }

    fn take_in(&mut self, sight: Sight) {
        match sight {
            Sight::Same => {}
            Sight::Gone(broken, tickets) => {
                let errors = broken.errors.join("\n");
                tracing::warn!(
                    errors,
                    "the configuration file cannot be read, going on without"
                );
                for ticket in tickets {
                    self.answer(ticket, Err(CommandError::Refused(broken.errors.clone())));
                }
            }
            Sight::Invalid(broken, tickets) | Sight::NotRenewed(broken, tickets)
                if self.is_told(&broken) =>
            {
                self.refused_again(broken, tickets)
            }
            Sight::Invalid(broken, tickets) | Sight::NotRenewed(broken, tickets) => {
                self.refused(broken, tickets)
            }
            Sight::Equal { tickets, .. } => self.unchanged(tickets),
            Sight::Pinned {
                generation,
                tickets,
                ..
            } => self.stays_pinned(generation, tickets),
            Sight::Plan(planned) => {
                let Planned {
                    plan,
                    warnings,
                    mends,
                    ..
                } = *planned;
                if !mends && self.is_served(&plan) {
                    return self.unchanged(plan.tickets);
                }
                self.warn(&warnings);
                self.want(plan);
            }
        }
    }

    /// It was committed while this look at it was under way.
    fn is_served(&self, plan: &Plan) -> bool {
        let committed = self
            .state
            .committed()
            .filter(|_| !self.state.is_reloading());
        committed.is_some_and(|generation| {
            generation.plan.hash == plan.hash && generation.plan.config == plan.config
        })
    }

    fn unchanged(&mut self, tickets: Vec<Ticket>) {
        let generation = self.state.generation().unwrap_or_default();
        tracing::info!(generation, "configuration unchanged");
        for ticket in tickets {
            self.done(ticket, "nothing has changed");
        }
    }

    fn stays_pinned(&mut self, of: u64, tickets: Vec<Ticket>) {
        tracing::info!(
            of,
            "configuration unchanged, an earlier generation stays pinned"
        );
        let message = format!(
            "nothing has changed: the configuration of generation {of} is pinned until the file \
             changes or it is unpinned"
        );
        for ticket in tickets {
            self.done(ticket, &message);
        }
    }

    pub(super) fn want(&mut self, plan: Plan) {
        self.tell(Event::Wanted(Box::new(plan)));
    }

    pub(super) fn refused(&mut self, broken: Broken, tickets: Vec<Ticket>) {
        let record = Record {
            generation: None,
            hash: broken.hash,
            source: Source::File,
            at: Timestamp::now().millis(),
            took: std::time::Duration::ZERO,
            verdict: Verdict::Rejected,
            errors: broken.errors,
            changes: Vec::new(),
            packed: None,
            text: None,
            files: Arc::default(),
        };
        self.tell(Event::Refused(Box::new(record), tickets));
    }

    /// The file is wrong as it was: who asks hears it, the log and the history have it already.
    fn refused_again(&mut self, broken: Broken, tickets: Vec<Ticket>) {
        let hash = broken.hash;
        tracing::info!(hash, "the configuration file is as invalid as before");
        for ticket in tickets {
            self.answer(ticket, Err(CommandError::Refused(broken.errors.clone())));
        }
    }

    fn is_told(&self, broken: &Broken) -> bool {
        let latest = self.state.history().latest();
        latest.is_some_and(|record| {
            record.verdict == Verdict::Rejected
                && record.hash == broken.hash
                && record.errors == broken.errors
        })
    }

    pub(super) fn warn(&self, warnings: &[String]) {
        for warning in warnings {
            tracing::warn!(warning, "the configuration is odd");
        }
    }

    pub(super) fn resolved(&mut self, news: resolver::News) {
        for result in news.results {
            self.counts.lookup(result);
        }
        if self.names_described_at.elapsed() >= DESCRIBE_NAMES {
            self.describe_names();
        }
        if news.addresses == Addresses::Changed {
            self.tell_endpoints();
        }
    }

    /// Addresses or configurations have changed: so may have the endpoints.
    pub(super) fn tell_endpoints(&mut self) {
        let generations = self.labels.iter().filter_map(|(number, labels)| {
            let plan = &self.state.find(*number)?.plan;
            Some(AtWork {
                config: Arc::clone(&plan.config),
                index: Arc::clone(&labels.index),
            })
        });
        let at_work: Vec<AtWork> = generations.collect();
        let resolver = &self.resolver;
        let found = |host: &ServerHost| match resolver::lookup(host) {
            Some(lookup) => resolver.found(&lookup),
            None => Vec::new(),
        };
        let (names, now) = (&mut self.names, Instant::now());
        let changed = self.roster.update(&at_work, &found, names, now);
        for id in self.names.take_fresh() {
            self.segment.begin_endpoint(id, health::now());
        }
        if !changed.is_empty() {
            self.send_endpoints(changed);
        }
        self.watch_endpoints();
    }

    fn send_endpoints(&mut self, changed: Vec<Resolved>) {
        self.resolved = Arc::new(self.roster.all());
        for (worker, error) in self.children.send_to_all(&ToWorker::Endpoints(changed)) {
            self.check(worker, Err(error));
        }
    }
}

fn restart_reason(killed: Option<KillReason>, status: &str) -> RestartReason {
    match killed {
        Some(KillReason::Hung) => RestartReason::Hang,
        Some(KillReason::NotReady | KillReason::NoAnswer) => RestartReason::Unresponsive,
        Some(KillReason::CannotServe | KillReason::DrainTimeout | KillReason::Stop) => {
            RestartReason::Protocol
        }
        None if status.starts_with("signal") => RestartReason::Signal,
        None => RestartReason::Exit,
    }
}
