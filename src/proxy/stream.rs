//! One socket, whatever its kind: reading and writing by readiness, from one task, without a split.
//!
//! Not here: what the bytes mean, and how long anyone may wait for them.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::{AsyncReadExt, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};

use super::tls::TlsStream;
use crate::model::config::tls::Alpn;

/// What is written in one go.
const WHOLE: usize = 16 * 1024;

pub(super) enum Stream {
    Tcp(TcpStream),
    /// Boxed: an idle connection of a client takes the room of the largest kind.
    Unix(Box<UnixStream>),
    Tls(Box<TlsStream>),
}

/// What the kernel has of a socket's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Nothing,
    Bytes,
    /// In an orderly way or not.
    Ended,
}

impl Stream {
    /// Reads once into the spare capacity of `into` (some is made when there is none); 0 is the end.
    /// A read that does not fill it also learns that the socket is empty, which saves the next one.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => pin!(tcp.read_buf(into)).poll(cx),
            Self::Unix(unix) => pin!(unix.read_buf(into)).poll(cx),
            Self::Tls(tls) => tls.poll_fill(cx, into),
        }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (self, pieces) {
            (Self::Tcp(tcp), [one]) => match try_write(tcp, one) {
                Some(written) => Poll::Ready(written),
                None => Pin::new(tcp).poll_write(cx, one),
            },
            (Self::Tcp(tcp), many) => Pin::new(tcp).poll_write_vectored(cx, many),
            (Self::Unix(unix), many) => Pin::new(&mut **unix).poll_write_vectored(cx, many),
            (Self::Tls(tls), pieces) => tls.poll_write(cx, pieces),
        }
    }

    /// Ready when there may be something to read, or the end: no buffer is needed to wait for it.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(cx),
            Self::Unix(unix) => unix.poll_read_ready(cx),
            Self::Tls(tls) => tls.poll_readable(cx),
        }
    }

    /// Whether something has come that is no use without what follows it.
    pub(super) fn is_midway(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(tls) => tls.is_midway(),
        }
    }

    /// Whether the reactor has seen neither bytes nor an end. It is asked without being told to wake
    /// anybody, and no system call is made.
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.try_io(Interest::READABLE, || Ok(())).is_err(),
            Self::Unix(unix) => unix.try_io(Interest::READABLE, || Ok(())).is_err(),
            Self::Tls(tls) => {
                let unseen = || tls.tcp().try_io(Interest::READABLE, || Ok(()));
                !tls.is_midway() && unseen().is_err()
            }
        }
    }

    /// Takes in what TLS has to say by itself while nobody uses the connection; whether it is fit to be used.
    pub(super) fn settle(&mut self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(tls) => tls.settle(),
        }
    }

    /// Asks the kernel, not the reactor: what has arrived since it was last polled counts too.
    pub(super) fn look(&self) -> Look {
        let mut byte = [0_u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        if self.is_midway() {
            return Look::Bytes;
        }
        let seen = match self {
            Self::Tcp(tcp) => rustix::net::recv(tcp, &mut byte, flags),
            Self::Unix(unix) => rustix::net::recv(&**unix, &mut byte, flags),
            Self::Tls(tls) => rustix::net::recv(tls.tcp(), &mut byte, flags),
        };
        match seen {
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Look::Nothing,
            Ok((1.., _)) => Look::Bytes,
            Ok(_) | Err(_) => Look::Ended,
        }
    }

    /// Whether both sides have agreed to speak HTTP/2.
    pub(super) fn speaks_http2(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(tls) => {
                let agreed = tls.session().common().alpn_protocol();
                agreed == Some(Alpn::H2.as_bytes())
            }
        }
    }

    /// Says that nothing more will be written; the other side may go on.
    pub(super) fn end_writing(&mut self) {
        // A failure means that the connection is gone already, which is what was to be said.
        match self {
            Self::Tcp(tcp) => drop(rustix::net::shutdown(tcp, rustix::net::Shutdown::Write)),
            Self::Unix(unix) => drop(rustix::net::shutdown(&**unix, rustix::net::Shutdown::Write)),
            Self::Tls(tls) => tls.end_writing(),
        }
    }

    /// When it is closed, the peer sees a reset, not an end: what it has got is not the whole.
    pub(super) fn reset_on_close(&mut self) {
        let tcp = match self {
            Self::Tcp(tcp) => &*tcp,
            // A Unix socket has no reset.
            Self::Unix(_) => return,
            Self::Tls(tls) => {
                tls.deny_farewell();
                tls.tcp()
            }
        };
        // Without it the connection still closes, short of what its framing promised.
        let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
    }

    pub(super) fn tcp(tcp: TcpStream) -> Self {
        // Fails on a dead socket only, which the first read or write reports.
        let _ = tcp.set_nodelay(true);
        Self::Tcp(tcp)
    }
}

/// A head or a small body, which the kernel takes whole or not at all: without the bookkeeping for the
/// case that it does not. Left to that where the kernel has no room.
fn try_write(tcp: &TcpStream, piece: &[u8]) -> Option<io::Result<usize>> {
    if piece.len() > WHOLE {
        return None;
    }
    let send = || Ok(rustix::net::send(tcp, piece, SendFlags::NOSIGNAL)?);
    match tcp.try_io(Interest::WRITABLE, send) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        written => Some(written),
    }
}
