//! What the system and its operators say by signals.

use std::io;
use std::task::Poll;

use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// HUP.
    Reload,
    /// TERM and QUIT.
    Drain,
    /// INT: like a drain, and at once when it comes again.
    Interrupt,
    /// USR1.
    ReopenLogs,
    /// USR2.
    Replace,
    /// CHLD.
    Child,
}

impl Heard {
    /// What to send on to a successor; `None` is nobody else's business.
    pub(super) fn number(self) -> Option<Signal> {
        match self {
            Heard::Reload => Some(Signal::SIGHUP),
            Heard::Drain => Some(Signal::SIGTERM),
            Heard::Interrupt => Some(Signal::SIGINT),
            Heard::ReopenLogs => Some(Signal::SIGUSR1),
            Heard::Replace => Some(Signal::SIGUSR2),
            Heard::Child => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Signals(Vec<(Heard, unix::Signal)>);

impl Signals {
    pub(super) fn listen() -> io::Result<Signals> {
        let kinds = [
            (Heard::Reload, SignalKind::hangup()),
            (Heard::Drain, SignalKind::terminate()),
            (Heard::Drain, SignalKind::quit()),
            (Heard::Interrupt, SignalKind::interrupt()),
            (Heard::ReopenLogs, SignalKind::user_defined1()),
            (Heard::Replace, SignalKind::user_defined2()),
            (Heard::Child, SignalKind::child()),
        ];
        let listen = |(heard, kind)| Ok((heard, signal(kind)?));
        Ok(Signals(
            kinds.into_iter().map(listen).collect::<io::Result<_>>()?,
        ))
    }

    /// May be dropped: what was heard meanwhile is told the next time.
    pub(super) async fn next(&mut self) -> Heard {
        std::future::poll_fn(|cx| {
            let heard = self
                .0
                .iter_mut()
                .find_map(|(heard, signal)| signal.poll_recv(cx).is_ready().then_some(*heard));
            heard.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
