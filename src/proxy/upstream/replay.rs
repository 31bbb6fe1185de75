//! The body of a request as one try sends it, and as the next one can send it again: what was pulled
//! is kept, shared and not copied, while it is small and no answer has been accepted.
//!
//! Not here: whether there is a next try (`forward`).

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::proxy::body::{Body, Frame, Size};
use crate::proxy::client::Wait;
use crate::proxy::error::Reason;

/// A piece is counted with at least this much, as keeping it takes memory of its own.
const LEAST_PIECE: usize = 128;

/// One try's view of the body, from its beginning.
pub(in crate::proxy) struct Replay {
    /// `None` is no body.
    source: Option<Rc<RefCell<Source>>>,
    size: Size,
    /// Frames that this try has had.
    had: usize,
}

/// What all tries share.
struct Source {
    body: Body,
    kept: Vec<Frame>,
    keeping: Keeping,
    /// Bytes that may still be kept.
    room: usize,
    /// Frames that were pulled.
    pulled: usize,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    /// All that was pulled is still here.
    All,
    Nothing,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Whole,
    Failed(Reason),
}

impl Replay {
    /// Keeps as much of the body as there is `room` for.
    pub(in crate::proxy) fn new(body: Body, room: usize) -> Self {
        let size = body.size();
        let source = Source {
            body,
            kept: Vec::new(),
            keeping: Keeping::All,
            room,
            pulled: 0,
            end: None,
        };
        let has_body = !matches!(source.body, Body::Empty);
        Self {
            source: has_body.then(|| Rc::new(RefCell::new(source))),
            size,
            had: 0,
        }
    }

    /// The same body from its beginning, if all of it that was pulled is still here.
    pub(in crate::proxy) fn again(&self) -> Option<Self> {
        let is_here = match &self.source {
            None => true,
            Some(source) => source.borrow().keeping == Keeping::All,
        };
        is_here.then(|| Self {
            source: self.source.clone(),
            size: self.size,
            had: 0,
        })
    }

    /// Whether it can be sent beside itself: nothing has to be waited for.
    pub(in crate::proxy) fn is_at_hand(&self) -> bool {
        match &self.source {
            None => true,
            Some(source) => {
                let source = source.borrow();
                source.keeping == Keeping::All && matches!(source.end, Some(End::Whole))
            }
        }
    }

    /// There will be no other try than this: what it has had of the body is let go.
    pub(in crate::proxy) fn commit(&self) {
        if let Some(source) = &self.source {
            let mut source = source.borrow_mut();
            source.keeping = Keeping::Nothing;
            if self.had == source.pulled {
                source.kept = Vec::new();
            }
        }
    }

    pub(in crate::proxy) fn is_empty(&self) -> bool {
        self.source.is_none()
    }

    pub(in crate::proxy) fn wait(&self) -> Wait {
        match &self.source {
            Some(source) => source.borrow().body.wait(),
            None => Wait::Nothing,
        }
    }

    pub(in crate::proxy) fn size(&self) -> Size {
        self.size
    }

    /// There is no room for more of it: whoever sends it is not waited for.
    pub(in crate::proxy) fn pause(&self) {
        if let Some(source) = &self.source {
            source.borrow().body.pause();
        }
    }

    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Reason>>> {
        let Some(source) = &self.source else {
            return Poll::Ready(None);
        };
        source.borrow_mut().poll_frame(cx, &mut self.had)
    }
}

impl Source {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        had: &mut usize,
    ) -> Poll<Option<Result<Frame, Reason>>> {
        if let Some(frame) = self.kept.get(*had) {
            *had += 1;
            return Poll::Ready(Some(Ok(frame.clone())));
        }
        match self.end {
            Some(End::Whole) => return Poll::Ready(None),
            Some(End::Failed(reason)) => return Poll::Ready(Some(Err(reason))),
            None => {}
        }
        debug_assert!(*had == self.pulled, "nobody reads behind what was let go");
        let Poll::Ready(next) = self.body.poll_frame(cx) else {
            return Poll::Pending;
        };
        match &next {
            Some(Ok(frame)) => {
                self.keep(frame);
                self.pulled += 1;
                *had = self.pulled;
            }
            Some(Err(reason)) => self.end = Some(End::Failed(*reason)),
            None => self.end = Some(End::Whole),
        }
        Poll::Ready(next)
    }

    fn keep(&mut self, frame: &Frame) {
        let size = match frame {
            Frame::Data(data) => data.len().max(LEAST_PIECE),
            Frame::Trailers(_) => {
                self.end = Some(End::Whole);
                LEAST_PIECE
            }
        };
        match self.room.checked_sub(size) {
            Some(room) if self.keeping == Keeping::All => {
                self.room = room;
                self.kept.push(frame.clone());
            }
            _ => self.keep_nothing(),
        }
    }

    fn keep_nothing(&mut self) {
        self.keeping = Keeping::Nothing;
        self.kept = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use bytes::Bytes;

    use super::*;

    fn pull(replay: &mut Replay) -> Option<Bytes> {
        let mut nobody = Context::from_waker(Waker::noop());
        match replay.poll_frame(&mut nobody) {
            Poll::Ready(Some(Ok(Frame::Data(data)))) => Some(data),
            Poll::Ready(None) => None,
            other => panic!("{other:?}"),
        }
    }

    fn body(size: usize, room: usize) -> Replay {
        Replay::new(Body::Full(vec![7; size].into()), room)
    }

    #[test]
    fn every_try_sees_the_same_body_without_a_copy() {
        let mut first = body(300, 1024);
        let sent = pull(&mut first).expect("data");
        assert!(!first.is_at_hand(), "its end has not been seen");
        assert_eq!(pull(&mut first), None);
        assert!(first.is_at_hand());
        for _ in 0..2 {
            let mut again = first.again().expect("all of it is kept");
            let same = pull(&mut again).expect("data");
            assert_eq!(same.as_ptr(), sent.as_ptr());
            assert_eq!(pull(&mut again), None);
        }
    }

    #[test]
    fn what_is_too_large_or_accepted_is_not_kept() {
        for (size, room, kept) in [
            (1024, 1024, true),
            (1025, 1024, false),
            (1, 128, true),
            (1, 127, false),
        ] {
            let mut first = body(size, room);
            assert!(first.again().is_some(), "nothing was pulled yet");
            pull(&mut first);
            assert_eq!(first.again().is_some(), kept, "{size} bytes in {room}");
            assert_eq!(pull(&mut first), None, "the try itself goes on");
            first.commit();
            assert!(first.again().is_none());
        }
    }

    #[test]
    fn no_body_can_always_be_sent_again() {
        let none = Replay::new(Body::Empty, 0);
        none.commit();
        assert!(none.again().is_some() && none.is_at_hand() && none.is_empty());
    }
}
