//! The listening sockets that a worker has been lent: those it accepts on, those that wait for the
//! commit of the generation that needs them, and those that no generation needs any more, which take
//! connections for as long as the supervisor has them.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::ipc::message::{Serve, SocketId};
use crate::proxy::{ListenerHandle, Proxy};

#[derive(Default)]
pub(super) struct Sockets {
    waiting: HashMap<SocketId, TcpListener>,
    serving: HashMap<SocketId, ListenerHandle>,
    leaving: HashMap<SocketId, ListenerHandle>,
}

impl Sockets {
    pub(super) fn lend(&mut self, ids: Vec<SocketId>, fds: Vec<OwnedFd>) {
        let listeners = fds.into_iter().map(TcpListener::from);
        self.waiting.extend(ids.into_iter().zip(listeners));
    }

    /// Whether it has all that a generation needs; the first that it has not.
    pub(super) fn missing(&self, wanted: &[Serve]) -> Option<SocketId> {
        let has = |id: &SocketId| {
            self.waiting.contains_key(id)
                || self.serving.contains_key(id)
                || self.leaving.contains_key(id)
        };
        wanted.iter().map(|serve| serve.socket).find(|id| !has(id))
    }

    /// Accepts on these from now on, and on what it had before until `retire`, but for what is `given` to
    /// others; `label` is what the observer knows an address by.
    pub(super) fn serve(
        &mut self,
        wanted: &[Serve],
        given: &[SocketId],
        proxy: &Rc<Proxy>,
        label: impl Fn(&Serve) -> u32,
    ) -> io::Result<()> {
        let is_wanted = |id: &SocketId| wanted.iter().any(|serve| serve.socket == *id);
        let gone = self.serving.extract_if(|id, _| !is_wanted(id));
        self.leaving.extend(gone);
        self.leaving.retain(|id, _| !given.contains(id));
        for serve in wanted {
            if let Some(handle) = self.leaving.remove(&serve.socket) {
                self.serving.insert(serve.socket, handle);
            }
            if let Some(handle) = self.serving.get(&serve.socket) {
                // An address may have become part of another one.
                handle.belongs_to(label(serve));
            } else if let Some(listener) = self.waiting.remove(&serve.socket) {
                let handle = proxy.serve(listener, label(serve))?;
                self.serving.insert(serve.socket, handle);
            }
        }
        self.forget_waiting();
        Ok(())
    }

    /// Ready when the worker drains and everything that had arrived on its sockets is accepted. May be
    /// dropped and called again.
    pub(super) async fn ended(&mut self) {
        self.serving.extend(self.leaving.drain());
        while let Some((id, handle)) = self.serving.iter_mut().next() {
            let id = *id;
            handle.ended().await;
            self.serving.remove(&id);
        }
    }

    /// Accepts what has arrived where it no longer serves, and then no more.
    pub(super) fn retire(&mut self) {
        for (_, gone) in self.leaving.drain() {
            gone.close();
        }
    }

    /// Gives back what only a generation that will not come needed.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }
}
