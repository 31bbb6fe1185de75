//! Replacing the binary: everything that must not be lost goes from the old supervisor to the new one
//! over a channel: listening sockets, the shared segment, the numbers and names that go on.
//!
//! Not here: when the old one begins to drain (`engine`).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::launch::Launch;
use super::signals::Signals;
use super::sockets::Sockets;
use super::spawn::{self, Spawned};
use crate::ipc::channel::{self, ChannelError, Receiver, Sender};
use crate::ipc::frame::MAX_FDS;
use crate::ipc::message::{
    ESTATE_FORMAT, Estate, FromSuccessor, Inherited, Packed, TicketKey, ToSuccessor,
};
use crate::shm::{Segment, ShmError};

/// How long a new binary may take until its workers serve.
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long its predecessor may take to say what it leaves.
const ESTATE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub(super) enum HandoverError {
    #[error("the process could not be started")]
    Spawn(#[from] io::Error),
    #[error("the predecessor cannot be understood")]
    Channel(#[from] ChannelError),
    #[error(
        "the predecessor leaves what it has in format {0}, and this binary reads {ESTATE_FORMAT} alone"
    )]
    Format(u32),
    #[error("the predecessor does not say in which format it leaves what it has")]
    NoFormat,
    #[error("the predecessor ended in the middle")]
    Cut,
    #[error("the predecessor did not say in time what it leaves")]
    Late,
}

/// What the old supervisor sees of the new one.
#[derive(Debug)]
pub(super) struct Successor {
    pub(super) pid: Pid,
    /// Once it serves there is no way back.
    pub(super) serves: bool,
    /// The exit code, where it has ended before we have.
    pub(super) ended: Option<i32>,
    deadline: Instant,
    /// Held so that the new one can tell our end from our silence.
    _to: Sender<ToSuccessor>,
    from: Receiver<FromSuccessor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Its workers serve.
    Ready,
    /// It has ended, or takes too long.
    Failed,
}

impl Successor {
    pub(super) fn start(
        launch: &Launch,
        estate: &Estate,
        tickets: Vec<TicketKey>,
        sockets: &Sockets,
        fds: Vec<OwnedFd>,
    ) -> Result<Successor, HandoverError> {
        let Spawned { pid, stream } = spawn::successor(launch)?;
        let (to, from) = channel::open(stream)?;
        to.send(&ToSuccessor::Format(ESTATE_FORMAT))?;
        to.send_with(&ToSuccessor::Estate(estate.clone()), fds)?;
        let inherited: Vec<(Inherited, OwnedFd)> = sockets.bequeath()?;
        let mut inherited = inherited.into_iter().peekable();
        while inherited.peek().is_some() {
            let (some, fds) = inherited.by_ref().take(MAX_FDS).unzip();
            to.send_with(&ToSuccessor::Sockets(some), fds)?;
        }
        to.send(&ToSuccessor::TicketKeys(tickets))?;
        to.send(&ToSuccessor::Complete)?;
        Ok(Successor {
            pid,
            serves: false,
            ended: None,
            deadline: Instant::now() + READY_TIMEOUT,
            _to: to,
            from,
        })
    }

    /// May be dropped.
    async fn word(&mut self) -> Word {
        let deadline = self.deadline.into();
        match tokio::time::timeout_at(deadline, self.from.receive()).await {
            Ok(Ok(Some((FromSuccessor::Ready, _)))) => Word::Ready,
            Ok(Ok(None) | Err(_)) | Err(_) => Word::Failed,
        }
    }

    /// One that is not to be waited for any longer.
    pub(super) fn give_up(&self) {
        self.signal(Signal::SIGKILL);
    }

    pub(super) fn signal(&self, signal: Signal) {
        // It may be gone already.
        let _gone = kill(self.pid, signal);
    }

    /// Somebody has ended; perhaps it was this one.
    pub(super) fn note_end(&mut self, pid: Pid, status: WaitStatus) {
        if pid == self.pid {
            self.ended = Some(code_of(status));
        }
    }
}

/// Pending while there is none, or while there is nothing left to hear.
pub(super) async fn word(successor: &mut Option<Successor>) -> Word {
    match successor {
        Some(successor) if !successor.serves => successor.word().await,
        _ => std::future::pending().await,
    }
}

/// What the new supervisor starts with.
#[derive(Debug)]
pub(super) struct Inheritance {
    pub(super) estate: Estate,
    /// `None` where this binary lays it out differently: it makes its own.
    pub(super) segment: Option<Segment>,
    /// Without the counters there is nothing to compare with.
    pub(super) vigil: Option<Packed>,
    pub(super) sockets: Vec<(Inherited, OwnedFd)>,
    pub(super) tickets: Vec<TicketKey>,
    to: Sender<FromSuccessor>,
    /// Held open: its end would be taken for ours.
    _from: Receiver<ToSuccessor>,
}

impl Inheritance {
    /// From the predecessor at the other end of stdin.
    pub(super) async fn receive() -> Result<Inheritance, HandoverError> {
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let (to, mut from) = channel::open(stream)?;
        let receive = receive_all(&mut from);
        let received = tokio::time::timeout(ESTATE_TIMEOUT, receive).await;
        let Received {
            estate,
            fds,
            sockets,
            tickets,
        } = received.map_err(|_| HandoverError::Late)??;
        let mut fds = fds.into_iter();
        let segment = fds.next().and_then(|fd| usable(Segment::open(fd)));
        let vigil = segment.as_ref().map(|_| estate.vigil.clone());
        Ok(Inheritance {
            estate,
            vigil,
            segment,
            sockets,
            tickets,
            to,
            _from: from,
        })
    }

    pub(super) fn say_ready(&self) {
        if let Err(error) = self.to.send(&FromSuccessor::Ready) {
            tracing::warn!(%error, "the predecessor cannot be told that it may go");
        }
    }
}

fn usable(segment: Result<Segment, ShmError>) -> Option<Segment> {
    match segment {
        Ok(segment) => Some(segment),
        Err(error) => {
            tracing::warn!(%error, "counters begin anew");
            None
        }
    }
}

struct Received {
    estate: Estate,
    fds: Vec<OwnedFd>,
    sockets: Vec<(Inherited, OwnedFd)>,
    tickets: Vec<TicketKey>,
}

async fn receive_all(from: &mut Receiver<ToSuccessor>) -> Result<Received, HandoverError> {
    match from.receive().await?.ok_or(HandoverError::Cut)? {
        (ToSuccessor::Format(ESTATE_FORMAT), _) => {}
        (ToSuccessor::Format(other), _) => return Err(HandoverError::Format(other)),
        _ => return Err(HandoverError::NoFormat),
    }
    let (mut estate, mut sockets, mut tickets) = (None, Vec::new(), Vec::new());
    loop {
        match from.receive().await?.ok_or(HandoverError::Cut)? {
            (ToSuccessor::Estate(left), fds) => estate = Some((left, fds)),
            (ToSuccessor::Sockets(some), fds) => sockets.extend(some.into_iter().zip(fds)),
            (ToSuccessor::TicketKeys(keys), _) => tickets = keys,
            (ToSuccessor::Format(other), _) => return Err(HandoverError::Format(other)),
            (ToSuccessor::Complete, _) => {
                let (estate, fds) = estate.ok_or(HandoverError::Cut)?;
                return Ok(Received {
                    estate,
                    fds,
                    sockets,
                    tickets,
                });
            }
        }
    }
}

/// Process 1 cannot go before the container does: it waits for its successor, passes on what it is
/// told, and buries whatever ends. A successor that has been replaced itself leaves its place to its own.
pub(super) async fn stand_by(pid: Pid, ended: Option<i32>, signals: &mut Signals) -> i32 {
    let (mut pid, mut ended) = (pid, ended.or_else(|| reap_until(pid)));
    tracing::info!(pid = pid.as_raw(), "process 1 stands by");
    loop {
        if let Some(code) = ended.take() {
            let Some(next) = heir().filter(|_| code == 0) else {
                return code;
            };
            pid = next;
            tracing::info!(pid = pid.as_raw(), "process 1 stands by");
        }
        match signals.next().await.number() {
            Some(signal) => {
                let _gone = kill(pid, signal);
            }
            None => ended = reap_until(pid),
        }
    }
}

fn reap_until(pid: Pid) -> Option<i32> {
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return None,
            Ok(status) if status.pid() == Some(pid) => return Some(code_of(status)),
            Err(_) => return Some(1),
            Ok(_) => {}
        }
    }
}

/// As a shell tells it.
fn code_of(status: WaitStatus) -> i32 {
    match status {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => 1,
    }
}

/// The successor of one that has ended, which has become our child by that.
fn heir() -> Option<Pid> {
    let pids = std::fs::read_dir("/proc").ok()?.flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.map(Pid::from_raw).find(|pid| {
        let read = |file| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let arguments = read("cmdline");
        let mut arguments = arguments.split(|byte| *byte == 0);
        parent(&read("stat")) == Some(Pid::this()) && arguments.any(|it| it == b"--takeover")
    })
}

/// Stands behind the name, which is in brackets and may hold anything, and the state.
fn parent(stat: &[u8]) -> Option<Pid> {
    let stat = String::from_utf8_lossy(stat);
    let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?;
    Some(Pid::from_raw(parent.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estate() -> ToSuccessor {
        ToSuccessor::Estate(Estate {
            last_generation: 7,
            labels: Packed::default(),
            endpoints: Packed::default(),
            secret: None,
            history: Packed::default(),
            vigil: Packed::default(),
            pinned: None,
        })
    }

    async fn received(messages: &[ToSuccessor]) -> Result<u64, HandoverError> {
        let (ours, theirs) = channel::pair().unwrap();
        let (to, _from) = channel::open::<_, FromSuccessor>(ours).unwrap();
        let (_to, mut from) = channel::open::<FromSuccessor, _>(theirs).unwrap();
        for message in messages {
            to.send(message).unwrap();
        }
        let received = receive_all(&mut from).await?;
        Ok(received.estate.last_generation)
    }

    #[tokio::test]
    async fn only_what_is_left_in_the_format_of_this_binary_is_taken() {
        let ours = ToSuccessor::Format(ESTATE_FORMAT);
        let theirs = ToSuccessor::Format(ESTATE_FORMAT + 1);
        let rest = [estate(), ToSuccessor::Complete];
        let whole = received(&[&[ours], &rest[..]].concat()).await;
        assert_eq!(whole.unwrap(), 7);
        let other = received(&[&[theirs], &rest[..]].concat())
            .await
            .unwrap_err();
        assert!(matches!(other, HandoverError::Format(_)), "{other:?}");
        let silent = received(&rest).await.unwrap_err();
        assert!(matches!(silent, HandoverError::NoFormat), "{silent:?}");
    }
}
