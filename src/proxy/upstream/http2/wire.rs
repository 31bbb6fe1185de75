//! A connection to an upstream as the `h2` crate reads and writes it, and a count of what comes.
//!
//! Not here: what the bytes mean.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::Proxy;
use crate::proxy::inlet::Inlet;
use crate::proxy::stream::Stream;

pub(super) struct Wire {
    stream: Stream,
    /// Memory that is read with, which is there only meanwhile.
    inlet: Inlet,
    proxy: Rc<Proxy>,
    /// Bytes from the upstream.
    read: Rc<Cell<u64>>,
}

impl Wire {
    pub(super) fn new(stream: Stream, proxy: &Rc<Proxy>, read: Rc<Cell<u64>>) -> Self {
        Self {
            stream,
            inlet: Inlet::default(),
            proxy: Rc::clone(proxy),
            read,
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
            read,
        } = &mut *self;
        let count = ready!(inlet.poll_read_into(cx, stream, &proxy.buffers, buf))?;
        read.set(read.get() + count as u64);
        Poll::Ready(Ok(()))
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
        self.stream.poll_write(cx, pieces)
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
