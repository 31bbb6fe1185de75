//! What happens outside, made into events.

use std::sync::Arc;
use std::time::Instant;

use nix::sys::wait::WaitStatus;

use super::Engine;
use crate::admin::{
    Command, CommandError, CommandReply, Reply, RestartReason, Text, Timestamp, Verb,
};
use crate::ipc::message::{FromWorker, Packed, ToWorker};
use crate::model::config::Config;
use crate::shm::health;
use crate::source::document;
use crate::supervisor::children::{Death, End, News};
use crate::supervisor::intake::{Look, Planned, Sight};
use crate::supervisor::launch::{self, Broken, Wanted};
use crate::supervisor::resolver::Found;
use crate::supervisor::roster::AtWork;
use crate::supervisor::signals::Heard;
use crate::supervisor::state::history::{Record, Verdict};
use crate::supervisor::state::{
    Event, Generation, KillReason, Plan, Source, Stage, Ticket, WorkerId,
};

impl Engine {
    pub(super) fn hear(&mut self, heard: Heard) {
        if self.pass_on(heard) {
            return;
        }
        match heard {
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

    fn end_by(&mut self, event: Event) {
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
                self.tell(Event::Ready(worker));
            }
            News::Message(FromWorker::Prepared { generation }) => {
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
        self.take_in(sight);
        if let Some(look) = self.intake.again() {
            self.look(look);
        }
    }

    fn take_in(&mut self, sight: Sight) {
        match sight {
            Sight::Same => {}
            Sight::Unreadable(broken, tickets) => {
                let errors = broken.errors.join("\n");
                tracing::warn!(
                    errors,
                    "the configuration file cannot be read, going on without"
                );
                for ticket in tickets {
                    self.answer(ticket, Err(CommandError::Refused(broken.errors.clone())));
                }
            }
            Sight::Invalid(broken, tickets) if self.is_told(&broken) => {
                self.refused_again(broken, tickets)
            }
            Sight::Invalid(broken, tickets) => self.refused(broken, tickets),
            Sight::Equal { tickets, .. } => self.unchanged(tickets),
            Sight::Pinned {
                generation,
                tickets,
            } => self.stays_pinned(generation, tickets),
            Sight::Plan(planned) => {
                let Planned {
                    plan,
                    text,
                    warnings,
                    found,
                    mends,
                } = *planned;
                self.resolved(found);
                if !mends && self.is_served(&plan) {
                    return self.unchanged(plan.tickets);
                }
                self.warn(&warnings);
                self.want(plan, text);
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

    pub(super) fn want(&mut self, plan: Plan, text: String) {
        if self.launch.last_good.is_some() {
            self.wanted_text = Some((plan.hash.clone(), text));
        }
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

    pub(super) fn resolved(&mut self, found: Found) {
        if !self.resolver.learn(found).is_empty() {
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
        let (resolver, names) = (&self.resolver, &mut self.names);
        let changed = self
            .roster
            .update(&at_work, resolver, names, Instant::now());
        for id in self.names.take_fresh() {
            self.segment.begin_endpoint(id, health::now());
        }
        if changed.is_empty() {
            return;
        }
        self.resolved = Arc::new(self.roster.all());
        for (worker, error) in self.children.send_to_all(&ToWorker::Endpoints(changed)) {
            self.check(worker, Err(error));
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        let Command { verb, reply } = command;
        if let Verb::Diff { text } = verb {
            return compare(self.state.committed(), text, reply);
        }
        let ticket = self.ticket(reply);
        match verb {
            Verb::Ping => self.done(ticket, "alive"),
            Verb::Reload if self.state.is_draining() => self.conflict(ticket, "draining"),
            Verb::Reload => self.look(Look::Forced(vec![ticket])),
            Verb::Drain => {
                self.end_by(Event::Leave);
                self.done(ticket, "draining");
            }
            Verb::Quit => {
                self.end_by(Event::Quit);
                self.done(ticket, "ending with the last connection");
            }
            Verb::Rollback { generation } => self.roll_back(generation, ticket),
            Verb::Unpin => {
                self.tell(Event::Unpin);
                self.look(Look::Forced(vec![ticket]));
            }
            Verb::LogLevel { filter } => self.filter_log(ticket, filter),
            // Answered beside the loop, above.
            Verb::Diff { .. } => {}
        }
    }

    fn roll_back(&mut self, generation: Option<u64>, ticket: Ticket) {
        let history = self.state.history();
        let record = match generation {
            Some(number) => history.find(number),
            None => history.before_the_last(),
        };
        match record.and_then(|record| record.generation) {
            Some(of) => self.go_back(of, Source::Rollback { of }, vec![ticket]),
            None => self.conflict(ticket, "no such generation to go back to"),
        }
    }

    /// The configuration of an earlier generation becomes the newest one.
    pub(super) fn go_back(&mut self, to: u64, source: Source, tickets: Vec<Ticket>) {
        let record = self.state.history().find(to).cloned();
        let Some(packed) = record.as_ref().and_then(|record| record.packed.clone()) else {
            for ticket in tickets {
                self.conflict(
                    ticket,
                    "the generation is remembered, its configuration is not",
                );
            }
            return;
        };
        let hash = record.map(|record| record.hash).unwrap_or_default();
        match restored(&packed, hash, source) {
            Ok(wanted) => match wanted.plan(self.config().as_deref(), tickets) {
                Ok((plan, text)) => self.want(plan, text),
                Err(error) => tracing::error!(error, "an earlier generation cannot be restored"),
            },
            Err(error) => tracing::error!(error, "an earlier generation cannot be restored"),
        }
    }

    fn filter_log(&mut self, ticket: Ticket, filter: String) {
        if let Err(error) = self.log.filter(&filter) {
            return self.answer(ticket, Err(CommandError::Refused(vec![error.to_string()])));
        }
        for (worker, error) in self.children.send_to_all(&ToWorker::LogFilter(filter)) {
            self.check(worker, Err(error));
        }
        self.done(
            ticket,
            "logging by this filter until the next change of `log`",
        );
    }

    fn done(&mut self, ticket: Ticket, message: &str) {
        let generation = self.state.generation().unwrap_or_default();
        let message = message.to_owned();
        self.answer(
            ticket,
            Ok(CommandReply {
                generation,
                message,
                changes: Vec::new(),
            }),
        );
    }

    fn conflict(&mut self, ticket: Ticket, why: &str) {
        self.answer(ticket, Err(CommandError::Conflict(why.to_owned())));
    }
}

/// Against what is served, with what the text refers to as it is here and now; beside the loop.
fn compare(served: Option<&Generation>, text: Text, reply: Reply) {
    let served = served.cloned();
    // Bounded by the helper threads, and by the connections of the admin port.
    drop(tokio::task::spawn_blocking(move || {
        // Whoever asked may have gone away.
        let _unheard = reply.send(difference(served, text));
    }));
}

fn difference(served: Option<Generation>, text: Text) -> Result<CommandReply, CommandError> {
    let Some(Generation { number, plan }) = served else {
        return Err(CommandError::Conflict("nothing is served yet".to_owned()));
    };
    let document = document::parse(text.0);
    let Some(config) = &document.loaded.config else {
        return Err(CommandError::Refused(Broken::of(&document).errors));
    };
    let changes = launch::changes(&plan.config, config);
    Ok(CommandReply {
        generation: number,
        message: match changes.is_empty() {
            true => "nothing changes".to_owned(),
            false => "a reload would change this".to_owned(),
        },
        changes,
    })
}

fn restored(packed: &Arc<Packed>, hash: String, source: Source) -> Result<Wanted, String> {
    let config: Config = packed.unpack().map_err(|error| error.to_string())?;
    Ok(Wanted {
        text: String::new(),
        hash,
        source,
        config,
        warnings: Vec::new(),
        seen: Instant::now(),
    })
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
