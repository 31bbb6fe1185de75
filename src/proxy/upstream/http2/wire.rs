//! A connection to an upstream as the `h2` crate reads and writes it, and what is seen of it on the way: how
//! much comes, and whether it is frames that cost work and bring nothing.
//!
//! Not here: what the frames mean.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::Proxy;
use crate::proxy::http2::frames::{self, Frames};
use crate::proxy::inlet::Inlet;
use crate::proxy::stream::Stream;

/// The kind of the error that a connection ends with where its upstream wastes work.
pub(super) const FLOOD: io::ErrorKind = io::ErrorKind::InvalidData;

pub(super) struct Wire {
    stream: Stream,
    /// Memory that is read with, which is there only meanwhile.
    inlet: Inlet,
    proxy: Rc<Proxy>,
    watch: Rc<Watch>,
}

pub(super) struct Watch {
    /// Bytes from the upstream.
    read: Cell<u64>,
    frames: RefCell<Frames>,
}

impl Watch {
    pub(super) fn new(proxy: &Proxy) -> Rc<Self> {
        let now = proxy.timers.about_now().millis().0;
        Rc::new(Self {
            read: Cell::new(0),
            frames: RefCell::new(Frames::of_server(now)),
        })
    }

    pub(super) fn read(&self) -> u64 {
        self.read.get()
    }

    /// The upstream is sent a request.
    pub(super) fn asked(&self) {
        self.frames.borrow_mut().asked();
    }

    /// And a piece of its body.
    pub(super) fn gave(&self) {
        self.frames.borrow_mut().piece();
    }
}

impl Wire {
    pub(super) fn new(stream: Stream, proxy: &Rc<Proxy>, watch: Rc<Watch>) -> Self {
        Self {
            stream,
            inlet: Inlet::default(),
            proxy: Rc::clone(proxy),
            watch,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            stream,
            inlet,
            proxy,
            watch,
        } = &mut *self;
        let before = buf.filled().len();
        loop {
            if watch.frames.borrow_mut().is_to_rest() {
                // Those whom it is for take in first what was read.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let now = proxy.timers.about_now().millis().0;
            let mut passed = Ok(0);
            let most = buf.remaining();
            let pass = |bytes: &mut [u8]| {
                passed = frames::pass(&mut watch.frames.borrow_mut(), bytes, buf, now);
                passed.unwrap_or(bytes.len())
            };
            let taken = ready!(inlet.poll_take(cx, stream, &proxy.buffers, most, pass))?;
            passed.map_err(|flood| io::Error::new(FLOOD, format!("{flood:?}")))?;
            watch.read.set(watch.read.get() + taken as u64);
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
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.stream.poll_write(cx, pieces);
        if let Poll::Ready(Ok(count)) = outcome {
            self.watch.frames.borrow_mut().sent(count);
        }
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.end_writing();
        Poll::Ready(Ok(()))
    }
}
