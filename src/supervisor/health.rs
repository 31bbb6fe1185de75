//! Active health checks: once for all workers, here. The ledger says which endpoint is due, and this
//! checks it, a bounded number at once.
//!
//! Not here: what a change of verdict does (`engine`).

use std::sync::Arc;
use std::time::Instant;

use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep_until;

use crate::model::config::Config;
use crate::model::health::Verdict;
use crate::model::snapshot::tls::UpstreamTls;

mod ledger;
mod probe;
mod secure;

use ledger::Ledger;
pub(super) use ledger::{Change, Language, Outcome, Target, Watched};
use secure::SecureChecks;

/// Checks under way. One that hangs holds its place until its timeout.
const AT_ONCE: usize = 256;

#[derive(Default)]
pub(super) struct Checks {
    ledger: Ledger,
    running: JoinSet<(Arc<Target>, Outcome)>,
    secure: SecureChecks,
}

/// A check has ended.
#[derive(Debug)]
pub(super) struct News {
    pub(super) target: Arc<Target>,
    /// What is wrong.
    pub(super) error: Option<String>,
    pub(super) change: Option<Change>,
}

impl Checks {
    /// As `Ledger::update` has it.
    pub(super) fn update(
        &mut self,
        targets: Vec<Target>,
        known: &dyn Fn(u32) -> Verdict,
    ) -> Vec<u32> {
        self.ledger.update(targets, known, Instant::now())
    }

    /// To be called before `tls` is asked of another generation.
    pub(super) fn prepare_tls(&mut self, generation: u64, config: &Config) {
        if self.secure.generation != generation {
            self.secure = SecureChecks::of(generation, config);
        }
    }

    /// What checks of an upstream's https servers speak, where they speak TLS.
    pub(super) fn tls(&self, upstream: &str) -> Option<&UpstreamTls> {
        self.secure.find(upstream)
    }

    /// What a check says of one that live traffic has ejected: whether that is over.
    pub(super) fn absolves(&mut self, news: &News, is_ejected: bool) -> bool {
        let is_good = news.error.is_none();
        if !is_good || !is_ejected {
            self.ledger.forget_vouching(news.target.id);
            return false;
        }
        self.ledger.vouch(news.target.id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&u32, &Watched)> {
        self.ledger.all()
    }

    /// The next outcome. Keeps what it has when it is dropped.
    pub(super) async fn next(&mut self) -> News {
        loop {
            self.check_what_is_due();
            let due = self.ledger.next_due();
            let due = due.filter(|_| self.running.len() < AT_ONCE);
            tokio::select! {
                Some(ended) = self.running.join_next() => {
                    if let Some(news) = self.ended(ended) {
                        return news;
                    }
                }
                () = until(due) => {}
            }
        }
    }

    fn check_what_is_due(&mut self) {
        let now = Instant::now();
        while self.running.len() < AT_ONCE
            && let Some(target) = self.ledger.take_due(now)
        {
            self.running.spawn(async move {
                let outcome = probe::check(&target).await;
                (target, outcome)
            });
        }
    }

    fn ended(&mut self, ended: Result<(Arc<Target>, Outcome), JoinError>) -> Option<News> {
        let (target, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "a health check broke");
                return None;
            }
        };
        let error = outcome.as_ref().err().cloned();
        // It may not be wanted any more.
        let change = self.ledger.learn(&target, outcome, Instant::now())?;
        Some(News {
            target,
            error,
            change,
        })
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
