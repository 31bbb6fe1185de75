//! Asks a silent peer of HTTP/2 whether it is there, by a PING: after so long without a byte from it,
//! and for so long.
//!
//! Not here: what becomes of a connection whose peer does not answer.

use std::task::{Context, Poll};

use h2::{Ping, PingPong};

use crate::model::config::Http2Keepalive;
use crate::proxy::timers::{Alarm, Patience};

pub(in crate::proxy) struct Pulse {
    bounds: Http2Keepalive,
    pings: PingPong,
    state: State,
    silence: Patience,
    /// Bytes from the peer, when it was last looked at.
    read: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Heard,
    Asked,
}

impl Pulse {
    pub(in crate::proxy) fn new(bounds: Http2Keepalive, pings: PingPong) -> Self {
        Self {
            bounds,
            pings,
            state: State::Heard,
            silence: Patience::default(),
            read: 0,
        }
    }

    /// Ready when the peer does not answer. `read` counts the bytes that came from it.
    pub(in crate::proxy) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        alarm: &Alarm,
        read: u64,
    ) -> Poll<()> {
        if read != self.read {
            self.read = read;
            self.silence.renew();
        }
        if self.state == State::Asked && self.pings.poll_pong(cx).is_ready() {
            self.state = State::Heard;
        }
        let bound = match self.state {
            State::Heard => self.bounds.interval,
            State::Asked => self.bounds.timeout,
        };
        if self.silence.poll(cx, alarm, bound).is_pending() {
            return Poll::Pending;
        }
        if self.state == State::Asked {
            return Poll::Ready(());
        }
        self.silence.renew();
        self.state = State::Asked;
        // Fails on a connection that has ended, which its owner sees at once.
        let _ = self.pings.send_ping(Ping::opaque());
        let _ = self.pings.poll_pong(cx);
        self.silence.poll(cx, alarm, self.bounds.timeout)
    }
}
