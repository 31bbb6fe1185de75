//! A body on its way into a stream of HTTP/2, as fast as flow control lets it: each piece is held here
//! until there is room for it, and the last one carries the end where it is known to be the last.
//!
//! For responses to clients and requests to upstreams alike. Not here: how long anybody may wait.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;

use super::fields::map_of;
use crate::model::fields::Fields;
use crate::proxy::body::{Body, Frame, Size};
use crate::proxy::error::Reason;
use crate::proxy::upstream::replay::Replay;

/// What is pulled.
pub(in crate::proxy) trait Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Reason>>>;
}

impl Source for Body {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Reason>>> {
        Body::poll_frame(self, cx)
    }
}

impl Source for Replay {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Reason>>> {
        Replay::poll_frame(self, cx)
    }
}

pub(in crate::proxy) struct Outflow<S> {
    pub(in crate::proxy) out: SendStream<Bytes>,
    pub(in crate::proxy) source: S,
    state: State,
    /// Of the body, not pulled yet.
    left: Size,
    /// Waits for room.
    data: Bytes,
    /// Handed over.
    pub(in crate::proxy) sent: u64,
}

#[derive(Debug)]
enum State {
    Open,
    /// Everything is pulled; this comes after the data.
    Ending(Option<Fields>),
    /// The body broke off: what came before it is still sent.
    Breaking(Reason),
    Ended,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Progress {
    Done,
    /// The peer takes nothing more now.
    WaitsForRoom,
    WaitsForSource,
    /// The source has broken off.
    Broken(Reason),
    /// The peer takes nothing more at all.
    Unwanted,
}

/// The peer takes nothing more.
struct Gone;

impl<S: Source> Outflow<S> {
    pub(in crate::proxy) fn new(out: SendStream<Bytes>, source: S, size: Size) -> Self {
        Self {
            out,
            source,
            state: State::Open,
            left: size,
            data: Bytes::new(),
            sent: 0,
        }
    }

    /// Everything, the end too, has gone already.
    pub(in crate::proxy) fn ended(out: SendStream<Bytes>, source: S) -> Self {
        Self {
            state: State::Ended,
            ..Self::new(out, source, Size::Known(0))
        }
    }

    pub(in crate::proxy) fn poll(&mut self, cx: &mut Context<'_>) -> Progress {
        loop {
            let step = if self.data.is_empty() {
                match std::mem::replace(&mut self.state, State::Open) {
                    State::Open => match self.pull(cx) {
                        Poll::Ready(()) => Ok(()),
                        Poll::Pending => return Progress::WaitsForSource,
                    },
                    State::Ending(trailers) => self.end(trailers),
                    State::Breaking(reason) => {
                        self.state = State::Breaking(reason);
                        return Progress::Broken(reason);
                    }
                    State::Ended => {
                        self.state = State::Ended;
                        return Progress::Done;
                    }
                }
            } else {
                match self.poll_room(cx) {
                    Poll::Ready(Ok(room)) => self.send_some(cx, room),
                    Poll::Ready(Err(gone)) => Err(gone),
                    Poll::Pending => return Progress::WaitsForRoom,
                }
            };
            if let Err(Gone) = step {
                self.state = State::Ended;
                self.data = Bytes::new();
                return Progress::Unwanted;
            }
        }
    }

    /// Takes the next piece of the body; ready when something came of it.
    fn pull(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.left == Size::Known(0) {
            self.state = State::Ending(None);
            return Poll::Ready(());
        }
        match self.source.poll_frame(cx) {
            Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                if let Size::Known(left) = &mut self.left {
                    *left = left.saturating_sub(data.len() as u64);
                }
                self.data = data;
            }
            Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                self.state = State::Ending(Some(trailers));
            }
            Poll::Ready(None) => self.state = State::Ending(None),
            Poll::Ready(Some(Err(reason))) => self.state = State::Breaking(reason),
            Poll::Pending => return Poll::Pending,
        }
        Poll::Ready(())
    }

    /// How much may be sent now of what waits; more than nothing.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Gone>> {
        self.out.reserve_capacity(self.data.len());
        match self.out.capacity() {
            0 => {}
            room => return Poll::Ready(Ok(room)),
        }
        self.out.poll_capacity(cx).map(|room| match room {
            Some(Ok(room)) => Ok(room),
            Some(Err(_)) | None => Err(Gone),
        })
    }

    /// Where all that waits is sent, it looks first whether more comes: what is known to be the last
    /// piece needs no empty frame behind it.
    fn send_some(&mut self, cx: &mut Context<'_>, room: usize) -> Result<(), Gone> {
        if room < self.data.len() {
            let piece = self.data.split_to(room);
            return self.hand_over(piece, false);
        }
        let piece = std::mem::take(&mut self.data);
        if matches!(self.state, State::Open) {
            // Pending or not, what it came to is in `state` and `data`.
            let _ = self.pull(cx);
        }
        let is_all = self.data.is_empty() && matches!(self.state, State::Ending(None));
        if is_all {
            self.state = State::Ended;
        }
        self.hand_over(piece, is_all)
    }

    fn end(&mut self, trailers: Option<Fields>) -> Result<(), Gone> {
        self.state = State::Ended;
        match trailers {
            Some(trailers) => {
                let trailers = map_of(&trailers).map_err(|_| Gone)?;
                self.out.send_trailers(trailers).map_err(|_| Gone)
            }
            None => self.hand_over(Bytes::new(), true),
        }
    }

    fn hand_over(&mut self, piece: Bytes, is_all: bool) -> Result<(), Gone> {
        self.sent += piece.len() as u64;
        self.out.send_data(piece, is_all).map_err(|_| Gone)
    }
}
