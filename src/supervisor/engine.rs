//! The supervisor's loop: what happens outside becomes an event for `state`, and what `state` says
//! is done. Nothing here may take long: whatever could is a task beside it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, sleep_until};

use super::admin_port::AdminPort;
use super::children::{Children, Inbox};
use super::handover::{self, Inheritance, Successor};
use super::health::Checks;
use super::intake::{Intake, Last, Look, Served, Stays};
use super::launch::{Broken, First, Launch, Start};
use super::resolver::Resolver;
use super::returns::Returns;
use super::roster::Roster;
use super::signals::Signals;
use super::sockets::{Heir, Sockets};
use super::state::{Event, KillReason, State, Ticket, WorkerId};
use super::tickets::Tickets;
use super::{SupervisorError, measure};
use crate::admin::{CheckState, Command, Counts, NameState, Reply, Sources, Status, Timestamp};
use crate::ipc::message::Packed;
use crate::log;
use crate::model::config::{Config, Log};
use crate::model::resolved::Resolved;
use crate::shm::health;
use crate::shm::names::{self, Index, Names};
use crate::shm::recorder::Recorder;
use crate::shm::totals::Totals;
use crate::shm::{SUPERVISOR, Segment, ShmError, beat};
use crate::source::file::{self, Timing, Watch};

mod act;
mod ask;
mod checks;
mod hear;
mod keys;
mod publish;
mod replace;

/// Commands of the admin port that may wait for the loop.
const COMMANDS: usize = 32;
/// See `Engine::slack`.
const SLACK: u8 = 2;
const SECOND: Duration = Duration::from_secs(1);
/// Between two looks at the connections of a sidecar that is to end with the last of them.
const IDLE_LOOK: Duration = Duration::from_millis(100);
/// Killed workers are gone within moments; an end does not wait longer for them.
const LAST_REAP: Duration = Duration::from_secs(1);

pub(super) struct Engine {
    launch: Launch,
    log: log::Handle,
    logging: Log,
    /// An operator's, in its place.
    log_filter: Option<String>,
    state: State,
    intake: Intake,
    signals: Signals,
    sockets: Sockets,
    children: Children,
    inbox: Inbox,
    segment: Segment,
    tickets: Tickets,
    counts: Counts,
    beats: beat::Watch,
    names: Names,
    /// By generation, for as long as workers may be asked to prepare it.
    labels: BTreeMap<u64, Labels>,
    resolver: Resolver,
    roster: Roster,
    returns: Returns,
    checks: Checks,
    check_states: Arc<HashMap<u32, CheckState>>,
    /// The same, for the admin port.
    resolved: Arc<Vec<Resolved>>,
    name_states: Arc<Vec<NameState>>,
    names_described_at: Instant,
    watch: Watch,
    timing: watch::Sender<Timing>,
    /// Those that the configuration names, to be watched with it.
    files: watch::Sender<Vec<PathBuf>>,
    admin: AdminPort,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<Arc<Status>>,
    waiting: HashMap<Ticket, Reply>,
    last_ticket: u64,
    kills: HashMap<WorkerId, KillReason>,
    /// Addresses that the log has named, as configured and as bound.
    announced: BTreeMap<SocketAddr, SocketAddr>,
    /// The names of all label ids that are in use, for the admin port.
    names_by_id: Arc<names::Labels>,
    /// Of which `names_by_id` is.
    names_version: u64,
    events: VecDeque<Event>,
    second: Interval,
    /// When to look whether the last client connection has ended.
    idle_looks: Interval,
    started_at: Timestamp,
    /// A configuration was read and settled: so often is what that took to be given back, the second time
    /// what helpers had that have ended since.
    slack: u8,
    interrupts: u32,
    exit: Option<ExitCode>,
    /// From a predecessor that waits to hear that all is served.
    inheritance: Option<Inheritance>,
    successor: Option<Successor>,
    /// A successor is to be started as soon as no reload is under way.
    hands_over: bool,
}

/// The ids under which a generation is counted.
struct Labels {
    index: Arc<Index>,
    packed: Packed,
}

impl Engine {
    pub(super) async fn start(
        launch: Launch,
        first: First,
        log: log::Handle,
    ) -> Result<Engine, SupervisorError> {
        let mut inheritance = match launch.start {
            Start::Afresh => None,
            Start::Takeover => Some(Inheritance::receive().await?),
        };
        let inherited = inheritance.as_mut().and_then(|left| left.segment.take());
        let segment = inherited.map_or_else(Segment::create, Ok)?;
        let row = segment
            .lease(SUPERVISOR)
            .ok_or(ShmError::NoRow(SUPERVISOR))?;
        let counts = Counts::new(Recorder::open(segment.clone(), row)?);
        let (children, inbox) = Children::new(segment.clone());
        let (to_commands, commands) = mpsc::channel(COMMANDS);
        let started_at = Timestamp::now();
        let (status, published) = watch::channel(Arc::new(publish::starting(&launch, started_at)));
        let admin = AdminPort::new(Sources {
            status: published,
            commands: to_commands,
            segment: segment.clone(),
            reasons: launch.reasons,
        });
        let last = first.broken.as_ref().map_or_else(
            || Last {
                hash: first.wanted.hash.clone(),
                files: first.wanted.files.clone(),
            },
            Broken::last,
        );
        let last_generation = inheritance
            .as_ref()
            .map_or(0, |left| left.estate.last_generation);
        let (timing, to_watch) = watch::channel(timing(&first.wanted.config));
        let (files, files_to_watch) = watch::channel(Vec::new());
        let mut engine = Engine {
            intake: Intake::new(launch.config.clone(), Some(last)),
            log,
            logging: first.log(),
            log_filter: None,
            state: State::new(last_generation),
            signals: Signals::listen()?,
            sockets: Sockets::default(),
            children,
            inbox,
            segment,
            tickets: Tickets::new(Vec::new(), Instant::now()),
            counts,
            beats: beat::Watch::default(),
            names: Names::default(),
            labels: BTreeMap::new(),
            resolver: Resolver::new(&first.wanted.config.resolver),
            roster: Roster::default(),
            returns: Returns::default(),
            checks: Checks::default(),
            check_states: Arc::default(),
            resolved: Arc::default(),
            name_states: Arc::default(),
            names_described_at: Instant::now(),
            watch: Watch::begin(launch.config.clone(), files_to_watch, to_watch),
            timing,
            files,
            admin,
            commands,
            status,
            waiting: HashMap::new(),
            last_ticket: 0,
            kills: HashMap::new(),
            announced: BTreeMap::new(),
            names_by_id: Arc::default(),
            names_version: 0,
            events: VecDeque::new(),
            second: every(SECOND),
            idle_looks: every(IDLE_LOOK),
            started_at,
            slack: 0,
            interrupts: 0,
            exit: None,
            inheritance,
            successor: None,
            hands_over: false,
            launch,
        };
        engine.inherit();
        engine.watch_files();
        engine.begin(first).await?;
        Ok(engine)
    }

    async fn begin(&mut self, first: First) -> Result<(), SupervisorError> {
        let First { wanted, broken } = first;
        if file::is_single_file_mount(&self.launch.config) {
            tracing::warn!(
                path = %self.launch.config.display(),
                "THE CONFIGURATION FILE IS MOUNTED ALONE (subPath): its edits will never arrive here; \
                 mount the directory of the ConfigMap instead"
            );
        }
        if let Some(broken) = broken {
            self.refused(broken, Vec::new());
            tracing::error!(
                "THE CONFIGURATION FILE IS NOT VALID: serving the last good one until it is mended"
            );
        }
        self.warn(&wanted.warnings);
        let wanted = match self.still_pinned(&wanted) {
            Some(pinned) => pinned.map_err(SupervisorError::Pinned)?,
            None => wanted,
        };
        let plan = wanted.plan(None, Vec::new());
        let plan = plan.map_err(SupervisorError::Pack)?;
        self.resolve_first(&plan.config).await;
        self.want(plan);
        Ok(())
    }

    pub(super) async fn run(mut self) -> Result<ExitCode, SupervisorError> {
        loop {
            if let Some(code) = self.exit {
                self.end().await;
                return Ok(self.stand_by().await.unwrap_or(code));
            }
            self.hand_over_if_settled();
            self.publish();
            let deadline = self.state.deadline();
            let replaced = self.is_replaced();
            // Each of these may lose the race: it keeps what it has for the next time.
            tokio::select! {
                heard = self.signals.next() => self.hear(heard),
                Some((worker, news)) = self.inbox.recv() => self.news(worker, news),
                () = self.watch.changed(), if !replaced => self.look(Look::Hint),
                sight = self.intake.seen() => self.saw(sight),
                Some(command) = self.commands.recv() => self.command(command),
                news = self.resolver.next() => self.resolved(news),
                // A successor that serves checks for itself.
                news = self.checks.next(), if !replaced => self.checked(news),
                word = handover::word(&mut self.successor) => self.successor_says(word),
                _ = self.second.tick() => self.every_second(),
                _ = self.idle_looks.tick(), if self.state.awaits_idle() => {
                    let open = Totals::read(&self.segment).connections();
                    self.tell(Event::Connections(open));
                }
                () = until(deadline) => self.tell(Event::Tick),
            }
        }
    }

    /// Lets `state` decide, and does what it says, until nothing follows from it any more.
    fn tell(&mut self, event: Event) {
        self.events.push_back(event);
        while let Some(event) = self.events.pop_front() {
            for action in self.state.handle(event, Instant::now()) {
                self.act(action);
            }
        }
    }

    fn every_second(&mut self) {
        self.describe_names();
        self.describe_checks();
        if let Some(timeout) = self.config().map(|config| config.worker.hang_timeout) {
            let leases = self.segment.leases();
            for lease in self.beats.hung(&leases, Instant::now(), timeout) {
                if let Some(worker) = self.children.in_row(lease.row) {
                    self.tell(Event::Hung(worker));
                }
            }
        }
        if self.state.is_measuring() {
            let measured = measure::read(&self.segment, &self.children, self.launch.reasons);
            self.tell(Event::Measured(measured));
        }
        let endpoints = self.names.endpoints();
        for one in self.returns.look(endpoints, &self.segment, health::now()) {
            one.log();
        }
        self.rotate_tickets();
        if self.slack > 0 {
            self.slack -= 1;
            if self.slack == 0 {
                self.state.settle();
            }
            crate::slack::give_back();
        }
    }

    /// So that a start with name servers that answer has addresses from its first request on.
    async fn resolve_first(&mut self, config: &Config) {
        let primer = self.resolver.primer();
        let mut primed = pin!(primer.prime(config));
        loop {
            tokio::select! {
                () = &mut primed => return,
                news = self.resolver.next() => self.resolved(news),
            }
        }
    }

    fn look(&mut self, look: Look) {
        let stays = match self.state.is_reloading() {
            true => Stays::No,
            false => Stays::Yes,
        };
        let committed = self.state.committed();
        let served = Served {
            generation: committed.cloned(),
            stays,
            // One that is on its way has ended the pin, or will be heard of.
            pinned: self.state.pinned().filter(|_| stays == Stays::Yes),
        };
        self.intake.look(look, served, self.resolver.primer());
    }

    fn watch_files(&self) {
        let mut wanted = self.intake.files();
        if let Some(generation) = self.state.committed() {
            wanted.extend(generation.plan.files.paths().map(Path::to_owned));
        }
        wanted.sort();
        wanted.dedup();
        self.files.send_if_modified(|files| {
            let differ = *files != wanted;
            *files = wanted;
            differ
        });
    }

    /// What is served.
    fn config(&self) -> Option<Arc<Config>> {
        self.state
            .committed()
            .map(|generation| Arc::clone(&generation.plan.config))
    }

    fn ticket(&mut self, reply: Reply) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.waiting.insert(ticket, reply);
        ticket
    }

    async fn end(&mut self) {
        self.publish();
        let deadline = Instant::now() + LAST_REAP;
        while !self.children.ids().is_empty() && Instant::now() < deadline {
            self.reap();
            sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(super) fn timing(config: &Config) -> Timing {
    Timing {
        debounce: config.reload.debounce,
        poll: config.reload.poll,
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
