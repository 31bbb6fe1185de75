//! From a file to a plan, one at a time and beside the loop: read, compared by hash, validated,
//! compiled to see whether it can be (by `model::load`), packed, and its names asked for.
//!
//! Not here: when to look (`source`), and what becomes of the plan (`state`).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::task::JoinHandle;

use super::launch::{Broken, Wanted};
use super::resolver::Primer;
use super::state::{Generation, Plan, Source, Ticket};
use crate::source::document::{self, Document};
use crate::source::files::Named;
use crate::source::text::UnreadableText;

mod apart;

use apart::{Apart, renew};

/// Why to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// Something may have changed.
    Hint,
    /// Somebody wants it: what the file refers to may have changed where it has not.
    Forced(Vec<Ticket>),
}

/// What is served when a look begins.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) generation: Option<Generation>,
    pub(super) stays: Stays,
    /// An earlier generation was brought back, which stays until the file has other contents.
    pub(super) pinned: Option<u64>,
}

/// The summary of an edit that changes nothing else.
const REWORDED: &str = "other words with the same meaning";

impl Served {
    fn plan(&self) -> Option<&Plan> {
        self.generation.as_ref().map(|generation| &*generation.plan)
    }

    /// A text that means what is served, and is not that text.
    fn is_reworded_by(&self, plan: &Plan) -> bool {
        let served = self.plan();
        served.is_some_and(|served| plan.changes.is_empty() && served.hash != plan.hash)
    }
}

/// Whether anything else is on its way to the workers. Then a file that says what is served is news:
/// it takes back the edit before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stays {
    Yes,
    No,
}

/// What there was to see.
#[derive(Debug)]
pub(super) enum Sight {
    /// The contents are those of the last look.
    Same,
    /// The file is not there; it may be back soon.
    Gone(Broken, Vec<Ticket>),
    /// Other contents, and not valid, or not to be read.
    Invalid(Broken, Vec<Ticket>),
    /// The contents that a pinned generation was brought back from, and outlasts.
    Pinned {
        last: Last,
        generation: u64,
        tickets: Vec<Ticket>,
    },
    /// What is served, to the letter.
    Equal {
        last: Last,
        tickets: Vec<Ticket>,
    },
    Plan(Box<Planned>),
    /// What is served, with other contents of the files that it names, which are not valid.
    NotRenewed(Broken, Vec<Ticket>),
}

impl Sight {
    /// Whoever wants to hear of it.
    pub(super) fn into_tickets(self) -> Vec<Ticket> {
        match self {
            Sight::Same => Vec::new(),
            Sight::Gone(_, tickets)
            | Sight::Invalid(_, tickets)
            | Sight::NotRenewed(_, tickets)
            | Sight::Pinned { tickets, .. }
            | Sight::Equal { tickets, .. } => tickets,
            Sight::Plan(planned) => planned.plan.tickets,
        }
    }
}

#[derive(Debug)]
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) warnings: Vec<String>,
    /// What the contents of the file are from now on; `None` where the text is that of what is served.
    last: Option<Last>,
    /// It follows one that was not valid, and is news even where it is served already.
    pub(super) mends: bool,
}

/// Contents: the hash of the file's own, and the files that it names.
#[derive(Debug, Clone)]
pub(super) struct Last {
    pub(super) hash: String,
    pub(super) files: Named,
}

#[derive(Debug)]
pub(super) struct Intake {
    path: PathBuf,
    /// The contents that were seen last, valid or not.
    last: Option<Last>,
    /// The hash of it when an earlier generation was brought back.
    pinned: Option<String>,
    /// Whether they were not valid: what is served already is news then.
    mend: bool,
    apart: Option<Apart>,
    running: Option<JoinHandle<(Sight, Option<Apart>)>>,
    again: Option<Look>,
}

impl Intake {
    pub(super) fn new(path: PathBuf, last: Option<Last>) -> Intake {
        Intake {
            path,
            last,
            pinned: None,
            apart: None,
            mend: false,
            running: None,
            again: None,
        }
    }

    /// Looks, or looks once more after the look that is under way.
    /// `served` is what the plan will be told apart from.
    pub(super) fn look(&mut self, look: Look, served: Served, primer: Primer) {
        if self.running.is_some() {
            self.again = Some(Look::both(self.again.take(), look));
            return;
        }
        let (path, last, mend) = (self.path.clone(), self.last.clone(), self.mend);
        let (pinned, apart) = (self.pinned.clone(), self.apart.take());
        self.running = Some(tokio::spawn(async move {
            let seen = Instant::now();
            let (tickets, forced) = match look {
                Look::Hint => (Vec::new(), false),
                Look::Forced(tickets) => (tickets, true),
            };
            let before = Before {
                last,
                pinned,
                forced,
                mend,
                apart,
                served,
            };
            let see = move || renew(see(&path, &before, tickets, seen), before, seen);
            let sight = tokio::task::spawn_blocking(see).await;
            let (sight, apart) = sight.unwrap_or((Sight::Same, None));
            if let Sight::Plan(planned) = &sight {
                primer.prime(&planned.plan.config).await;
            }
            (sight, apart)
        }));
    }

    /// An earlier generation is brought back, whatever the file says now.
    pub(super) fn pin(&mut self) {
        self.pinned = self.last.as_ref().map(|last| last.hash.clone());
    }

    /// The contents that a generation is pinned against.
    pub(super) fn pinned(&self) -> Option<&str> {
        self.pinned.as_deref()
    }

    /// What the look that is under way has seen; pending where there is none. May be dropped.
    pub(super) async fn seen(&mut self) -> Sight {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let (sight, apart) = running.await.unwrap_or((Sight::Same, None));
        self.running = None;
        self.apart = apart;
        self.remember(&sight);
        sight
    }

    fn remember(&mut self, sight: &Sight) {
        let (last, mend) = match sight {
            Sight::Same | Sight::NotRenewed(..) => return,
            Sight::Gone(broken, _) => (broken.last(), self.mend),
            Sight::Invalid(broken, _) => (broken.last(), true),
            Sight::Equal { last, .. } | Sight::Pinned { last, .. } => (last.clone(), false),
            Sight::Plan(planned) => match &planned.last {
                Some(last) => (last.clone(), false),
                None => return,
            },
        };
        self.last = Some(last);
        self.mend = mend;
    }

    /// What the contents that were seen last name beside themselves.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let files = self.last.iter().flat_map(|last| last.files.paths());
        files.map(Path::to_owned).collect()
    }

    /// The look that was asked for meanwhile.
    pub(super) fn again(&mut self) -> Option<Look> {
        self.again.take()
    }
}

impl Broken {
    pub(super) fn last(&self) -> Last {
        Last {
            hash: self.hash.clone(),
            files: self.files.clone(),
        }
    }
}

impl Look {
    fn both(first: Option<Look>, second: Look) -> Look {
        match (first, second) {
            (None | Some(Look::Hint), look) | (Some(look), Look::Hint) => look,
            (Some(Look::Forced(mut some)), Look::Forced(more)) => {
                some.extend(more);
                Look::Forced(some)
            }
        }
    }
}

/// What is known when a look begins.
struct Before {
    last: Option<Last>,
    pinned: Option<String>,
    forced: bool,
    mend: bool,
    apart: Option<Apart>,
    served: Served,
}

impl Before {
    fn is_seen(&self, hash: &str) -> bool {
        let last = self.last.as_ref().filter(|last| last.hash == hash);
        last.is_some_and(|last| self.is_outlasted(hash) || last.files.are_the_same())
    }

    /// Whether these contents are those that a pinned generation stays in spite of.
    fn is_outlasted(&self, hash: &str) -> bool {
        self.served.pinned.is_some() && self.pinned.as_deref() == Some(hash)
    }

    /// With the files that were named when it was seen.
    fn seen(&self, hash: String) -> Last {
        let last = self.last.as_ref().filter(|last| last.hash == hash);
        let files = last.map(|last| last.files.clone()).unwrap_or_default();
        Last { hash, files }
    }

    /// What is served already goes on, whatever the day.
    fn tolerates(&self, fingerprint: &str) -> bool {
        let served = self.served.plan();
        served.is_some_and(|plan| {
            let mut all = plan.config.certificates();
            all.any(|certificate| certificate.facts.fingerprint == fingerprint)
        })
    }

    /// Other words with the same meaning are news: what is known of a generation is its text's hash.
    fn is_nothing_new(&self, wanted: &Wanted) -> bool {
        let served = self.served.plan();
        let served = served.is_some_and(|it| *it.config == wanted.config && it.hash == wanted.hash);
        served && self.served.stays == Stays::Yes && !self.mend
    }
}

fn see(path: &Path, before: &Before, tickets: Vec<Ticket>, seen: Instant) -> Sight {
    let text = match document::read(path) {
        Ok(text) => text,
        Err(error) => return unreadable(path, &error, before.last.as_ref(), tickets),
    };
    let hash = document::hash(&text);
    if !before.forced && before.is_seen(&hash) {
        return Sight::Same;
    }
    if let Some(generation) = before.served.pinned
        && before.is_outlasted(&hash)
    {
        return Sight::Pinned {
            last: before.seen(hash),
            generation,
            tickets,
        };
    }
    let document = document::parse(text, &|fingerprint| before.tolerates(fingerprint));
    match Wanted::from(document, Source::File, seen) {
        Err(document) => Sight::Invalid(Broken::of(&document), tickets),
        Ok(wanted) if before.is_nothing_new(&wanted) => {
            let files = wanted.files;
            let last = Last { hash, files };
            Sight::Equal { last, tickets }
        }
        Ok(wanted) => planned(wanted, &before.served, before.mend, tickets),
    }
}

fn planned(wanted: Wanted, served: &Served, mends: bool, tickets: Vec<Ticket>) -> Sight {
    let (hash, warnings) = (wanted.hash.clone(), wanted.warnings.clone());
    let files = wanted.files.clone();
    let broken = |error: String| Broken {
        hash: hash.clone(),
        errors: vec![error],
        files: files.clone(),
    };
    let kept = tickets.clone();
    let last = Some(Last {
        hash: hash.clone(),
        files: files.clone(),
    });
    match wanted.plan(served.plan(), tickets) {
        Ok(mut plan) => {
            if served.is_reworded_by(&plan) {
                plan.changes.push(REWORDED.to_owned());
            }
            Sight::Plan(Box::new(Planned {
                plan,
                warnings,
                last,
                mends,
            }))
        }
        Err(error) => Sight::Invalid(broken(error), kept),
    }
}

/// Told once; the hash is of the reason, since there are no contents.
fn unreadable(
    path: &Path,
    error: &UnreadableText,
    last: Option<&Last>,
    tickets: Vec<Ticket>,
) -> Sight {
    let document: Document = document::unreadable(path, error);
    let broken = Broken {
        hash: document::hash(&error.to_string()),
        ..Broken::of(&document)
    };
    let is_known = last.is_some_and(|last| last.hash == broken.hash);
    match error {
        _ if is_known && tickets.is_empty() => Sight::Same,
        UnreadableText::Io(error) if error.kind() == ErrorKind::NotFound => {
            Sight::Gone(broken, tickets)
        }
        _ => Sight::Invalid(broken, tickets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_look_is_not_lost_behind_a_hint() {
        let forced = |n| Look::Forced(vec![Ticket(n)]);
        assert_eq!(Look::both(None, Look::Hint), Look::Hint);
        assert_eq!(Look::both(Some(Look::Hint), forced(1)), forced(1));
        assert_eq!(Look::both(Some(forced(1)), Look::Hint), forced(1));
        let both = Look::both(Some(forced(1)), forced(2));
        assert_eq!(both, Look::Forced(vec![Ticket(1), Ticket(2)]));
    }
}
