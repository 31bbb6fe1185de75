//! What was read from one socket and not used yet. It reads with a small buffer until one is filled
//! in one go, which is the sign of a long body, and with a large one then.
//!
//! Not here: what the bytes mean, and how many of them may wait; who parses them bounds that.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;

use super::buffers::{Buffers, LARGE, SMALL};
use super::stream::Stream;

#[derive(Default)]
pub(super) struct Inlet {
    pub(super) buffer: BytesMut,
    size: Size,
}

#[derive(Clone, Copy, Default)]
enum Size {
    #[default]
    Small,
    Large,
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
        if count == room && room >= SMALL {
            self.size = Size::Large;
        }
        Poll::Ready(Ok(count))
    }

    /// Gives the memory back unless something waits in it.
    pub(super) fn rest(&mut self, buffers: &Buffers) {
        self.size = Size::Small;
        if self.buffer.is_empty() {
            buffers.give(std::mem::take(&mut self.buffer));
        }
    }

    fn make_room(&mut self, buffers: &Buffers) {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers.take();
        }
        let (least, most) = match self.size {
            Size::Small => (SMALL / 4, SMALL),
            Size::Large => (LARGE / 2, LARGE),
        };
        if self.buffer.capacity() - self.buffer.len() < least {
            self.buffer.reserve(most);
        }
    }
}
