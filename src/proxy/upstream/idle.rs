//! A connection that waits for a request: whom it may serve, until when, and whether it still lives.
//!
//! Not here: how many may wait (`endpoint`), and what their ends teach (`lifetime`).

use std::rc::{Rc, Weak};
use std::time::Duration;

use super::lifetime::Close;
use crate::proxy::line::Line;
use crate::proxy::stream::{Look, Stream};
use crate::proxy::timers::Tick;

/// How much later than a request believes it may be (`Alarm::about_now`).
const COARSE: Duration = Duration::from_secs(1);

pub(super) struct Idle {
    pub(super) stream: Stream,
    pub(super) since: Tick,
    /// When it was last seen to be open.
    pub(super) seen: Tick,
    pub(super) until: Tick,
    pub(super) owner: Option<Weak<Line>>,
}

/// Whom a connection may serve: anybody, or the client alone that it was introduced with.
pub(in crate::proxy) type Owner = Option<Rc<Line>>;

/// How sure a request must be that an idle connection still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Need {
    /// It can be sent once more over a new connection.
    Likely,
    /// It cannot: the kernel is asked right before it is sent.
    Sure,
}

/// What is to become of an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// By the server.
    Closed,
    /// It is to be closed, whether the server has done so or not.
    Over,
}

impl Idle {
    pub(super) fn is_of(&self, owner: &Owner) -> bool {
        match (&self.owner, owner) {
            (None, None) => true,
            (Some(one), Some(other)) => std::ptr::eq(one.as_ptr(), Rc::as_ptr(other)),
            _ => false,
        }
    }

    /// The client's connection that it was for is gone.
    fn is_orphan(&self) -> bool {
        let owner = self.owner.as_ref();
        owner.is_some_and(|owner| owner.strong_count() == 0)
    }

    pub(super) fn state(&mut self, need: Need, now: Tick) -> State {
        if self.until <= now || self.is_orphan() {
            return State::Over;
        }
        match self.is_fit(need) {
            true => State::Open,
            false => State::Closed,
        }
    }

    /// The ages that are certain, given how coarse the clock is that both ends were read from.
    pub(super) fn close(&self, now: Tick) -> Close {
        Close {
            open_at: self.seen.since(self.since).saturating_sub(COARSE),
            closed_at: now.since(self.since) + COARSE,
            found: now,
        }
    }

    /// The reactor usually knows of an end already; where it has seen nothing, that will do for
    /// `Likely`. Bytes that nobody asked for are as bad as the end, except those of TLS itself.
    fn is_fit(&mut self, need: Need) -> bool {
        if need == Need::Likely && self.stream.is_quiet() {
            return true;
        }
        match self.stream.look() {
            Look::Nothing => true,
            Look::Bytes => self.stream.settle() && self.stream.look() == Look::Nothing,
            Look::Ended => false,
        }
    }
}
