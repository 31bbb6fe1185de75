//! TLS over a socket: records in and out, for both sides of the proxy. An idle connection holds no
//! buffer: what is read is opened in memory that all connections of the worker share, and only the
//! part of a record that has not come whole is kept.
//!
//! Not here: which certificates there are (`model`), and how long a handshake may take (`handshake`).

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(super) mod handshake;
pub(super) mod secured;
mod session;
pub(super) mod tickets;
pub(super) mod turns;

pub(super) use session::Session;

/// The plain bytes of one record at most.
const RECORD: usize = 16 * 1024;
/// What a record takes beside them: head, tag, and some that old versions add.
const OVERHEAD: usize = 256;
/// Plain bytes sealed at once, and so the most that waits to be written.
const SEALED_AT_ONCE: usize = 2 * RECORD;
/// Read at once, at least and at most.
const LEAST_READ: usize = 4 * 1024;
const MOST_READ: usize = 64 * 1024;
/// The most of a message that is kept while the rest of it is awaited: the longest handshake message
/// (64 KiB) in records.
const MOST_KEPT: usize = 80 * 1024;
/// Bytes of the library's own (answers to key updates) that may wait for a peer that reads nothing.
const MOST_WAITING: usize = 128 * 1024;

/// How often an idle connection is read from before it is let go.
const MOST_UNASKED: usize = 4;

/// Shared by all connections of a worker, which is one thread: in use while one of them is polled.
#[derive(Default)]
struct Scratch {
    input: Vec<u8>,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

pub(super) struct TlsStream {
    tcp: TcpStream,
    session: Session,
    /// A record that has not come whole.
    incoming: Vec<u8>,
    /// Opened and not yet asked for.
    plain: BytesMut,
    /// Sealed and not yet written.
    waiting: BytesMut,
    /// How many plain bytes that the caller still holds are in `waiting` as well: they are given as
    /// written when what waits is.
    owed: usize,
    end: End,
    farewell: Farewell,
}

/// Of what the peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// It has said so.
    Closed,
    /// Without a word, or with nonsense: what came may not be all.
    Broken,
}

/// Whether the peer is told of our end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    Due,
    /// Said, or not to be said because what was sent is not the whole.
    Over,
}

impl TlsStream {
    pub(super) fn new(tcp: TcpStream, session: Session) -> Self {
        Self {
            tcp,
            session,
            incoming: Vec::new(),
            plain: BytesMut::new(),
            waiting: BytesMut::new(),
            owed: 0,
            end: End::Open,
            farewell: Farewell::Due,
        }
    }

    /// The first words of a client.
    pub(super) fn begin(&mut self) -> Result<(), rustls::Error> {
        let said = self
            .session
            .digest(&mut [], &mut self.plain, &mut self.waiting);
        said.result
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Whether a part of a record has come, or something that was not asked for yet.
    pub(super) fn is_midway(&self) -> bool {
        !self.incoming.is_empty() || !self.plain.is_empty()
    }

    /// Like a socket's; 0 is the end that the peer has announced, any other end is an error.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let before = into.len();
        if !self.plain.is_empty() {
            into.extend_from_slice(&std::mem::take(&mut self.plain));
        }
        loop {
            if into.len() > before {
                return Poll::Ready(Ok(into.len() - before));
            }
            match self.end {
                End::Open => ready!(self.poll_take(cx, into))?,
                End::Closed => return Poll::Ready(Ok(0)),
                End::Broken => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    /// Ready when there may be something to read, or the end.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.plain.is_empty() || self.end != End::Open {
            return Poll::Ready(Ok(()));
        }
        self.tcp.poll_read_ready(cx)
    }

    /// Takes in what has come without being asked for, like the tickets that servers send at their leisure.
    /// Whether that was all, and nothing for whoever uses the connection.
    pub(super) fn settle(&mut self) -> bool {
        // Nobody waits for it: who uses it next asks anew.
        let mut cx = Context::from_waker(Waker::noop());
        let mut plain = std::mem::take(&mut self.plain);
        for _ in 0..MOST_UNASKED {
            match self.poll_take(&mut cx, &mut plain) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        self.plain = plain;
        self.end == End::Open && !self.is_midway()
    }

    /// Reads once from the socket, and opens what is whole.
    fn poll_take(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<()>> {
        let taken = SCRATCH.with_borrow_mut(|scratch| self.poll_take_with(cx, into, scratch));
        if let Poll::Ready(Err(_)) = taken {
            self.end = End::Broken;
        }
        if !self.waiting.is_empty() && self.owed == 0 {
            // The library's own; should it have to wait, the next write comes by.
            let _ = self.poll_flush_waiting(cx)?;
        }
        taken
    }

    fn poll_take_with(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut BytesMut,
        scratch: &mut Scratch,
    ) -> Poll<io::Result<()>> {
        let room = into.capacity() - into.len();
        let kept = self.incoming.len();
        let most = kept + room.clamp(LEAST_READ, MOST_READ) + OVERHEAD;
        if scratch.input.len() < most {
            scratch.input.resize(most, 0);
        }
        let Some((front, fresh)) = scratch.input.split_at_mut_checked(kept) else {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        };
        let wanted = (most - kept).min(fresh.len());
        let mut fresh = ReadBuf::new(fresh.get_mut(..wanted).unwrap_or_default());
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut fresh))?;
        let count = fresh.filled().len();
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        front.copy_from_slice(&self.incoming);
        let input = scratch.input.get_mut(..kept + count).unwrap_or_default();
        let digested = self.session.digest(input, into, &mut self.waiting);
        let used = digested.used.min(input.len());
        let rest = input.get(used..).unwrap_or_default();
        self.keep(rest);
        if digested.closed {
            self.end = End::Closed;
            self.incoming = Vec::new();
        }
        digested.result.map_err(io::Error::other)?;
        if self.incoming.len() > MOST_KEPT || self.waiting.len() > MOST_WAITING {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }

    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            // Its memory goes too.
            self.incoming = Vec::new();
        } else {
            self.incoming.clear();
            self.incoming.extend_from_slice(rest);
        }
    }

    /// Like a socket's, and like it to be called again with what was not written: some of that is
    /// sealed already. Bytes count as written as the sealed ones go out, the last of them at the end.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.owed == 0 {
            ready!(self.poll_flush_waiting(cx))?;
            let sealed = SCRATCH.with_borrow_mut(|scratch| self.seal(pieces, scratch))?;
            if sealed == 0 {
                return Poll::Ready(Ok(0));
            }
            self.owed = sealed;
        }
        loop {
            let count = ready!(self.poll_write_waiting(cx))?;
            if self.waiting.is_empty() {
                self.waiting = BytesMut::new();
                return Poll::Ready(Ok(std::mem::take(&mut self.owed)));
            }
            let gone = count.min(self.owed - 1);
            if gone > 0 {
                self.owed -= gone;
                return Poll::Ready(Ok(gone));
            }
        }
    }

    /// Writes what waits of the library's own.
    fn poll_flush_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            ready!(self.poll_write_waiting(cx))?;
        }
        self.waiting = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    fn poll_write_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.waiting))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.waiting.advance(count);
        Poll::Ready(Ok(count))
    }

    /// Seals some of what is to be sent into `waiting`; says how much of it.
    fn seal(&mut self, pieces: &[IoSlice<'_>], scratch: &mut Scratch) -> io::Result<usize> {
        let Scratch { plain, sealed, .. } = scratch;
        let mut taken = 0;
        while taken < SEALED_AT_ONCE {
            let record = next_record(pieces, taken, plain);
            if record.is_empty() {
                break;
            }
            let size = record.len();
            let out = Out {
                records: sealed,
                own: &mut self.waiting,
            };
            self.session
                .seal(record, &mut self.incoming, &mut self.plain, out)?;
            taken += size;
        }
        Ok(taken)
    }

    /// Tells the peer that nothing more will come, if it takes that at once.
    pub(super) fn end_writing(&mut self) {
        self.say_farewell();
        // A failure means that the connection is gone already, which is what was to be said.
        let _ = rustix::net::shutdown(&self.tcp, rustix::net::Shutdown::Write);
    }

    /// The end that follows is not the end of what was to be sent.
    pub(super) fn deny_farewell(&mut self) {
        self.farewell = Farewell::Over;
    }

    fn say_farewell(&mut self) {
        if std::mem::replace(&mut self.farewell, Farewell::Over) == Farewell::Over {
            return;
        }
        if self.owed == 0 && self.session.close(&mut self.incoming, &mut self.waiting) {
            // A peer that takes nothing more is not waited for.
            let _ = self.tcp.try_write(&self.waiting);
        }
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        self.say_farewell();
    }
}

/// Where sealed bytes go.
struct Out<'a> {
    /// Memory to seal a record in.
    records: &'a mut Vec<u8>,
    /// What waits to be written, in its order.
    own: &'a mut BytesMut,
}

/// The next bytes for one record, behind the first `taken`: out of one piece where it has enough of
/// them, else gathered.
fn next_record<'a>(pieces: &'a [IoSlice<'_>], taken: usize, plain: &'a mut Vec<u8>) -> &'a [u8] {
    let mut skip = taken;
    let mut rest = pieces.iter().filter_map(|piece| {
        let from = skip.min(piece.len());
        skip -= from;
        piece.get(from..).filter(|piece| !piece.is_empty())
    });
    let Some(first) = rest.next() else {
        return &[];
    };
    if let Some(whole) = first.get(..RECORD) {
        return whole;
    }
    plain.clear();
    plain.extend_from_slice(first);
    for piece in rest {
        let room = RECORD - plain.len();
        plain.extend_from_slice(piece.get(..room).unwrap_or(piece));
        if plain.len() == RECORD {
            break;
        }
    }
    plain
}

#[cfg(test)]
mod tests;
