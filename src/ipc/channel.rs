//! One end of the channel between supervisor and worker: typed both ways, file descriptors beside
//! the messages they belong to. Sending never waits: a queue with a bound stands before the stream,
//! so a peer that does not read can stall nobody but itself.
//!
//! Not here: what a message means, and who is killed when a queue is full.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::frame::{Decoder, Frame, Head, InvalidFrame, MAX_FDS};

/// Messages that may wait for a peer that does not read.
pub const QUEUE: usize = 256;

/// Bytes that are read at once.
const READ: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("the channel broke")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] InvalidFrame),
    #[error("a message could not be packed or unpacked")]
    Pack(#[from] postcard::Error),
    #[error("the channel ended in the middle of a message")]
    Cut,
    #[error("file descriptors were lost on the way")]
    LostFds,
    #[error("{QUEUE} messages wait for a peer that does not read")]
    Stalled,
    #[error("the channel is closed")]
    Closed,
}

/// Both ends, for two processes of which one will be started with the second.
pub fn pair() -> io::Result<(StdStream, StdStream)> {
    StdStream::pair()
}

/// Takes this end into use; to be called within a runtime.
pub fn open<Out, In>(stream: StdStream) -> io::Result<(Sender<Out>, Receiver<In>)> {
    stream.set_nonblocking(true)?;
    let stream = Arc::new(UnixStream::from_std(stream)?);
    let (queue, waiting) = mpsc::channel(QUEUE);
    // Owned by the queue: it ends once that is closed and empty, or the peer is gone.
    tokio::spawn(write_all(Arc::clone(&stream), waiting));
    let sender = Sender {
        queue,
        out: PhantomData,
    };
    let receiver = Receiver {
        stream,
        decoder: Decoder::default(),
        bytes: Bytes::new(),
        fds: VecDeque::new(),
        taken: PhantomData,
    };
    Ok((sender, receiver))
}

#[derive(Debug)]
pub struct Sender<Out> {
    queue: mpsc::Sender<Outgoing>,
    out: PhantomData<fn(Out)>,
}

#[derive(Debug)]
struct Outgoing {
    head: [u8; super::frame::HEAD],
    payload: Bytes,
    fds: Vec<OwnedFd>,
}

impl<Out: Serialize> Sender<Out> {
    pub fn send(&self, message: &Out) -> Result<(), ChannelError> {
        self.send_with(message, Vec::new())
    }

    /// The descriptors arrive with the message, or neither does.
    pub fn send_with(&self, message: &Out, fds: Vec<OwnedFd>) -> Result<(), ChannelError> {
        let payload = Bytes::from(postcard::to_stdvec(message)?);
        let head = Head::new(payload.len(), fds.len())?.encode();
        let outgoing = Outgoing { head, payload, fds };
        self.queue.try_send(outgoing).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ChannelError::Stalled,
            mpsc::error::TrySendError::Closed(_) => ChannelError::Closed,
        })
    }

    /// Resolves when the peer takes nothing any more.
    pub async fn closed(&self) {
        self.queue.closed().await;
    }
}

async fn write_all(stream: Arc<UnixStream>, mut waiting: mpsc::Receiver<Outgoing>) {
    while let Some(outgoing) = waiting.recv().await {
        // The reading half of this end sees the same break and tells of it.
        if write_frame(&stream, outgoing).await.is_err() {
            return;
        }
    }
}

async fn write_frame(stream: &UnixStream, outgoing: Outgoing) -> io::Result<()> {
    let (mut head, mut payload) = (&outgoing.head[..], outgoing.payload);
    let mut fds: Vec<BorrowedFd<'_>> = outgoing.fds.iter().map(AsFd::as_fd).collect();
    while !head.is_empty() || !payload.is_empty() {
        stream.writable().await?;
        let slices = [IoSlice::new(head), IoSlice::new(&payload)];
        let sent = stream.try_io(Interest::WRITABLE, || send(stream.as_fd(), &slices, &fds));
        let sent = match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            sent => sent?,
        };
        // They have travelled with the first byte.
        fds.clear();
        let of_head = sent.min(head.len());
        head.advance(of_head);
        payload.advance(sent - of_head);
    }
    Ok(())
}

fn send(to: BorrowedFd<'_>, slices: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many file descriptors"));
    }
    Ok(rustix::net::sendmsg(
        to,
        slices,
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?)
}

#[derive(Debug)]
pub struct Receiver<In> {
    stream: Arc<UnixStream>,
    decoder: Decoder,
    /// Read, and not decoded yet.
    bytes: Bytes,
    /// Received, and their frame not whole yet.
    fds: VecDeque<OwnedFd>,
    taken: PhantomData<fn() -> In>,
}

impl<In: DeserializeOwned> Receiver<In> {
    /// The next message with its descriptors; `None` is the peer's orderly end. May be dropped at any
    /// time: what has been read is kept.
    pub async fn receive(&mut self) -> Result<Option<(In, Vec<OwnedFd>)>, ChannelError> {
        loop {
            if let Some(frame) = self.decode()? {
                return self.unpack(&frame).map(Some);
            }
            self.stream.readable().await?;
            let stream = Arc::clone(&self.stream);
            match stream.try_io(Interest::READABLE, || self.read(stream.as_fd())) {
                Ok(0) if self.decoder.is_between_frames() => return Ok(None),
                Ok(0) => return Err(ChannelError::Cut),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn decode(&mut self) -> Result<Option<Frame>, ChannelError> {
        let mut rest = &self.bytes[..];
        let frame = self.decoder.decode(&mut rest)?;
        let used = self.bytes.len() - rest.len();
        self.bytes.advance(used);
        Ok(frame)
    }

    fn unpack(&mut self, frame: &Frame) -> Result<(In, Vec<OwnedFd>), ChannelError> {
        if self.fds.len() < frame.fds {
            return Err(ChannelError::LostFds);
        }
        let message = postcard::from_bytes(&frame.payload)?;
        Ok((message, self.fds.drain(..frame.fds).collect()))
    }

    fn read(&mut self, from: BorrowedFd<'_>) -> io::Result<usize> {
        let mut bytes = vec![0; READ];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = rustix::net::recvmsg(from, slices, &mut ancillary, flags)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) || self.fds.len() > 2 * MAX_FDS {
            return Err(io::Error::other("file descriptors were cut off"));
        }
        bytes.truncate(received.bytes);
        self.bytes = Bytes::from(bytes);
        Ok(received.bytes)
    }
}

#[cfg(test)]
mod tests;
