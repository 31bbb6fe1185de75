//! The admin port while its address can change: the new one is bound before the commit, and the old
//! one goes on a little while, since somebody may wait there for the end of the very reload.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use crate::admin::{self, Sources};

/// What is under way on an address that is given up may take so long.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
const BACKLOG: u32 = 128;

#[derive(Debug)]
pub(super) struct AdminPort {
    sources: Sources,
    serving: Option<Serving>,
    /// Bound for a generation that is not decided.
    next: Option<(SocketAddr, TcpListener)>,
}

#[derive(Debug)]
struct Serving {
    configured: SocketAddr,
    task: JoinHandle<()>,
}

impl AdminPort {
    pub(super) fn new(sources: Sources) -> AdminPort {
        AdminPort {
            sources,
            serving: None,
            next: None,
        }
    }

    pub(super) fn bind(&mut self, configured: SocketAddr) -> io::Result<()> {
        self.next = None;
        if self
            .serving
            .as_ref()
            .is_some_and(|serving| serving.configured == configured)
        {
            return Ok(());
        }
        let socket = match configured {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(configured)?;
        self.next = Some((configured, socket.listen(BACKLOG)?));
        Ok(())
    }

    pub(super) fn unbind(&mut self) {
        self.next = None;
    }

    /// Serves where it was bound for; the address, if it is a new one.
    pub(super) fn open(&mut self) -> Option<SocketAddr> {
        let (configured, listener) = self.next.take()?;
        let actual = listener.local_addr().unwrap_or(configured);
        let task = tokio::task::spawn_local(admin::serve(listener, self.sources.clone()));
        let serving = Serving { configured, task };
        if let Some(old) = self.serving.replace(serving) {
            // Ends by itself soon, or with the runtime.
            drop(tokio::task::spawn_local(async move {
                tokio::time::sleep(LAST_ANSWERS).await;
                old.task.abort();
            }));
        }
        Some(actual)
    }
}

impl Drop for AdminPort {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.task.abort();
        }
    }
}
