//! What was read from one socket and not used yet. It reads with a small buffer until one is filled
//! in one go, which is the sign of a long body, and with a large one then.
//!
//! Not here: what the bytes mean, and how many of them may wait; who parses them bounds that.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;

use super::budget::LargeGuard;
use super::buffers::{Buffers, LARGE, SMALL};
use super::stream::Stream;

#[derive(Default)]
pub(super) struct Inlet {
    pub(super) buffer: BytesMut,
    /// There once a large buffer is used.
    large: Option<LargeGuard>,
}

impl Inlet {
    /// Reads once, behind what is there; 0 is the end.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        self.make_room(buffers);
        let room = self.buffer.capacity() - self.buffer.len();
        let count = ready!(stream.poll_fill(cx, &mut self.buffer))?;
        if count >= room && room >= SMALL {
            self.large = self.large.take().or_else(|| buffers.take_large());
        }
        Poll::Ready(Ok(count))
    }

    /// Gives the memory back unless something waits in it.
    pub(super) fn rest(&mut self, buffers: &Buffers) {
        self.large = None;
        if self.buffer.is_empty() {
            buffers.give(std::mem::take(&mut self.buffer));
        }
    }

    fn make_room(&mut self, buffers: &Buffers) {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers.take();
        }
        let (least, most) = match self.large {
            None => (SMALL / 4, SMALL),
            Some(_) => (LARGE / 2, LARGE),
        };
        if self.buffer.capacity() - self.buffer.len() < least {
            self.buffer.reserve(most);
        }
    }
}
