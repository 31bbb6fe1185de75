//! Where the names of upstream servers are: asked again and again, and what was good last is kept
//! when a name server fails. The book says what is due, and this asks for it, a bounded number at once.
//!
//! Not here: which endpoints follow from them (`roster`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep_until, timeout};

use crate::model::config::{self, Config, ServerHost, Target};
use crate::model::resolved::LookupResult;

mod ask;
mod book;
mod search;
mod system;

use book::{Book, Learned, Part, Turn};
pub(super) use book::{Entry, Found, Lookup};
use system::System;

/// How long a start or a reload waits for the first answers of names that are new. What is not there
/// by then is served without addresses until it is.
const FIRST_ANSWERS: Duration = Duration::from_millis(500);
/// Lookups under way.
const AT_ONCE: usize = 32;
/// Reloads that wait for first answers.
const MOST_PRIMES: usize = 8;
/// How long a change waits for others that are about to be answered: thousands of names at a start
/// are told of together.
const GATHER: Duration = Duration::from_millis(10);
/// Between two looks at resolv.conf and the hosts file.
const LOOK_AT_FILES: Duration = Duration::from_secs(5);

pub(super) struct Resolver {
    book: Book,
    settings: config::Resolver,
    system: Arc<System>,
    looked_at_files: Instant,
    asking: JoinSet<(Lookup, Vec<Part>)>,
    primer: Primer,
    primes: mpsc::Receiver<Prime>,
    waiting: Vec<Prime>,
    news: News,
    /// When the news is to be told.
    tell_at: Option<Instant>,
}

/// Lets a look at the configuration wait until its names have been asked for.
#[derive(Debug, Clone)]
pub(super) struct Primer(mpsc::Sender<Prime>);

#[derive(Debug)]
struct Prime {
    settings: config::Resolver,
    lookups: BTreeSet<Lookup>,
    done: oneshot::Sender<()>,
}

/// What has been answered since the last news.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) results: Vec<LookupResult>,
    pub(super) addresses: Addresses,
}

/// Whether any of them are others than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Addresses {
    #[default]
    AsBefore,
    Changed,
}

/// What the servers of a configuration are to be looked up as.
pub(super) fn lookups(config: &Config) -> BTreeSet<Lookup> {
    let servers = config
        .upstreams
        .iter()
        .flat_map(|upstream| match &upstream.target {
            Target::Echo => &[][..],
            Target::Servers(servers) => servers,
        });
    servers.filter_map(|server| lookup(&server.host)).collect()
}

pub(super) fn lookup(host: &ServerHost) -> Option<Lookup> {
    match host {
        ServerHost::Ip(_) | ServerHost::Unix(_) => None,
        ServerHost::Name(name) => Some(Lookup::Host(name.clone())),
        ServerHost::Service(name) => Some(Lookup::Service(name.clone())),
    }
}

impl Resolver {
    pub(super) fn new(settings: &config::Resolver) -> Resolver {
        let (to_primes, primes) = mpsc::channel(MOST_PRIMES);
        Resolver {
            book: Book::new(settings.clone()),
            settings: settings.clone(),
            system: Arc::new(System::read(settings)),
            looked_at_files: Instant::now(),
            asking: JoinSet::new(),
            primer: Primer(to_primes),
            primes,
            waiting: Vec::new(),
            news: News::default(),
            tell_at: None,
        }
    }

    pub(super) fn primer(&self) -> Primer {
        self.primer.clone()
    }

    /// The next thing that is to be told. Keeps what it has when it is dropped.
    pub(super) async fn next(&mut self) -> News {
        loop {
            self.ask_what_is_due();
            if self.is_to_be_told() {
                self.tell_at = None;
                return std::mem::take(&mut self.news);
            }
            let due = self.book.next_due().filter(|_| self.asking.len() < AT_ONCE);
            let wake = [due, self.tell_at].into_iter().flatten().min();
            tokio::select! {
                Some(answer) = self.asking.join_next() => self.answered(answer),
                Some(prime) = self.primes.recv() => self.prime(prime),
                () = until(wake) => {}
            }
        }
    }

    /// What a configuration that is served needs from now on, and nothing else.
    pub(super) fn serve(&mut self, config: &Config) {
        let lookups = lookups(config);
        self.settle(&config.resolver);
        self.book.keep(&lookups);
        self.book.want(&lookups, Instant::now());
    }

    /// What a name stands for; nothing while it has not been resolved.
    pub(super) fn found(&self, lookup: &Lookup) -> Vec<Found> {
        self.book
            .find(lookup)
            .map(Entry::endpoints)
            .unwrap_or_default()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Lookup, &Entry)> {
        self.book.all()
    }

    fn settle(&mut self, settings: &config::Resolver) {
        if self.settings == *settings {
            return;
        }
        self.settings = settings.clone();
        self.system = Arc::new(System::read(settings));
        // They would ask whom nobody wants to ask any more, for as long as that takes.
        self.asking = JoinSet::new();
        self.book.settle(settings.clone(), Instant::now());
    }

    fn prime(&mut self, prime: Prime) {
        self.settle(&prime.settings);
        self.book.want(&prime.lookups, Instant::now());
        self.waiting.push(prime);
        self.release();
    }

    /// Whoever waits for nothing more goes on.
    fn release(&mut self) {
        let book = &self.book;
        let is_done = |prime: &mut Prime| prime.lookups.iter().all(|one| book.has_answered(one));
        for prime in self.waiting.extract_if(.., is_done) {
            // Who has waited too long is gone.
            let _gone = prime.done.send(());
        }
        self.waiting.retain(|prime| !prime.done.is_closed());
    }

    fn ask_what_is_due(&mut self) {
        let now = Instant::now();
        while self.asking.len() < AT_ONCE
            && let Some((lookup, last)) = self.book.take_due(now)
        {
            self.look_at_files(now);
            let system = Arc::clone(&self.system);
            self.asking.spawn(async move {
                let parts = ask::ask(system, lookup.clone(), last).await;
                (lookup, parts)
            });
        }
    }

    fn look_at_files(&mut self, now: Instant) {
        if now.saturating_duration_since(self.looked_at_files) < LOOK_AT_FILES {
            return;
        }
        self.looked_at_files = now;
        if self.system.is_stale() {
            tracing::info!("resolv.conf or the hosts file has changed");
            self.system = Arc::new(System::read(&self.settings));
        }
    }

    fn is_to_be_told(&self) -> bool {
        let late = |at: Instant| self.asking.is_empty() || at <= Instant::now();
        self.tell_at.is_some_and(late)
    }

    fn answered(&mut self, answer: Result<(Lookup, Vec<Part>), JoinError>) {
        let (lookup, parts) = match answer {
            Ok(answer) => answer,
            Err(error) => return tracing::error!(%error, "a name lookup broke"),
        };
        let now = Instant::now();
        // Nobody may want it any more.
        let Some(learned) = self.book.learn(&lookup, parts, now) else {
            return;
        };
        log(&lookup, &learned);
        self.news.results.push(learned.result);
        if learned.changed.is_some() {
            self.news.addresses = Addresses::Changed;
        }
        self.tell_at.get_or_insert(now + GATHER);
        self.release();
    }
}

impl Primer {
    /// Returns when each of the names has been answered for once, or after a moment.
    pub(super) async fn prime(&self, config: &Config) {
        let lookups = lookups(config);
        if lookups.is_empty() {
            return;
        }
        let (done, heard) = oneshot::channel();
        let settings = config.resolver.clone();
        let prime = Prime {
            settings,
            lookups,
            done,
        };
        if self.0.send(prime).await.is_ok() {
            // Either way it goes on.
            let _in_time = timeout(FIRST_ANSWERS, heard).await;
        }
    }
}

fn log(lookup: &Lookup, learned: &Learned) {
    let (Lookup::Host(name) | Lookup::Service(name)) = lookup;
    match &learned.turn {
        Some(Turn::Failing(error)) => tracing::warn!(name, error, "name not resolved"),
        Some(Turn::Recovered) => tracing::info!(name, "name resolved again"),
        None => {}
    }
    if let Some(endpoints) = &learned.changed {
        let addresses = endpoints.len();
        tracing::info!(name, addresses, "addresses of a name changed");
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
