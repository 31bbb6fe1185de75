//! The PROXY protocol header in front of a connection from a trusted source: waited for within a
//! bound, and taken off the socket to its last byte and no further, so that whatever protocol follows
//! finds it as if it had just been accepted.
//!
//! Not here: what a header may look like (`model::proxy_protocol`).

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::Poll;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::Proxy;
use super::client::LAST_REQUEST;
use super::error::Reason;
use super::phase::Phase;
use super::timers::Patience;
use crate::model::config::ProxyHeader;
use crate::model::proxy_protocol::{self, LONGEST, Parsed, Told};
use crate::model::snapshot::ProxyProtocol;

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    Header(Told),
    None,
    /// It has ended without a byte, as connections of a load balancer's health check do.
    Ended,
}

/// What may be said of the first bytes so far.
enum Seen {
    Decided(Result<Greeting, Reason>),
    /// So many bytes that may become a header.
    Part(usize),
}

/// May be dropped at any time.
pub(super) async fn receive(
    proxy: &Proxy,
    tcp: &TcpStream,
    settings: &ProxyProtocol,
) -> Result<Greeting, Reason> {
    let alarm = proxy.timers.alarm();
    let mut patience = Patience::default();
    let mut watching = pin!(watch(tcp, settings.mode));
    poll_fn(|cx| {
        if proxy.presence.phase.get() == Phase::Aborting {
            return Poll::Ready(Ok(Greeting::Ended));
        }
        if let Poll::Ready(greeting) = watching.as_mut().poll(cx) {
            return Poll::Ready(greeting);
        }
        let bound = match proxy.is_draining() {
            true => settings.timeout.min(LAST_REQUEST),
            false => settings.timeout,
        };
        let late = patience.poll(cx, &alarm, bound);
        late.map(|()| when_late(tcp, settings.mode))
    })
    .await
}

/// Looks at what has arrived, again with every piece, until it can be told what it is.
async fn watch(tcp: &TcpStream, mode: ProxyHeader) -> Result<Greeting, Reason> {
    loop {
        let Ok(ready) = tcp.ready(Interest::READABLE).await else {
            return Ok(Greeting::Ended);
        };
        let mut part = 0;
        // That too little is there counts as nothing: the next piece wakes this task.
        let looked = tcp.try_io(Interest::READABLE, || match look(tcp, mode)? {
            Seen::Decided(greeting) => Ok(greeting),
            Seen::Part(count) => {
                part = count;
                Err(ErrorKind::WouldBlock.into())
            }
        });
        match looked {
            Ok(greeting) => return greeting,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if ready.is_read_closed() {
                    return at_end(part, mode);
                }
            }
            Err(_) => return Ok(Greeting::Ended),
        }
    }
}

fn look(tcp: &TcpStream, mode: ProxyHeader) -> io::Result<Seen> {
    let mut bytes = [0_u8; LONGEST];
    let (count, _) = recv(tcp, &mut bytes[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    let seen = bytes.get(..count).unwrap_or_default();
    Ok(match proxy_protocol::parse(seen) {
        Ok(Parsed::Incomplete) => Seen::Part(count),
        Ok(Parsed::Absent) => Seen::Decided(absent(mode)),
        Ok(Parsed::Header { told, length }) => {
            take(tcp, bytes.get_mut(..length).unwrap_or_default())?;
            Seen::Decided(Ok(Greeting::Header(told)))
        }
        Err(_) => Seen::Decided(Err(Reason::ProxyHeaderMalformed)),
    })
}

/// Takes off the socket what is known to be there.
fn take(tcp: &TcpStream, mut header: &mut [u8]) -> io::Result<()> {
    while !header.is_empty() {
        let (count, _) = recv(tcp, &mut *header, RecvFlags::DONTWAIT)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        header = header.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}

fn absent(mode: ProxyHeader) -> Result<Greeting, Reason> {
    match mode {
        ProxyHeader::Require => Err(Reason::ProxyHeaderMissing),
        ProxyHeader::Optional => Ok(Greeting::None),
    }
}

fn at_end(part: usize, mode: ProxyHeader) -> Result<Greeting, Reason> {
    match (part, mode) {
        (0, _) => Ok(Greeting::Ended),
        (_, ProxyHeader::Require) => Err(Reason::ProxyHeaderMalformed),
        // The start of something else, perhaps.
        (_, ProxyHeader::Optional) => Ok(Greeting::None),
    }
}

/// A sender has its header ready: where one may be left out, a client that is silent has none.
fn when_late(tcp: &TcpStream, mode: ProxyHeader) -> Result<Greeting, Reason> {
    match (look(tcp, mode), mode) {
        (Ok(Seen::Decided(greeting)), _) => greeting,
        (Err(_), ProxyHeader::Optional) => Ok(Greeting::None),
        _ => Err(Reason::ProxyHeaderTimeout),
    }
}
