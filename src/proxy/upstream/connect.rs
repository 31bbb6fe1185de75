//! Makes a new connection to an endpoint within a bound, and says what it means when that fails.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::endpoint::Endpoint;
use crate::proxy::error::Reason;
use crate::proxy::stream::Stream;
use crate::proxy::timers::{Alarm, Patience};

/// `introduction` is sent before anything else. May be dropped at any time: the attempt ends with it.
pub(in crate::proxy) async fn connect(
    endpoint: &Endpoint,
    introduction: Option<Vec<u8>>,
    bound: Duration,
    alarm: &Alarm,
) -> Result<Stream, Reason> {
    let mut attempt = pin!(open(endpoint.address, introduction));
    let mut patience = Patience::default();
    std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = attempt.as_mut().poll(cx) {
            return Poll::Ready(result.map(Stream::tcp).map_err(|error| reason(&error)));
        }
        patience
            .poll(cx, alarm, bound)
            .map(|()| Err(Reason::ConnectTimeout))
    })
    .await
}

async fn open(address: SocketAddr, introduction: Option<Vec<u8>>) -> io::Result<TcpStream> {
    let mut tcp = TcpStream::connect(address).await?;
    if let Some(introduction) = introduction {
        tcp.write_all(&introduction).await?;
    }
    Ok(tcp)
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
