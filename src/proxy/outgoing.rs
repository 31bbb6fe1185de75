//! What waits to be written to one socket: framing, small bodies and heads in one buffer, a large
//! piece beside it without a copy. A head and the first piece of its body leave in one write.
//!
//! Not here: what is to be sent, and how long the peer may take none of it.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};

use super::h1::{self, Framing};
use super::stream::Stream;
use crate::model::fields::Fields;

/// Pieces up to this size are copied behind what already waits: cheaper than a second buffer in the
/// write call, and the memory that they came from is free again.
const COPIED: usize = 4 * 1024;
/// With this much waiting, no more is gathered before it is written.
const ENOUGH: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Outgoing {
    /// Written first.
    front: BytesMut,
    piece: Bytes,
    /// Written last: the end of a chunk whose data is `piece`.
    tail: &'static [u8],
    /// How much of the three has been written.
    written: usize,
    /// How much has been written in all.
    total: u64,
}

impl Outgoing {
    pub(super) fn with_buffer(buffer: BytesMut) -> Self {
        Self {
            front: buffer,
            ..Self::default()
        }
    }

    /// Where heads are encoded.
    pub(super) fn front(&mut self) -> &mut BytesMut {
        self.make_room();
        &mut self.front
    }

    pub(super) fn push(&mut self, data: Bytes, framing: Framing) {
        if data.is_empty() {
            return;
        }
        self.make_room();
        let chunked = framing == Framing::Chunked;
        if chunked {
            h1::encode_chunk_header(data.len() as u64, &mut self.front);
        }
        let end: &'static [u8] = if chunked { b"\r\n" } else { b"" };
        if data.len() <= COPIED {
            self.front.extend_from_slice(&data);
            self.front.extend_from_slice(end);
        } else {
            self.piece = data;
            self.tail = end;
        }
    }

    /// The end of a body. Trailers can be told in chunked framing only.
    pub(super) fn end(&mut self, trailers: Option<&Fields>, framing: Framing) {
        if framing == Framing::Chunked {
            self.make_room();
            h1::encode_last_chunk(trailers, &mut self.front);
        }
    }

    /// Whether more may be added before the next write.
    pub(super) fn has_room(&self) -> bool {
        self.is_written() || (self.piece.is_empty() && self.front.len() < ENOUGH)
    }

    pub(super) fn is_written(&self) -> bool {
        self.written == self.len()
    }

    /// In all, as far as a write was not refused.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Writes until nothing waits.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let count = ready!(self.poll_write(cx, stream))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.total += count as u64;
        }
        // A long body's buffer is free for the next read.
        self.clear();
        Poll::Ready(Ok(()))
    }

    pub(super) fn has_no_buffer(&self) -> bool {
        self.front.capacity() == 0
    }

    pub(super) fn into_buffer(self) -> BytesMut {
        self.front
    }

    fn len(&self) -> usize {
        self.front.len() + self.piece.len() + self.tail.len()
    }

    fn clear(&mut self) {
        self.front.clear();
        self.piece = Bytes::new();
        self.tail = b"";
        self.written = 0;
    }

    /// A large piece that still waits is never overtaken, because `has_room` is false until it is
    /// written; should it be, it is copied rather than lost.
    fn make_room(&mut self) {
        if self.is_written() {
            self.clear();
        } else if !self.piece.is_empty() {
            self.front
                .extend_from_slice(&std::mem::take(&mut self.piece));
            self.front.extend_from_slice(std::mem::take(&mut self.tail));
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<usize>> {
        // Nearly always; a piece never waits without what comes before it.
        if self.piece.is_empty() && self.tail.is_empty() {
            let rest = self.front.get(self.written..).unwrap_or_default();
            return stream.poll_write(cx, &[IoSlice::new(rest)]);
        }
        let mut rest = (&self.front[..]).chain(&self.piece[..]).chain(self.tail);
        rest.advance(self.written);
        let mut slices = [IoSlice::new(&[]); 3];
        let count = rest.chunks_vectored(&mut slices);
        stream.poll_write(cx, slices.get(..count).unwrap_or_default())
    }
}
