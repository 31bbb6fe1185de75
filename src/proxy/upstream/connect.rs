//! Makes a new connection to an endpoint within a bound, and says what it means when that fails.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::Endpoint;
use super::secure::Purpose;
use crate::model::config::traffic::Timeouts;
use crate::model::resolved::Address;
use crate::proxy::error::Reason;
use crate::proxy::stream::Stream;
use crate::proxy::timers::{Alarm, Patience};

/// Between two tries at a socket whose queue is full; how many there are is the bound's business.
const QUEUE_IS_FULL: Duration = Duration::from_millis(5);

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) struct Within {
    pub(in crate::proxy) connect: Duration,
    /// Its handshake, where it has one.
    pub(in crate::proxy) tls: Duration,
}

impl From<&Timeouts> for Within {
    fn from(timeouts: &Timeouts) -> Self {
        Self {
            connect: timeouts.connect,
            tls: timeouts.tls,
        }
    }
}

/// A connection that is to be made.
pub(in crate::proxy) struct Opening {
    /// Sent before anything else.
    pub(in crate::proxy) introduction: Option<Vec<u8>>,
    pub(in crate::proxy) purpose: Purpose,
    pub(in crate::proxy) within: Within,
}

/// May be dropped at any time: the attempt ends with it.
pub(in crate::proxy) async fn connect(
    endpoint: &Endpoint,
    opening: Opening,
    alarm: &Alarm,
) -> Result<Stream, Reason> {
    let Opening {
        introduction,
        purpose,
        within,
    } = opening;
    let opening = open(&endpoint.address, introduction);
    let stream = bounded(opening, within.connect, alarm).await;
    let stream = stream.ok_or(Reason::ConnectTimeout)?;
    let stream = stream.map_err(|error| reason(&error))?;
    let (Some(tls), Stream::Tcp(_)) = (&endpoint.tls, &stream) else {
        return Ok(stream);
    };
    let Stream::Tcp(tcp) = stream else {
        return Err(Reason::UpstreamTls);
    };
    // Once per connection, and large.
    let shaken = bounded(Box::pin(tls.shake(tcp, purpose)), within.tls, alarm).await;
    let shaken = shaken.ok_or(Reason::UpstreamTlsTimeout)?;
    shaken.map_err(|error| {
        tls.complain(endpoint, &error, alarm);
        Reason::UpstreamTls
    })
}

/// `None` is too late.
async fn bounded<T>(work: impl Future<Output = T>, bound: Duration, alarm: &Alarm) -> Option<T> {
    let mut work = pin!(work);
    let mut patience = Patience::default();
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        patience.poll(cx, alarm, bound).map(|()| None)
    })
    .await
}

async fn open(address: &Address, introduction: Option<Vec<u8>>) -> io::Result<Stream> {
    let introduction = introduction.unwrap_or_default();
    match address {
        Address::Ip(address) => {
            let mut tcp = TcpStream::connect(*address).await?;
            tcp.write_all(&introduction).await?;
            Ok(Stream::tcp(tcp))
        }
        Address::Unix(path) => {
            let mut unix = open_unix(path).await?;
            unix.write_all(&introduction).await?;
            Ok(Stream::Unix(Box::new(unix)))
        }
    }
}

/// Where the queue of a TCP socket is full, the kernel waits by itself; here it says so at once.
async fn open_unix(path: &str) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(QUEUE_IS_FULL).await;
            }
            other => return other,
        }
    }
}

fn reason(error: &io::Error) -> Reason {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL) => {
            Reason::OutOfSockets
        }
        Some(Errno::TIMEDOUT) => Reason::ConnectTimeout,
        _ => Reason::ConnectFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_sockets_is_not_the_upstreams_fault() {
        let of = |errno: Errno| reason(&io::Error::from(errno));
        assert_eq!(of(Errno::CONNREFUSED), Reason::ConnectFailed);
        assert_eq!(of(Errno::HOSTUNREACH), Reason::ConnectFailed);
        assert_eq!(of(Errno::TIMEDOUT), Reason::ConnectTimeout);
        assert_eq!(of(Errno::MFILE), Reason::OutOfSockets);
        assert_eq!(of(Errno::ADDRNOTAVAIL), Reason::OutOfSockets);
    }
}
