//! What was read from one socket and not used yet. It reads with a small buffer until one is filled
//! in one go, which is the sign of a long body, and with a large one from then on.
//!
//! Not here: what the bytes mean, and how many of them may wait; who parses them bounds that.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};

use super::budget::LargeGuard;
use super::buffers::{Buffers, LARGE, SMALL};
use super::stream::Stream;

#[derive(Default)]
pub(super) struct Inlet {
    pub(super) buffer: BytesMut,
    /// There once a large buffer is used.
    large: Option<LargeGuard>,
    /// What the next read ends with: it was met right behind bytes that came first.
    fault: Option<io::ErrorKind>,
}

impl Inlet {
    /// Reads once, behind what is there; 0 is the end. Where that fills a small buffer, what follows is
    /// usually there too, and is read at once, so that it need not be written on in two pieces.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        if let Some(fault) = self.fault.take() {
            return Poll::Ready(Err(fault.into()));
        }
        self.make_room(buffers);
        let room = self.buffer.capacity() - self.buffer.len();
        let count = ready!(stream.poll_fill(cx, &mut self.buffer))?;
        if count < room || room < SMALL || self.large.is_some() {
            return Poll::Ready(Ok(count));
        }
        self.large = buffers.take_large();
        if self.large.is_none() {
            return Poll::Ready(Ok(count));
        }
        self.make_room(buffers);
        Poll::Ready(Ok(match stream.poll_fill(cx, &mut self.buffer) {
            // An end is met again by the next read.
            Poll::Ready(Ok(more)) => count + more,
            Poll::Ready(Err(fault)) => {
                self.fault = Some(fault.kind());
                count
            }
            Poll::Pending => count,
        }))
    }

    /// Has `take` take what it wants of what has come, of `most` bytes or less, out of memory that is there only
    /// meanwhile: a silent connection holds none. How many it took; it is not asked at the end, which is 0.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        buffers: &Buffers,
        most: usize,
        take: impl FnOnce(&mut [u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        if self.buffer.is_empty() {
            match self.poll_fill(cx, stream, buffers) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(0)),
                Poll::Ready(count) => _ = count?,
                Poll::Pending => {
                    self.rest(buffers);
                    return Poll::Pending;
                }
            }
        }
        let there = self.buffer.len().min(most);
        let taken = take(self.buffer.get_mut(..there).unwrap_or_default());
        self.buffer.advance(taken.min(there));
        Poll::Ready(Ok(taken))
    }

    /// Drops what is there, and memory beyond that of a small buffer.
    pub(super) fn forget(&mut self) {
        self.large = None;
        self.buffer.clear();
        if self.buffer.capacity() > 2 * SMALL {
            self.buffer = BytesMut::new();
        }
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await;
        (ours.unwrap(), listener.accept().await.unwrap().0)
    }

    async fn fill(inlet: &mut Inlet, stream: &mut Stream) -> io::Result<usize> {
        let buffers = Buffers::default();
        poll_fn(|cx| inlet.poll_fill(cx, stream, &buffers)).await
    }

    async fn until_arrived(tcp: &TcpStream, count: usize) {
        let mut seen = vec![0; count];
        let arrival = async {
            while tcp.peek(&mut seen).await.unwrap() < count {
                tokio::task::yield_now().await;
            }
        };
        let arrived = tokio::time::timeout(Duration::from_secs(20), arrival).await;
        arrived.expect("what was sent arrives");
    }

    #[tokio::test]
    async fn what_follows_a_full_buffer_is_read_with_it() {
        let (ours, mut theirs) = pair().await;
        theirs.write_all(&[7; 20_000]).await.unwrap();
        until_arrived(&ours, 20_000).await;
        let (mut inlet, mut ours) = (Inlet::default(), Stream::tcp(ours));
        assert_eq!(fill(&mut inlet, &mut ours).await.unwrap(), 20_000);
        assert!(inlet.buffer.iter().all(|byte| *byte == 7));
        drop(theirs);
        assert_eq!(fill(&mut inlet, &mut ours).await.unwrap(), 0, "the end");
    }

    #[tokio::test]
    async fn a_reset_right_behind_a_full_buffer_is_not_taken_for_an_end() {
        let (ours, mut theirs) = pair().await;
        theirs.write_all(&[7; SMALL]).await.unwrap();
        until_arrived(&ours, SMALL).await;
        socket2::SockRef::from(&theirs)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(theirs);
        let mut reset = [PollFd::new(ours.as_fd(), PollFlags::POLLHUP)];
        assert_eq!(poll(&mut reset, PollTimeout::from(10_000_u16)).unwrap(), 1);
        let (mut inlet, mut ours) = (Inlet::default(), Stream::tcp(ours));
        assert_eq!(fill(&mut inlet, &mut ours).await.unwrap(), SMALL);
        let fault = fill(&mut inlet, &mut ours).await.unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::ConnectionReset);
    }
}
