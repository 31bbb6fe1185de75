//! What an operator asks by the admin port.

use std::time::Instant;

use super::Engine;
use crate::admin::{Command, CommandError, CommandReply, Reply, Text, Verb};
use crate::ipc::message::{PackError, Packed, ToWorker};
use crate::model::config::Config;
use crate::source::document;
use crate::source::files::Named;
use crate::supervisor::intake::Look;
use crate::supervisor::launch::{self, Broken, Wanted};
use crate::supervisor::state::history::Record;
use crate::supervisor::state::{Event, Generation, Source, Ticket};

impl Engine {
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
        let Some(record) = record.filter(|record| record.text.is_some()) else {
            let why = "the generation is remembered, its configuration is not";
            return self.refuse(tickets, CommandError::Conflict(why.to_owned()));
        };
        let restored = restored(Record { source, ..record });
        let served = self.state.committed().map(|generation| &*generation.plan);
        match restored.and_then(|wanted| wanted.plan(served, tickets.clone())) {
            Ok(plan) => {
                self.intake.pin();
                self.want(plan);
            }
            Err(error) => {
                tracing::error!(error, "an earlier generation cannot be restored");
                self.refuse(tickets, CommandError::Refused(vec![error]));
            }
        }
    }

    fn refuse(&mut self, tickets: Vec<Ticket>, why: CommandError) {
        for ticket in tickets {
            self.answer(ticket, Err(why.clone()));
        }
    }

    fn filter_log(&mut self, ticket: Ticket, filter: String) {
        if let Err(error) = self.log.filter(&filter) {
            return self.answer(ticket, Err(CommandError::Refused(vec![error.to_string()])));
        }
        self.log_filter = Some(filter.clone());
        for (worker, error) in self.children.send_to_all(&ToWorker::LogFilter(filter)) {
            self.check(worker, Err(error));
        }
        self.done(
            ticket,
            "logging by this filter until the next change of `log`",
        );
    }

    pub(super) fn done(&mut self, ticket: Ticket, message: &str) {
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

    pub(super) fn conflict(&mut self, ticket: Ticket, why: &str) {
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
    let document = document::parse(text.0, &|_| true);
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

/// As this binary has packed it, with the secrets and certificates of its time; what another one has
/// left is read anew.
pub(super) fn restored(record: Record) -> Result<Wanted, String> {
    let text = record.text.map(|text| text.join()).unwrap_or_default();
    let text = String::from_utf8(text).map_err(|error| error.to_string())?;
    let Some(packed) = &record.packed else {
        let document = document::parse(text, &|_| true);
        let wanted = Wanted::from(document, record.source, Instant::now());
        return wanted.map_err(|document| Broken::of(&document).errors.join("\n"));
    };
    let config: Result<Config, PackError> = Packed::from(packed.join()).unpack();
    let config = config.map_err(|error| error.to_string())?;
    Ok(Wanted {
        text,
        hash: record.hash,
        source: record.source,
        config,
        warnings: Vec::new(),
        seen: Instant::now(),
        files: Named::clone(&record.files),
        addresses: Vec::new(),
    })
}
