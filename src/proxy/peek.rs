//! A look at the first bytes of a connection without taking them off its socket: what follows finds
//! it as if it had just been accepted.
//!
//! Not here: what the bytes mean; who looks says when there are enough.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::Proxy;
use super::client::LAST_REQUEST;
use super::phase::Phase;
use super::timers::Patience;

/// What came of looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peeked<T> {
    Decided(T),
    /// No more will come, after so many bytes that did not suffice.
    Ended(usize),
    /// Too little has come in time.
    Late,
}

/// Has `decide` look at what has arrived, at most `most` bytes, again with every piece, until it can
/// say what that is. May be dropped at any time.
pub(super) async fn peek<T>(
    proxy: &Proxy,
    tcp: &TcpStream,
    bound: Duration,
    most: usize,
    decide: impl Fn(&[u8]) -> Option<T>,
) -> Peeked<T> {
    let alarm = proxy.timers.alarm();
    let mut patience = Patience::default();
    let mut watching = pin!(watch(tcp, most, decide));
    poll_fn(|cx| {
        if proxy.presence.phase.get() == Phase::Aborting {
            return Poll::Ready(Peeked::Late);
        }
        if let Poll::Ready(seen) = watching.as_mut().poll(cx) {
            return Poll::Ready(seen);
        }
        let bound = match proxy.is_draining() {
            true => bound.min(LAST_REQUEST),
            false => bound,
        };
        patience.poll(cx, &alarm, bound).map(|()| Peeked::Late)
    })
    .await
}

async fn watch<T>(tcp: &TcpStream, most: usize, decide: impl Fn(&[u8]) -> Option<T>) -> Peeked<T> {
    loop {
        let Ok(ready) = tcp.ready(Interest::READABLE).await else {
            return Peeked::Ended(0);
        };
        let mut part = 0;
        // That too little is there counts as nothing: the next piece wakes this task.
        let looked = tcp.try_io(Interest::READABLE, || {
            let mut bytes = vec![0; most];
            part = look(tcp, &mut bytes)?;
            let decided = decide(bytes.get(..part).unwrap_or_default());
            decided.ok_or(ErrorKind::WouldBlock.into())
        });
        match looked {
            Ok(decided) => return Peeked::Decided(decided),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if ready.is_read_closed() {
                    return Peeked::Ended(part);
                }
            }
            Err(_) => return Peeked::Ended(0),
        }
    }
}

/// How much is there.
fn look(tcp: &TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
    let (count, _) = recv(tcp, bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    Ok(count)
}

/// Takes off the socket what is known to be there.
pub(super) fn take(tcp: &TcpStream, mut count: usize) -> io::Result<()> {
    let mut bytes = vec![0; count];
    while count > 0 {
        let rest = bytes.get_mut(..count).unwrap_or_default();
        let (taken, _) = recv(tcp, rest, RecvFlags::DONTWAIT)?;
        if taken == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        count -= taken;
    }
    Ok(())
}
