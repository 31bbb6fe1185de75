//! What is known of names, and which of them to ask for when: pure, with time as an argument.
//!
//! A good answer is asked for again at its TTL; one that failed, or said that there is nothing, sooner
//! and then more and more seldom. Failures take nothing away: what was good last stays. Not here: how
//! name servers are asked (`ask`), and who is told (`engine`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::model::config::Resolver as Settings;
use crate::model::resolved::LookupResult;

/// After the first failure, and doubled after each further one.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// However often it has failed.
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Addresses of one name; what a name server says beyond that is left out.
pub(super) const MOST_ENDPOINTS: usize = 1_024;

/// What a server of the configuration is looked up as.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::supervisor) enum Lookup {
    /// By A and AAAA.
    Host(String),
    /// By SRV, and then each target by A and AAAA.
    Service(String),
}

/// An address that a lookup has brought.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::supervisor) struct Found {
    pub(in crate::supervisor) ip: IpAddr,
    /// Of a service; a host has the port of its url.
    pub(in crate::supervisor) port: Option<u16>,
    pub(in crate::supervisor) weight: u32,
    /// The lowest is the best.
    pub(in crate::supervisor) priority: u16,
}

/// One question to name servers, and what came of it. A lookup may need several, and when one of
/// them fails, what the same question brought the last time still counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) question: Question,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// As it was sent: with its search domain.
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    A,
    Aaaa,
    Srv,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Found {
        endpoints: Vec<Found>,
        ttl: Duration,
    },
    /// A name server knows that there is none.
    Nothing,
    Failed(Failure),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) how: How,
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Silence,
    /// Of the name server, by its own word.
    Server,
    Other,
}

/// A lookup that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Learned {
    pub(super) result: LookupResult,
    /// All that it stands for now, if that has changed.
    pub(super) changed: Option<Vec<Found>>,
    /// Set with the first of several failures, and with the success after them.
    pub(super) turn: Option<Turn>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Failing(String),
    Recovered,
}

/// A lookup as the status shows it; moments are those of the book's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supervisor) struct Entry {
    kept: Vec<(Question, Vec<Found>)>,
    pub(in crate::supervisor) ttl: Duration,
    pub(in crate::supervisor) resolved_at: Option<Instant>,
    pub(in crate::supervisor) failures: u32,
    pub(in crate::supervisor) error: Option<String>,
    negative_since: Option<Instant>,
    /// `None` while it is being asked for.
    due: Option<Instant>,
    answered: bool,
}

#[derive(Debug)]
pub(super) struct Book {
    settings: Settings,
    entries: BTreeMap<Lookup, Entry>,
    queue: BTreeSet<(Instant, Lookup)>,
}

impl Book {
    pub(super) fn new(settings: Settings) -> Book {
        Book {
            settings,
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
        }
    }

    /// What has changed in how to ask makes every answer an old one, also those that are waited for.
    pub(super) fn settle(&mut self, settings: Settings, now: Instant) {
        self.settings = settings;
        self.queue.clear();
        let all: Vec<Lookup> = self.entries.keys().cloned().collect();
        for lookup in all {
            self.plan(&lookup, now);
        }
    }

    /// Adds what is not known yet; it is due at once.
    pub(super) fn want(&mut self, lookups: &BTreeSet<Lookup>, now: Instant) {
        for lookup in lookups {
            if !self.entries.contains_key(lookup) {
                self.entries.insert(lookup.clone(), Entry::new(now));
                self.queue.insert((now, lookup.clone()));
            }
        }
    }

    /// Forgets what nobody uses any more.
    pub(super) fn keep(&mut self, lookups: &BTreeSet<Lookup>) {
        self.entries.retain(|lookup, _| lookups.contains(lookup));
        self.queue.retain(|(_, lookup)| lookups.contains(lookup));
    }

    /// The next one to ask for, and the name that answered the last time. It is not due again until
    /// its answer has been learned.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Lookup, Option<String>)> {
        let first = self.queue.first().filter(|(due, _)| *due <= now)?.clone();
        self.queue.remove(&first);
        let (_, lookup) = first;
        let entry = self.entries.get_mut(&lookup)?;
        entry.due = None;
        let last = entry
            .kept
            .first()
            .map(|(question, _)| question.name.clone());
        Some((lookup, last))
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }

    pub(super) fn has_answered(&self, lookup: &Lookup) -> bool {
        self.entries.get(lookup).is_none_or(|entry| entry.answered)
    }

    pub(super) fn learn(
        &mut self,
        lookup: &Lookup,
        parts: Vec<Part>,
        now: Instant,
    ) -> Option<Learned> {
        let settings = &self.settings;
        let entry = self.entries.get_mut(lookup)?;
        let before = entry.endpoints();
        let failing = entry.failures > 0;
        let (result, wait) = entry.take_in(parts, settings, now);
        entry.answered = true;
        let after = entry.endpoints();
        let turn = match (failing, result) {
            (true, LookupResult::Success) => Some(Turn::Recovered),
            (false, LookupResult::Negative | LookupResult::Timeout | LookupResult::Failure) => {
                Some(Turn::Failing(entry.error.clone().unwrap_or_default()))
            }
            _ => None,
        };
        let wait = wait.saturating_sub(spread(lookup, entry.failures, wait));
        let wait = wait.max(settings.min_ttl.min(FIRST_RETRY));
        self.plan(lookup, now + wait);
        Some(Learned {
            result,
            changed: (before != after).then_some(after),
            turn,
        })
    }

    pub(super) fn find(&self, lookup: &Lookup) -> Option<&Entry> {
        self.entries.get(lookup)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Lookup, &Entry)> {
        self.entries.iter()
    }

    fn plan(&mut self, lookup: &Lookup, due: Instant) {
        if let Some(entry) = self.entries.get_mut(lookup) {
            entry.due = Some(due);
            self.queue.insert((due, lookup.clone()));
        }
    }
}

impl Entry {
    fn new(now: Instant) -> Entry {
        Entry {
            kept: Vec::new(),
            ttl: Duration::ZERO,
            resolved_at: None,
            failures: 0,
            error: None,
            negative_since: None,
            due: Some(now),
            answered: false,
        }
    }

    /// In a fixed order, each address once.
    pub(in crate::supervisor) fn endpoints(&self) -> Vec<Found> {
        let mut by_address: BTreeMap<(IpAddr, Option<u16>), &Found> = BTreeMap::new();
        for found in self.kept.iter().flat_map(|(_, endpoints)| endpoints) {
            by_address.entry((found.ip, found.port)).or_insert(found);
        }
        by_address
            .into_values()
            .take(MOST_ENDPOINTS)
            .cloned()
            .collect()
    }

    pub(in crate::supervisor) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes an answer in, and says how long it holds.
    fn take_in(
        &mut self,
        parts: Vec<Part>,
        settings: &Settings,
        now: Instant,
    ) -> (LookupResult, Duration) {
        let ttl = parts.iter().filter_map(|part| part.outcome.ttl()).min();
        let failure = parts
            .iter()
            .find_map(|part| part.outcome.failure())
            .cloned();
        self.error = failure.as_ref().map(|failure| failure.message.clone());
        match (ttl, failure) {
            (Some(ttl), _) => {
                self.kept = self.merged(parts);
                self.ttl = ttl;
                self.resolved_at = Some(now);
                self.failures = 0;
                self.negative_since = None;
                (
                    LookupResult::Success,
                    ttl.clamp(settings.min_ttl, settings.max_ttl),
                )
            }
            (None, Some(failure)) => {
                self.failures = self.failures.saturating_add(1);
                (failure.how.result(), self.retry())
            }
            (None, None) => (LookupResult::Negative, self.take_in_nothing(settings, now)),
        }
    }

    fn take_in_nothing(&mut self, settings: &Settings, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.error = Some("no such name, or no address of it".to_owned());
        let since = *self.negative_since.get_or_insert(now);
        let held = now.saturating_duration_since(since);
        if held >= settings.hold_negative {
            self.kept.clear();
            return self.retry();
        }
        // It is asked once more when the time is up, not long after.
        self.retry().min(settings.hold_negative - held)
    }

    fn merged(&self, parts: Vec<Part>) -> Vec<(Question, Vec<Found>)> {
        let merge = |Part { question, outcome }| {
            let endpoints = match outcome {
                Outcome::Found { endpoints, .. } => endpoints,
                Outcome::Nothing => return None,
                Outcome::Failed(_) => self.last(&question)?.clone(),
            };
            Some((question, endpoints))
        };
        parts.into_iter().filter_map(merge).collect()
    }

    fn last(&self, question: &Question) -> Option<&Vec<Found>> {
        let mut kept = self.kept.iter();
        let (_, endpoints) = kept.find(|(kept, _)| kept == question)?;
        Some(endpoints)
    }

    fn retry(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        (FIRST_RETRY * (1 << doublings)).min(LAST_RETRY)
    }
}

impl Outcome {
    pub(super) fn ttl(&self) -> Option<Duration> {
        match self {
            Self::Found { ttl, .. } => Some(*ttl),
            _ => None,
        }
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

impl How {
    fn result(self) -> LookupResult {
        match self {
            Self::Silence => LookupResult::Timeout,
            Self::Server | Self::Other => LookupResult::Failure,
        }
    }
}

/// Up to a tenth sooner, by name: what was asked for together is not always asked for together.
fn spread(lookup: &Lookup, round: u32, wait: Duration) -> Duration {
    let (Lookup::Host(name) | Lookup::Service(name)) = lookup;
    let seed = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(round);
    let hash = name.bytes().fold(seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    wait / 1_000 * u32::try_from(hash % 100).unwrap_or_default()
}

#[cfg(test)]
mod tests;
