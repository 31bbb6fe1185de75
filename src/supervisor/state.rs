//! What the supervisor decides: which workers run, which generation they serve, what becomes of a
//! new configuration. Pure: an event and the time go in, actions come out, and nothing else happens.
//!
//! Not here: doing any of it (`supervisor`), and judging a configuration (`model`).

use std::sync::Arc;
use std::time::{Duration, Instant};

mod backoff;
mod canary;
mod commit;
mod ending;
mod event;
pub mod fleet;
pub mod guard;
pub mod history;
pub mod pieces;
pub mod plan;
mod prepare;
mod reload;
mod watch;

pub use event::{Action, Event, ExitReason, KillReason};
pub use fleet::{Stage, WorkerId};
pub use plan::{Plan, Settings, Source, Ticket};
pub use watch::Vigil;

use ending::Leaving;
use fleet::Fleet;
use guard::Samples;
use history::{History, Record};
use reload::Transaction;
use watch::{Watch, Watched};

/// How long a process may take from its start to its first message.
pub const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a worker may take to swap what it has prepared.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// What a worker gets on top of its drain timeout before it is killed.
pub const DRAIN_GRACE: Duration = Duration::from_secs(5);
/// As many workers may die while they prepare one generation; then it is the generation's fault.
pub const MAX_DEATHS: u32 = 3;

/// A configuration with its number. Numbers are never used twice.
#[derive(Debug, Clone)]
pub struct Generation {
    pub number: u64,
    pub plan: Arc<Plan>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Leaving(Leaving),
    Draining { until: Instant },
    Ended,
}

/// Whether a new configuration has to wait. The one under way goes on in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holding {
    No,
    Yes,
}

#[derive(Debug)]
pub struct State {
    life: Life,
    fleet: Fleet,
    committed: Option<Generation>,
    transaction: Option<Transaction>,
    /// The newest that came while another was being committed, or while none may begin.
    next: Option<Box<Plan>>,
    holding: Holding,
    /// Tried out a generation that was given up, and may serve it still.
    returning: Option<WorkerId>,
    /// The committed one is under guard.
    watch: Option<Watch>,
    /// The same of a predecessor, until something is committed here.
    watched: Option<Watched>,
    samples: Samples,
    history: History,
    /// The number whose configuration an operator or the guard has brought back.
    pinned: Option<u64>,
    last_number: u64,
    announced: bool,
    actions: Vec<Action>,
}

impl State {
    /// Numbers go on after `last_number`: a new binary takes up where the old one was.
    pub fn new(last_number: u64) -> State {
        State {
            life: Life::Running,
            fleet: Fleet::default(),
            committed: None,
            transaction: None,
            next: None,
            holding: Holding::No,
            returning: None,
            watch: None,
            watched: None,
            samples: Samples::default(),
            history: History::default(),
            pinned: None,
            last_number,
            announced: false,
            actions: Vec::new(),
        }
    }

    /// What a predecessor remembers.
    pub fn inherit(&mut self, mut history: History) {
        history.share();
        self.history = history;
    }

    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        if self.life == Life::Ended {
            return Vec::new();
        }
        match event {
            Event::Wanted(plan) => self.want(plan, now),
            Event::Refused(record, tickets) => self.conclude(*record, tickets),
            Event::Bound { generation } => self.bound(generation, now),
            Event::NotBound {
                generation,
                reasons,
            } => self.not_bound(generation, reasons, now),
            Event::Ready(worker) => self.ready(worker, now),
            Event::Prepared(worker, generation) => self.prepared(worker, generation, now),
            Event::Rejected(worker, generation, reason) => {
                self.rejected(worker, generation, reason, now);
            }
            Event::Committed(worker, generation) => self.worker_committed(worker, generation, now),
            Event::Exited(worker) => self.exited(worker, now),
            Event::Hung(worker) => self.kill(worker, KillReason::Hung),
            Event::Measured(measured) => self.measured(measured, now),
            Event::Unpin => self.pinned = None,
            Event::Hold => self.holding = Holding::Yes,
            Event::Release => self.release(now),
            Event::Replaced => self.replaced(now),
            Event::Leave => self.leave(now),
            Event::Quit => self.quit(now),
            Event::Connections(open) => self.connections(open, now),
            Event::Drain => self.drain(now),
            Event::Stop => self.stop(),
            Event::Tick => {}
        }
        self.end_return(now);
        self.look_at_the_clock(now);
        self.announce();
        self.end_if_drained();
        std::mem::take(&mut self.actions)
    }

    /// When `Event::Tick` is due.
    pub fn deadline(&self) -> Option<Instant> {
        let drain = match self.life {
            Life::Leaving(leaving) => Some(leaving.deadline()),
            Life::Draining { until } => Some(until),
            Life::Running | Life::Ended => None,
        };
        let reload = self.transaction.as_ref().and_then(Transaction::deadline);
        let all = [
            drain,
            reload,
            self.watch_is_due(),
            self.fleet.deadline(self.spawning_slots()),
        ];
        all.into_iter().flatten().min()
    }

    fn look_at_the_clock(&mut self, now: Instant) {
        for (worker, reason) in self.fleet.overdue(now) {
            self.kill(worker, reason);
        }
        self.reload_clock(now);
        self.watch_clock(now);
        if self.is_serving() {
            let wanted = self.wanted_slots();
            self.fleet.trim(wanted);
            let spawned = self.fleet.spawn_due(wanted, now);
            self.actions.extend(spawned);
        }
        self.ending_clock(now);
    }

    fn kill(&mut self, worker: WorkerId, reason: KillReason) {
        if self.fleet.doom(worker) {
            self.actions.push(Action::Kill { worker, reason });
        }
    }

    fn announce(&mut self) {
        if self.announced || !self.is_ready() {
            return;
        }
        if let Some(generation) = self.generation() {
            self.announced = true;
            self.actions.push(Action::AnnounceReady { generation });
        }
    }

    fn conclude(&mut self, record: Record, tickets: Vec<Ticket>) {
        self.history.add(record.clone());
        let record = Box::new(record);
        self.actions.push(Action::Conclude { record, tickets });
    }

    /// None is filled any more once draining has begun.
    fn spawning_slots(&self) -> u16 {
        match self.life {
            Life::Running | Life::Leaving(_) => self.wanted_slots(),
            Life::Draining { .. } | Life::Ended => 0,
        }
    }

    /// As many slots as the generation that serves and the one under way need.
    fn wanted_slots(&self) -> u16 {
        let of = |generation: &Generation| generation.plan.settings.workers;
        let committed = self.committed.as_ref().map_or(0, of);
        let coming = self.transaction.as_ref();
        let coming = coming.filter(|t| t.needs_workers());
        committed.max(coming.map_or(0, |t| of(&t.generation)))
    }
}

/// What others may see of it.
impl State {
    /// Every slot has a worker that serves the committed generation.
    pub fn is_ready(&self) -> bool {
        let Some(committed) = &self.committed else {
            return false;
        };
        let workers = committed.plan.settings.workers;
        self.life == Life::Running && self.fleet.all_serve(workers, committed.number)
    }

    /// It has been ready once.
    pub fn is_announced(&self) -> bool {
        self.announced
    }

    pub fn is_draining(&self) -> bool {
        self.life != Life::Running
    }

    pub fn committed(&self) -> Option<&Generation> {
        self.committed.as_ref()
    }

    /// The generation that serves.
    pub fn generation(&self) -> Option<u64> {
        self.committed.as_ref().map(|g| g.number)
    }

    /// A generation that workers may be asked to prepare.
    pub fn find(&self, number: u64) -> Option<&Generation> {
        let coming = self.transaction.as_ref().map(|t| &t.generation);
        let all = [self.committed.as_ref(), coming];
        all.into_iter().flatten().find(|g| g.number == number)
    }

    /// Whether a configuration is on its way to the workers, or is to be.
    pub fn is_reloading(&self) -> bool {
        self.is_busy() || self.next.is_some()
    }

    /// Whether one is on its way.
    pub fn is_busy(&self) -> bool {
        self.transaction.is_some()
    }

    pub fn last_number(&self) -> u64 {
        self.last_number
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    /// To be called at a quiet moment.
    pub fn settle(&mut self) {
        self.history.settle();
    }

    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    pub fn pinned(&self) -> Option<u64> {
        self.pinned
    }

    /// Whether counters are wanted every second.
    pub fn is_measuring(&self) -> bool {
        let coming = self.transaction.as_ref().map(|t| &t.generation);
        let all = [self.committed.as_ref(), coming];
        let settings =
            |g: &Generation| g.plan.settings.guard.is_some() || g.plan.settings.canary.is_some();
        all.into_iter().flatten().any(settings)
    }
}

#[cfg(test)]
mod tests;
