//! A worker's life: it does what each message says until it has drained.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::WorkerError;
use super::sockets::Sockets;
use crate::ipc::channel::{Receiver, Sender};
use crate::ipc::message::{
    FromWorker, Hello, Packed, Prepare, Serve, SocketId, TicketKeys, ToWorker,
};
use crate::log;
use crate::model::config::{Config, Log, OrphanedStreams};
use crate::model::snapshot::Snapshot;
use crate::proxy::observe::Observer;
use crate::proxy::{Prepared, Proxy};
use crate::shm::names::Index;
use crate::shm::recorder::Recorder;
use crate::shm::{RowId, Segment, beat};

/// From a reload to the moment in which what it took is given back; where they come faster, once they rest.
const SLACK: Duration = Duration::from_secs(1);
/// Before a generation says otherwise.
const FIRST_BEAT: Duration = Duration::from_millis(500);

pub(super) struct Life {
    to: Sender<FromWorker>,
    from: Receiver<ToWorker>,
    proxy: Rc<Proxy>,
    observer: Rc<Observer>,
    sockets: Sockets,
    /// A generation that is being built; one that is not wanted any more is let go of.
    building: Option<(u64, JoinHandle<Result<Built, String>>)>,
    next: Option<Next>,
    /// What is left to do of a generation that is tried out.
    tried: Option<(u64, Rest)>,
    beat: Interval,
    log: log::Handle,
    logging: Log,
    drain_timeout: Duration,
    /// Until what a reload took is given back.
    slack: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Once it drains: the way to its end.
    ending: Option<Pin<Box<dyn Future<Output = ()>>>>,
    supervisor: Supervisor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Supervisor {
    Present,
    Gone,
}

/// A generation that is prepared and not committed.
struct Next {
    generation: u64,
    prepared: Prepared,
    rest: Rest,
}

/// What of a generation follows once it is decided.
struct Rest {
    serve: Vec<Serve>,
    given: Vec<SocketId>,
    labels: Index,
    config: Config,
    memory: Option<u64>,
}

/// What was made of a message on another thread.
struct Built {
    snapshot: Snapshot,
    config: Config,
    labels: Index,
    rest: Prepare,
}

impl Built {
    fn of(prepare: Prepare) -> Result<Built, String> {
        let config: Config = prepare.config.unpack().map_err(|e| e.to_string())?;
        let labels: Index = prepare.labels.unpack().map_err(|e| e.to_string())?;
        let snapshot = Snapshot::build(&config, prepare.generation).map_err(|e| e.to_string())?;
        Ok(Built {
            snapshot,
            config,
            labels,
            rest: Prepare {
                config: Packed::default(),
                labels: Packed::default(),
                ..prepare
            },
        })
    }
}

impl Life {
    pub(super) async fn begin(
        to: Sender<FromWorker>,
        mut from: Receiver<ToWorker>,
        log: log::Handle,
    ) -> Result<Life, WorkerError> {
        let first = from.receive().await.map_err(WorkerError::Hello)?;
        let Some((ToWorker::Hello(Hello { row, log: logging }), fds)) = first else {
            return Err(WorkerError::NoHello);
        };
        let segment = fds.into_iter().next().ok_or(WorkerError::NoHello)?;
        let recorder = Recorder::open(Segment::open(segment)?, RowId(row))?;
        apply_log(&log, logging);
        let observer = Rc::new(Observer::new(recorder));
        let proxy = Proxy::new(Rc::clone(&observer));
        to.send(&FromWorker::Ready)?;
        Ok(Life {
            to,
            from,
            proxy,
            observer,
            sockets: Sockets::default(),
            building: None,
            next: None,
            tried: None,
            beat: every(FIRST_BEAT),
            log,
            logging,
            drain_timeout: Duration::ZERO,
            slack: None,
            ending: None,
            supervisor: Supervisor::Present,
        })
    }

    pub(super) async fn run(mut self) -> Result<(), WorkerError> {
        loop {
            tokio::select! {
                // Keeps what it has read when it loses the race.
                message = self.from.receive(), if self.supervisor == Supervisor::Present => {
                    match message {
                        Ok(Some((message, fds))) => self.obey(message, fds)?,
                        Ok(None) => self.orphaned("its channel is closed"),
                        Err(error) => self.orphaned(&error.to_string()),
                    }
                }
                (generation, built) = built(&mut self.building) => self.built(generation, built)?,
                _ = self.beat.tick() => self.observer.beat(),
                // Both go on where they were.
                () = over(&mut self.slack) => {
                    self.slack = None;
                    crate::slack::give_back();
                }
                () = ended(&mut self.ending) => return Ok(()),
            }
        }
    }

    fn obey(&mut self, message: ToWorker, fds: Vec<OwnedFd>) -> Result<(), WorkerError> {
        match message {
            // Only ever the first message.
            ToWorker::Hello(_) => {}
            ToWorker::Sockets(ids) => self.sockets.lend(ids, fds),
            ToWorker::Prepare(prepare) => self.prepare(*prepare)?,
            ToWorker::Try { generation } => self.try_out(generation)?,
            ToWorker::Commit { generation } => self.commit(generation)?,
            ToWorker::Abort { generation } => self.abort(generation),
            ToWorker::Retire => {
                self.sockets.retire();
                // What the generation before had is freed with its last request.
                self.slack = Some(Box::pin(tokio::time::sleep(SLACK)));
            }
            ToWorker::Endpoints(servers) => {
                for server in servers {
                    self.proxy.set_endpoints(server);
                }
            }
            ToWorker::Leave => self.proxy.leave(),
            ToWorker::Drain { timeout } => self.drain(timeout),
            ToWorker::ReopenLogs => self.observer.reopen_logs(),
            ToWorker::TicketKeys(TicketKeys { keys, lifetime }) => {
                let keys = keys.iter().map(|key| (key.secret.expose(), key.name));
                self.proxy.set_ticket_keys(keys, lifetime);
            }
            ToWorker::LogFilter(filter) => {
                if let Err(error) = self.log.filter(&filter) {
                    tracing::warn!(%error, "the log stays as it is");
                }
            }
        }
        Ok(())
    }

    /// What takes long is done on another thread, while requests go on.
    fn prepare(&mut self, prepare: Prepare) -> Result<(), WorkerError> {
        self.next = None;
        self.tried = None;
        self.building = None;
        let generation = prepare.generation;
        if let Some(missing) = self.sockets.missing(&prepare.sockets) {
            let reason = format!("socket {} was not handed over", missing.0);
            return Ok(self.to.send(&FromWorker::Rejected { generation, reason })?);
        }
        let building = tokio::task::spawn_blocking(move || Built::of(prepare));
        self.building = Some((generation, building));
        Ok(())
    }

    fn built(&mut self, generation: u64, built: Result<Built, String>) -> Result<(), WorkerError> {
        let answer = match built.and_then(|built| self.take_up(built)) {
            Ok(next) => {
                self.next = Some(next);
                FromWorker::Prepared { generation }
            }
            Err(reason) => FromWorker::Rejected { generation, reason },
        };
        Ok(self.to.send(&answer)?)
    }

    fn take_up(&self, built: Built) -> Result<Next, String> {
        let Built {
            snapshot,
            config,
            labels,
            rest,
        } = built;
        let generation = snapshot.generation;
        let prepared = self.proxy.prepare_built(snapshot, &config, &labels);
        Ok(Next {
            generation,
            prepared: prepared.map_err(|error| error.to_string())?,
            rest: Rest {
                serve: rest.sockets,
                given: rest.given,
                labels,
                config,
                memory: rest.memory,
            },
        })
    }

    /// Of where it is served nothing changes yet, nor of what was begun before.
    fn try_out(&mut self, generation: u64) -> Result<(), WorkerError> {
        let Some(next) = self.next.take_if(|next| next.generation == generation) else {
            tracing::warn!(generation, "told to try what is not prepared");
            return Ok(());
        };
        self.proxy.commit(next.prepared);
        self.take_over(&next.rest.config);
        self.tried = Some((generation, next.rest));
        tracing::debug!(generation, "tries it");
        Ok(self.to.send(&FromWorker::Committed { generation })?)
    }

    fn commit(&mut self, generation: u64) -> Result<(), WorkerError> {
        let tried = self.tried.take_if(|(tried, _)| *tried == generation);
        let next = self.next.take_if(|next| next.generation == generation);
        let rest = match (tried, next) {
            (Some((_, rest)), _) => rest,
            (None, Some(next)) => {
                self.proxy.commit(next.prepared);
                next.rest
            }
            (None, None) => {
                tracing::warn!(generation, "told to commit what is not prepared");
                return Ok(());
            }
        };
        let Rest {
            serve,
            given,
            labels,
            config,
            memory,
        } = rest;
        let label = |serve: &Serve| label(&config, &labels, serve);
        self.sockets
            .serve(&serve, &given, &self.proxy, label)
            .map_err(WorkerError::Start)?;
        if config.reload.orphaned_streams == OrphanedStreams::Drain {
            self.proxy.drain_orphans(&config, config.drain.timeout);
        }
        self.proxy.set_memory(memory);
        self.take_over(&config);
        tracing::debug!(generation, "committed");
        Ok(self.to.send(&FromWorker::Committed { generation })?)
    }

    /// What of a generation concerns the process, not the requests.
    fn take_over(&mut self, config: &Config) {
        self.drain_timeout = config.drain.timeout;
        self.beat = every(beat::interval(config.worker.hang_timeout));
        if self.logging != config.log {
            self.logging = config.log;
            apply_log(&self.log, config.log);
        }
    }

    fn abort(&mut self, generation: u64) {
        self.building
            .take_if(|(building, _)| *building == generation);
        self.next.take_if(|next| next.generation == generation);
        self.sockets.forget_waiting();
    }

    fn drain(&mut self, timeout: Option<Duration>) {
        self.proxy.drain(timeout.unwrap_or(Duration::MAX));
        if self.ending.is_none() {
            let (sockets, proxy) = (std::mem::take(&mut self.sockets), Rc::clone(&self.proxy));
            self.ending = Some(Box::pin(finish(sockets, proxy)));
        }
    }

    /// Nobody would replace it or tell it of changes: it finishes what it has, and ends.
    fn orphaned(&mut self, why: &str) {
        tracing::warn!(why, "the supervisor is gone, draining");
        self.supervisor = Supervisor::Gone;
        self.drain(Some(self.drain_timeout));
    }
}

async fn built(
    building: &mut Option<(u64, JoinHandle<Result<Built, String>>)>,
) -> (u64, Result<Built, String>) {
    let Some((generation, running)) = building else {
        return std::future::pending().await;
    };
    let (generation, built) = (*generation, running.await);
    *building = None;
    (
        generation,
        built.unwrap_or_else(|error| Err(error.to_string())),
    )
}

async fn finish(mut sockets: Sockets, proxy: Rc<Proxy>) {
    sockets.ended().await;
    proxy.drained().await;
}

async fn over(slack: &mut Option<Pin<Box<tokio::time::Sleep>>>) {
    match slack {
        Some(slack) => slack.await,
        None => std::future::pending().await,
    }
}

async fn ended(ending: &mut Option<Pin<Box<dyn Future<Output = ()>>>>) {
    match ending {
        Some(ending) => ending.await,
        None => std::future::pending().await,
    }
}

fn label(config: &Config, labels: &Index, serve: &Serve) -> u32 {
    let place = config
        .listeners
        .iter()
        .position(|l| l.address == serve.address);
    let label = place.and_then(|place| labels.listeners.get(place));
    label.copied().unwrap_or(crate::shm::series::OTHER)
}

fn apply_log(handle: &log::Handle, settings: Log) {
    if let Err(error) = handle.apply(settings) {
        tracing::warn!(%error, "the log stays as it is");
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
