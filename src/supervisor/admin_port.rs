//! The admin port while its address can change. Its sockets are the supervisor's, as all others; here is
//! who answers on them. Whoever has asked at an address that is given up is answered, since somebody may
//! wait there for the end of the very reload.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::state::COMMIT_TIMEOUT;
use crate::admin::{self, Door, Sources};
use crate::ipc::message::SocketId;

/// What is under way on an address that is given up may take so long: the reload that gives it up among it.
const LAST_ANSWERS: Duration = COMMIT_TIMEOUT.saturating_add(Duration::from_secs(5));

#[derive(Debug)]
pub(super) struct AdminPort {
    sources: Sources,
    serving: Option<Serving>,
    /// Of an address that no generation has any more: accepts until all serve the one that gave it up.
    leaving: Option<Serving>,
}

#[derive(Debug)]
struct Serving {
    configured: SocketAddr,
    sockets: Vec<SocketId>,
    task: JoinHandle<()>,
    door: watch::Sender<Door>,
}

impl Serving {
    /// Not at once, since somebody may wait for an answer.
    fn end_soon(self, door: Door) {
        // Without a receiver it has ended already.
        let _ended = self.door.send(door);
        // Ends by itself, or with the runtime.
        drop(tokio::task::spawn_local(async move {
            tokio::time::sleep(LAST_ANSWERS).await;
            self.task.abort();
        }));
    }
}

impl AdminPort {
    pub(super) fn new(sources: Sources) -> AdminPort {
        AdminPort {
            sources,
            serving: None,
            leaving: None,
        }
    }

    /// A successor answers from now on, on the same sockets.
    pub(super) fn close(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.end_soon(Door::Shut);
        }
    }

    /// Answers on these sockets from now on, and on no others; those that somebody `has` now are left at
    /// once. Whether that is new.
    pub(super) fn serve(
        &mut self,
        configured: SocketAddr,
        sockets: Vec<SocketId>,
        lend: impl Fn(SocketId) -> io::Result<OwnedFd>,
        has: impl Fn(SocketId) -> bool,
    ) -> io::Result<Moved> {
        let is_same =
            |serving: &Serving| serving.configured == configured && serving.sockets == sockets;
        if self.serving.as_ref().is_some_and(is_same) {
            return Ok(Moved::No);
        }
        let mut listeners = Vec::new();
        for id in &sockets {
            let listener = TcpListener::from(lend(*id)?);
            listeners.push(tokio::net::TcpListener::from_std(listener)?);
        }
        let (door, is_open) = watch::channel(Door::Open);
        let serve = admin::serve(listeners, self.sources.clone(), is_open);
        let serving = Serving {
            configured,
            sockets,
            task: tokio::task::spawn_local(serve),
            door,
        };
        self.retire();
        match self.serving.replace(serving) {
            Some(old) if old.sockets.iter().any(|id| has(*id)) => old.end_soon(Door::Shut),
            old => self.leaving = old,
        }
        Ok(Moved::Yes)
    }

    /// The supervisor has closed the sockets of an address that was given up: nobody else arrives there.
    pub(super) fn retire(&mut self) {
        if let Some(leaving) = self.leaving.take() {
            leaving.end_soon(Door::Closing);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    No,
    Yes,
}

impl Drop for AdminPort {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.task.abort();
        }
    }
}
