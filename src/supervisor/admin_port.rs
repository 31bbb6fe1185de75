//! The admin port while its address can change: the new one is bound before the commit, and the old
//! one goes on a little while, since somebody may wait there for the end of the very reload.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
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
    inherited: Option<(SocketAddr, std::net::TcpListener)>,
}

#[derive(Debug)]
struct Serving {
    configured: SocketAddr,
    task: JoinHandle<()>,
    /// Told when nobody else is to be let in.
    open: watch::Sender<()>,
    /// The same socket, kept for a successor.
    socket: OwnedFd,
}

impl Serving {
    /// Not at once, since somebody may wait for an answer.
    fn end_soon(self) {
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
            next: None,
            inherited: None,
        }
    }

    /// The socket, for a successor.
    pub(super) fn bequeath(&self) -> io::Result<Option<(SocketAddr, OwnedFd)>> {
        let Some(serving) = &self.serving else {
            return Ok(None);
        };
        let fd = serving.socket.as_fd().try_clone_to_owned()?;
        Ok(Some((serving.configured, fd)))
    }

    /// Of a predecessor: taken for the address that it was configured as.
    pub(super) fn inherit(&mut self, configured: SocketAddr, listener: std::net::TcpListener) {
        self.inherited = Some((configured, listener));
    }

    /// A successor answers from now on.
    pub(super) fn close(&mut self) {
        if let Some(serving) = self.serving.take() {
            // The socket is the successor's too: a connection that came here would miss it.
            let _ended = serving.open.send(());
            serving.end_soon();
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
        // It stays here until something is decided: a newer configuration may take this one's place.
        let inherited = self.inherited.as_ref();
        if let Some((_, listener)) = inherited.filter(|(known, _)| *known == configured) {
            let listener = listener.try_clone()?;
            listener.set_nonblocking(true)?;
            self.next = Some((configured, TcpListener::from_std(listener)?));
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
    pub(super) fn open(&mut self) -> io::Result<Option<SocketAddr>> {
        let Some((configured, listener)) = self.next.take() else {
            return Ok(None);
        };
        self.inherited = None;
        let actual = listener.local_addr().unwrap_or(configured);
        let socket = listener.as_fd().try_clone_to_owned();
        let (open, is_open) = watch::channel(());
        let serve = admin::serve(listener, self.sources.clone(), is_open);
        let serving = Serving {
            configured,
            task: tokio::task::spawn_local(serve),
            open,
            socket: socket?,
        };
        if let Some(old) = self.serving.replace(serving) {
            old.end_soon();
        }
        Ok(Some(actual))
    }
}

impl Drop for AdminPort {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;
    use crate::admin::fixtures;
    use crate::shm::Segment;
    use crate::shm::layout::Layout;

    #[tokio::test]
    async fn what_is_inherited_outlasts_a_generation_that_is_called_off() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let bound = listener.local_addr().unwrap();
        let configured = "127.0.0.1:0".parse().unwrap();
        let (commands, _commands) = mpsc::channel(1);
        let mut port = AdminPort::new(Sources {
            status: watch::channel(Arc::new(fixtures::status())).1,
            commands,
            segment: Segment::create_sized(Layout { chunks: 16 }).unwrap(),
            reasons: &[],
        });
        port.inherit(configured, listener);
        port.bind(configured).unwrap();
        port.unbind();
        port.bind(configured).unwrap();
        let opened = tokio::task::LocalSet::new()
            .run_until(async { port.open() })
            .await;
        assert_eq!(opened.unwrap(), Some(bound));
    }
}
