//! A client's connection as the `h2` crate reads and writes it, watched on the way: what the frames
//! are, and whether the client takes what is written.
//!
//! Not here: what follows from that (`session`).

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{self, Flood, Frames, Section};
use crate::proxy::client::Client;

pub(super) struct Wire {
    client: Rc<Client>,
    watch: Rc<Watch>,
}

/// What is seen of a connection from outside of the `h2` crate.
pub(super) struct Watch {
    frames: RefCell<Frames>,
    flood: Cell<Option<Flood>>,
    /// Bytes each way.
    read: Cell<u64>,
    written: Cell<u64>,
    /// Bytes of bodies that the client has made room for.
    carried: Cell<u64>,
    /// Bytes of bodies, and of tunnels, that were pulled.
    taken: Cell<u64>,
    flow: Cell<Flow>,
}

/// Whether the peer takes what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Free,
    Blocked,
}

impl Watch {
    pub(super) fn of_client(client: &Client) -> Rc<Self> {
        Rc::new(Self {
            frames: RefCell::new(Frames::of_client(client.alarm.now().millis().0)),
            flood: Cell::new(None),
            read: Cell::new(0),
            written: Cell::new(0),
            carried: Cell::new(0),
            taken: Cell::new(0),
            flow: Cell::new(Flow::Free),
        })
    }

    pub(super) fn flood(&self) -> Option<Flood> {
        self.flood.get()
    }

    pub(super) fn section(&self) -> Section {
        self.frames.borrow().section()
    }

    pub(super) fn flow(&self) -> Flow {
        self.flow.get()
    }

    pub(super) fn read(&self) -> u64 {
        self.read.get()
    }

    pub(super) fn written(&self) -> u64 {
        self.written.get()
    }

    /// So many bytes of a response's body are on their way.
    pub(super) fn carry(&self, bytes: u64) {
        self.carried.set(self.carried.get() + bytes);
        self.frames.borrow_mut().piece();
    }

    pub(super) fn carried(&self) -> u64 {
        self.carried.get()
    }

    /// So many bytes of a request's body were pulled.
    pub(super) fn took(&self, bytes: u64) {
        self.taken.set(self.taken.get() + bytes);
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.get()
    }

    pub(super) fn answered(&self) {
        self.frames.borrow_mut().answered();
    }

    /// How many of the bytes are not to be seen again.
    fn pass(&self, bytes: &mut [u8], into: &mut ReadBuf<'_>, now: u64) -> usize {
        let passed = frames::pass(&mut self.frames.borrow_mut(), bytes, into, now);
        let taken = passed.unwrap_or_else(|flood| {
            self.flood.set(Some(flood));
            bytes.len()
        });
        self.read.set(self.read.get() + taken as u64);
        taken
    }

    /// What was read before goes first: to those whom it is for, or to whoever ends the connection for it.
    fn is_to_rest(&self) -> bool {
        self.flood().is_some() || self.frames.borrow_mut().is_to_rest()
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Ready(Ok(count)) => {
                self.written.set(self.written.get() + *count as u64);
                self.frames.borrow_mut().sent(*count);
                self.flow.set(Flow::Free);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.flow.set(Flow::Blocked),
        }
    }
}

impl Wire {
    pub(super) fn new(client: Rc<Client>, watch: Rc<Watch>) -> Self {
        Self { client, watch }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            if self.watch.is_to_rest() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let now = self.client.alarm.about_now().millis().0;
            let most = buf.remaining();
            let pass = |bytes: &mut [u8]| self.watch.pass(bytes, buf, now);
            let taken = ready!(self.client.poll_take(cx, most, pass))?;
            // Where nothing is passed on of what there was, that is no end.
            if taken == 0 || buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.client.poll_write(cx, pieces);
        self.watch.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client.end_writing();
        Poll::Ready(Ok(()))
    }
}
