//! What comes on a stream of HTTP/2, for whoever pulls it. While nobody does, it is taken out of the `h2` crate all the same and put
//! together: a small frame takes some 250 bytes there beside its own, and some 2,000 of them end the connection.
//!
//! Never more than the windows let in, since they open only when a piece is passed on. Not here: who pulls, and when that is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::HeaderMap;

/// From here on a frame is kept as it is; below, it is copied, and lets go of the memory that it was read with.
const LARGE: usize = 4 * 1024;
/// What the `h2` crate may spend, in bytes beside those of bodies, on small frames before they are taken in: some 250 each. Enough for
/// all that may be read of a connection before that (see `Frames::is_to_rest`).
pub(in crate::proxy) const SMALL_FRAMES: usize = 2 * 1024 * 1024;
/// So many bytes of small frames become one piece.
const MOST_JOINED: usize = 16 * 1024;

/// One for a body or a tunnel, and for whoever hears the client out.
pub(super) type Shared = Rc<RefCell<Inflow>>;

pub(in crate::proxy) struct Inflow {
    stream: RecvStream,
    kept: Kept,
    waits: Waits,
}

/// Who is woken by the next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Whoever pulls, which takes it then.
    Puller,
    Nobody,
}

/// Bytes in the order in which they came.
#[derive(Default)]
struct Kept {
    pieces: VecDeque<Bytes>,
    /// Small frames, the youngest of all.
    joined: BytesMut,
}

impl Inflow {
    pub(in crate::proxy) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            kept: Kept::default(),
            waits: Waits::Nobody,
        }
    }

    pub(in crate::proxy) fn is_end_stream(&self) -> bool {
        self.kept.is_empty() && self.stream.is_end_stream()
    }

    /// The next piece, of what is there of it now: small frames together. It is not empty; `None` where only trailers may
    /// follow.
    pub(in crate::proxy) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, h2::Error>>> {
        self.waits = Waits::Nobody;
        while self.kept.pieces.is_empty() {
            match self.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => self.kept.push(data),
                Poll::Pending if self.kept.is_empty() => {
                    self.waits = Waits::Puller;
                    return Poll::Pending;
                }
                ended if self.kept.is_empty() => return ended,
                // It comes again when there is nothing before it.
                _ => break,
            }
        }
        Poll::Ready(self.kept.pop().map(Ok))
    }

    pub(in crate::proxy) fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<HeaderMap>, h2::Error>> {
        self.stream.poll_trailers(cx)
    }

    /// So many bytes that were pulled have been passed on: the peer may send as many again.
    pub(in crate::proxy) fn release(&mut self, count: usize) {
        // Fails on a stream that is gone, whose window nobody uses.
        let _ = self.stream.flow_control().release_capacity(count);
    }

    /// Takes in what is there, where nobody pulls; then the task is woken when more comes. The end, and an error, stay where they are.
    pub(in crate::proxy) fn take_in(&mut self, cx: &mut Context<'_>) {
        if self.waits == Waits::Puller {
            return;
        }
        while let Poll::Ready(Some(Ok(data))) = self.stream.poll_data(cx) {
            self.kept.push(data);
        }
    }
}

/// Lets `work` go on, and takes in meanwhile what comes and is not pulled by it.
pub(super) async fn taking_in<T>(
    stream: &RefCell<Inflow>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> T {
    poll_fn(|cx| {
        let done = work.as_mut().poll(cx);
        if done.is_pending() {
            stream.borrow_mut().take_in(cx);
        }
        done
    })
    .await
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.joined.is_empty()
    }

    fn push(&mut self, data: Bytes) {
        if data.len() >= LARGE {
            self.close();
            self.pieces.push_back(data);
            return;
        }
        self.joined.extend_from_slice(&data);
        if self.joined.len() >= MOST_JOINED {
            self.close();
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        if self.pieces.is_empty() {
            self.close();
        }
        self.pieces.pop_front()
    }

    /// What was joined so far becomes a piece.
    fn close(&mut self) {
        if !self.joined.is_empty() {
            self.pieces.push_back(self.joined.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn popped(kept: &mut Kept) -> Vec<Bytes> {
        std::iter::from_fn(|| kept.pop()).collect()
    }

    #[test]
    fn small_frames_are_joined_and_order_is_kept() {
        let mut kept = Kept::default();
        let large = Bytes::from(vec![b'L'; LARGE]);
        for piece in ["a", "", "b"] {
            kept.push(Bytes::from_static(piece.as_bytes()));
        }
        kept.push(large.clone());
        kept.push(Bytes::from_static(b"c"));
        assert!(!kept.is_empty());
        let all = popped(&mut kept);
        assert_eq!(
            all,
            [
                Bytes::from_static(b"ab"),
                large.clone(),
                Bytes::from_static(b"c")
            ]
        );
        assert_eq!(
            all.get(1).map(|piece| piece.as_ptr()),
            Some(large.as_ptr()),
            "not copied"
        );
        assert!(kept.is_empty());
    }

    #[test]
    fn many_small_frames_come_out_in_pieces_of_a_bounded_size() {
        let mut kept = Kept::default();
        for byte in (0..u8::MAX).cycle().take(1 << 20) {
            kept.push(Bytes::copy_from_slice(&[byte]));
        }
        let all = popped(&mut kept);
        assert_eq!(all.iter().map(Bytes::len).sum::<usize>(), 1 << 20);
        assert!(all.iter().all(|piece| piece.len() <= MOST_JOINED));
        assert!(all.len() <= (1 << 20) / MOST_JOINED + 1, "{}", all.len());
        let expected = (0..u8::MAX).cycle().take(1 << 20);
        assert!(all.iter().flatten().copied().eq(expected));
    }
}
