//! The worker processes as the system has them: started, spoken to, reaped.
//!
//! Not here: when any of it is done (`state`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::spawn::{self, Spawned};
use super::state::WorkerId;
use crate::admin::Timestamp;
use crate::ipc::channel::{self, ChannelError, Receiver, Sender};
use crate::ipc::frame::MAX_FDS;
use crate::ipc::message::{FromWorker, Hello, Serve, SocketId, ToWorker};
use crate::model::config::Log;
use crate::shm::{RowId, Segment};

/// Messages of all workers that may wait for the supervisor; a worker that says more waits itself.
const INBOX: usize = 1024;
/// How long a worker whose channel has ended may take to end itself.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// What comes from workers.
#[derive(Debug)]
pub(super) enum News {
    Message(FromWorker),
    /// Nothing more will come, and the process is still there.
    Mute,
}

pub(super) type Inbox = mpsc::Receiver<(WorkerId, News)>;

#[derive(Debug)]
pub(super) struct Children {
    children: BTreeMap<WorkerId, Child>,
    news: mpsc::Sender<(WorkerId, News)>,
    segment: Segment,
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: Pid,
    pub(super) slot: u16,
    pub(super) row: RowId,
    pub(super) started_at: Timestamp,
    to: Sender<ToWorker>,
    /// Sockets that it has.
    lent: BTreeSet<SocketId>,
    reader: AbortHandle,
}

/// Whose end it was.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    OfWorker(Death),
    /// A successor, or an orphan of somebody else.
    OfStranger(Pid, WaitStatus),
}

/// A worker's end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Death {
    pub(super) worker: WorkerId,
    pub(super) pid: Pid,
    pub(super) slot: u16,
    pub(super) status: WaitStatus,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SpawnError {
    #[error("no row is free in the shared segment")]
    NoRow,
    #[error("the process could not be started")]
    Process(#[from] io::Error),
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

impl Children {
    pub(super) fn new(segment: Segment) -> (Children, Inbox) {
        let (news, inbox) = mpsc::channel(INBOX);
        let children = BTreeMap::new();
        (
            Children {
                children,
                news,
                segment,
            },
            inbox,
        )
    }

    pub(super) fn spawn(&mut self, id: WorkerId, slot: u16, log: Log) -> Result<Pid, SpawnError> {
        let row = self.segment.lease(slot).ok_or(SpawnError::NoRow)?;
        let child = self
            .start(id, slot, row, log)
            .inspect_err(|_| self.segment.release(row))?;
        let pid = child.pid;
        self.children.insert(id, child);
        Ok(pid)
    }

    fn start(&self, id: WorkerId, slot: u16, row: RowId, log: Log) -> Result<Child, SpawnError> {
        let segment = self.segment.fd().try_clone_to_owned()?;
        let Spawned { pid, stream } = spawn::worker(slot)?;
        let (to, from) = channel::open(stream)?;
        let reader = tokio::spawn(read(id, from, self.news.clone())).abort_handle();
        to.send_with(&ToWorker::Hello(Hello { row: row.0, log }), vec![segment])?;
        Ok(Child {
            pid,
            slot,
            row,
            started_at: Timestamp::now(),
            to,
            lent: BTreeSet::new(),
            reader,
        })
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Child> {
        self.children.get(&id)
    }

    pub(super) fn ids(&self) -> Vec<WorkerId> {
        self.children.keys().copied().collect()
    }

    pub(super) fn in_row(&self, row: RowId) -> Option<WorkerId> {
        self.children
            .iter()
            .find(|(_, child)| child.row == row)
            .map(|(id, _)| *id)
    }

    /// One that is gone already needs no message; its death is on its way.
    pub(super) fn send(&self, id: WorkerId, message: &ToWorker) -> Result<(), ChannelError> {
        match self.children.get(&id).map(|child| child.to.send(message)) {
            None | Some(Err(ChannelError::Closed)) => Ok(()),
            Some(sent) => sent,
        }
    }

    pub(super) fn send_to_all(&self, message: &ToWorker) -> Vec<(WorkerId, ChannelError)> {
        let ids = self.ids().into_iter();
        ids.filter_map(|id| Some((id, self.send(id, message).err()?)))
            .collect()
    }

    /// Sends what it has not of these sockets, as many at once as one message takes.
    pub(super) fn lend(
        &mut self,
        id: WorkerId,
        wanted: &[Serve],
        lend: impl Fn(SocketId) -> io::Result<OwnedFd>,
    ) -> Result<(), ChannelError> {
        let Some(child) = self.children.get_mut(&id) else {
            return Ok(());
        };
        let wanted = wanted.iter().map(|serve| serve.socket);
        let missing: Vec<SocketId> = wanted.filter(|id| !child.lent.contains(id)).collect();
        for some in missing.chunks(MAX_FDS) {
            let fds = some.iter().map(|id| lend(*id)).collect::<io::Result<_>>()?;
            child.to.send_with(&ToWorker::Sockets(some.to_vec()), fds)?;
            child.lent.extend(some);
        }
        Ok(())
    }

    /// It has given back all sockets but these.
    pub(super) fn keeps(&mut self, id: WorkerId, kept: &[Serve]) {
        if let Some(child) = self.children.get_mut(&id) {
            child.lent = kept.iter().map(|serve| serve.socket).collect();
        }
    }

    pub(super) fn kill(&self, id: WorkerId) {
        if let Some(child) = self.children.get(&id)
            && let Err(error) = kill(child.pid, Signal::SIGKILL)
        {
            tracing::warn!(pid = child.pid.as_raw(), %error, "worker could not be killed");
        }
    }

    /// All that have ended since the last call; those of strangers, which process 1 inherits, too.
    pub(super) fn reap(&mut self) -> Vec<End> {
        let mut ends = Vec::new();
        loop {
            let status = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(_) => return ends,
                Ok(status) => status,
            };
            let ended = matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..));
            if let Some(pid) = status.pid().filter(|_| ended) {
                ends.push(self.bury(pid, status));
            }
        }
    }

    fn bury(&mut self, pid: Pid, status: WaitStatus) -> End {
        let mut all = self.children.iter();
        let worker = all.find(|(_, child)| child.pid == pid).map(|(id, _)| *id);
        let Some((worker, child)) = worker.and_then(|id| Some((id, self.children.remove(&id)?)))
        else {
            return End::OfStranger(pid, status);
        };
        child.reader.abort();
        self.segment.release(child.row);
        let slot = child.slot;
        End::OfWorker(Death {
            worker,
            pid,
            slot,
            status,
        })
    }
}

async fn read(id: WorkerId, mut from: Receiver<FromWorker>, news: mpsc::Sender<(WorkerId, News)>) {
    loop {
        match from.receive().await {
            Ok(Some((message, _))) => {
                if news.send((id, News::Message(message))).await.is_err() {
                    return;
                }
            }
            Ok(None) => break,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "a worker's channel broke");
                break;
            }
        }
    }
    // A worker that ends closes its channel a little before it is gone; then this is aborted.
    tokio::time::sleep(LAST_BREATH).await;
    // The receiver lives as long as the supervisor.
    let _unheard = news.send((id, News::Mute)).await;
}
