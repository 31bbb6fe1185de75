//! Which endpoints are checked, which of them next, and what so many answers in a row mean: pure, with
//! time as an argument.
//!
//! An endpoint that nobody has checked yet takes traffic. The first good check says that it is healthy;
//! it takes `unhealthyThreshold` bad ones in a row to say that one is not, whatever it was before. Not
//! here: the checks themselves (`probe`), and who is told (`engine`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::config::HealthCheck;
use crate::model::health::Verdict;
use crate::model::resolved::Address;
use crate::model::snapshot::tls::ServerTls;

/// New endpoints are looked at so far apart, but all of them within their interval.
const SPREAD: Duration = Duration::from_millis(20);

/// One endpoint that is to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supervisor) struct Target {
    /// Its place on the health board.
    pub(in crate::supervisor) id: u32,
    pub(in crate::supervisor) upstream: String,
    /// The upstream's id in the counters.
    pub(in crate::supervisor) label: u32,
    pub(in crate::supervisor) address: Address,
    /// As the `Host` header names its server.
    pub(in crate::supervisor) authority: String,
    pub(in crate::supervisor) greeting: Option<Vec<u8>>,
    /// As requests are sent there, with what the check offers; sessions are not resumed.
    pub(in crate::supervisor) tls: Option<ServerTls>,
    /// What is spoken where no handshake says it.
    pub(in crate::supervisor) language: Language,
    pub(in crate::supervisor) check: Arc<HealthCheck>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum Language {
    Http1,
    Http2,
}

/// What a check found; an error says what is wrong.
pub(in crate::supervisor) type Outcome = Result<(), String>;

/// A verdict that is another than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supervisor) struct Change {
    pub(in crate::supervisor) from: Verdict,
    pub(in crate::supervisor) to: Verdict,
}

#[derive(Debug)]
pub(in crate::supervisor) struct Watched {
    pub(in crate::supervisor) target: Arc<Target>,
    pub(in crate::supervisor) verdict: Verdict,
    /// Checks in a row that contradict the verdict.
    against: u32,
    /// Good checks in a row while live traffic has it ejected.
    vouching: u32,
    pub(in crate::supervisor) checks: u64,
    pub(in crate::supervisor) checked_at: Option<Instant>,
    pub(in crate::supervisor) error: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    watched: BTreeMap<u32, Watched>,
    queue: BTreeSet<(Instant, u32)>,
}

impl Ledger {
    /// Who is to be checked from now on. One whose check and address are what they were goes on where it
    /// was; a new one begins with `known`. Returns those that are not checked any more, or by other rules.
    pub(super) fn update(
        &mut self,
        targets: Vec<Target>,
        known: &dyn Fn(u32) -> Verdict,
        now: Instant,
    ) -> Vec<u32> {
        let ids: HashSet<u32> = targets.iter().map(|target| target.id).collect();
        let gone = self.watched.keys().filter(|id| !ids.contains(id));
        let mut ended: Vec<u32> = gone.copied().collect();
        let (same, other): (Vec<Target>, Vec<Target>) =
            targets.into_iter().partition(|target| self.goes_on(target));
        let changed = other.iter().map(|target| target.id);
        ended.extend(changed.filter(|id| self.watched.contains_key(id)));
        let begin = |target: &Target| match self.watched.contains_key(&target.id) {
            true => Verdict::Unknown,
            false => known(target.id),
        };
        let new: Vec<(Target, Verdict)> = other
            .into_iter()
            .map(|target| (target.clone(), begin(&target)))
            .collect();
        for id in &ended {
            self.watched.remove(id);
        }
        self.queue
            .retain(|(_, id)| !ended.contains(id) && ids.contains(id));
        for target in same {
            if let Some(watched) = self.watched.get_mut(&target.id) {
                watched.target = Arc::new(target);
            }
        }
        let together = u32::try_from(new.len()).unwrap_or(u32::MAX);
        for (target, verdict) in new {
            let within = target.check.interval.min(SPREAD.saturating_mul(together));
            self.queue
                .insert((now + share(within, target.id, 0), target.id));
            self.watched
                .insert(target.id, Watched::new(target, verdict));
        }
        ended
    }

    /// The next one to check; it is not due again until its outcome has been learned.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Arc<Target>> {
        let first = self.queue.first().filter(|(due, _)| *due <= now).copied()?;
        self.queue.remove(&first);
        let watched = self.watched.get(&first.1)?;
        Some(Arc::clone(&watched.target))
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// `None` where it is not checked any more, or by other rules than the outcome's.
    pub(super) fn learn(
        &mut self,
        target: &Target,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Option<Change>> {
        let watched = self.watched.get_mut(&target.id)?;
        if !watched.target.is_checked_like(target) {
            return None;
        }
        let change = watched.take_in(outcome, now);
        let check = &watched.target.check;
        let round = watched.checks;
        let due = now + check.interval + share(check.jitter, target.id, round);
        self.queue.insert((due, target.id));
        Some(change)
    }

    /// After a good check of one that live traffic has ejected: whether there were as many in a row as
    /// bring an unhealthy one back.
    pub(super) fn vouch(&mut self, id: u32) -> bool {
        let Some(watched) = self.watched.get_mut(&id) else {
            return false;
        };
        watched.vouching += 1;
        let is_enough = watched.vouching >= watched.target.check.healthy_threshold;
        if is_enough {
            watched.vouching = 0;
        }
        is_enough
    }

    /// After a bad check, or one of an endpoint that is not ejected.
    pub(super) fn forget_vouching(&mut self, id: u32) {
        if let Some(watched) = self.watched.get_mut(&id) {
            watched.vouching = 0;
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&u32, &Watched)> {
        self.watched.iter()
    }

    fn goes_on(&self, target: &Target) -> bool {
        let watched = self.watched.get(&target.id);
        watched.is_some_and(|watched| watched.target.is_checked_like(target))
    }
}

impl Target {
    fn is_checked_like(&self, other: &Target) -> bool {
        let key = |target: &Target| {
            let Target {
                id,
                address,
                authority,
                greeting,
                tls,
                language,
                check,
                ..
            } = target;
            (
                *id,
                address.clone(),
                authority.clone(),
                greeting.clone(),
                tls.clone(),
                *language,
                Arc::clone(check),
            )
        };
        key(self) == key(other)
    }
}

impl Watched {
    fn new(target: Target, verdict: Verdict) -> Watched {
        Watched {
            target: Arc::new(target),
            verdict,
            against: 0,
            vouching: 0,
            checks: 0,
            checked_at: None,
            error: None,
        }
    }

    fn take_in(&mut self, outcome: Outcome, now: Instant) -> Option<Change> {
        self.checks += 1;
        self.checked_at = Some(now);
        let check = &self.target.check;
        let (says, needed) = match (&outcome, self.verdict) {
            (Ok(()), Verdict::Unknown) => (Verdict::Healthy, 1),
            (Ok(()), _) => (Verdict::Healthy, check.healthy_threshold),
            (Err(_), _) => (Verdict::Unhealthy, check.unhealthy_threshold),
        };
        self.error = outcome.err();
        if says == self.verdict {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < needed {
            return None;
        }
        self.against = 0;
        let from = std::mem::replace(&mut self.verdict, says);
        Some(Change { from, to: says })
    }
}

/// A part of a time, by chance, and by the same chance in the same round: endpoints that begin
/// together do not stay together.
fn share(whole: Duration, id: u32, round: u64) -> Duration {
    let seed = (u64::from(id) << 32 ^ round).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    whole.mul_f64(((mixed ^ mixed >> 31) % 1_000) as f64 / 1_000.0)
}

#[cfg(test)]
mod tests;
