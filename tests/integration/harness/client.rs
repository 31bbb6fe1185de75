//! Clients: a raw connection that sends any bytes in any pieces, and the short way to one answer.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::wait::DEADLINE;
use super::wire::{Head, Response, Wire};

/// One connection to the proxy.
pub(crate) struct Client {
    pub(crate) wire: Wire,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
}

/// `GET path` with the proxy's own address as `Host`.
#[track_caller]
pub(crate) fn get(address: SocketAddr, path: &str) -> Response {
    Client::connect(address).get(path)
}

/// Sends these bytes on a new connection and reads one answer.
#[track_caller]
pub(crate) fn request(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Response {
    Client::connect(address).request(bytes)
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)
            .unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
        Client {
            wire: Wire::new(stream),
        }
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.request(format!("GET {path} HTTP/1.1\r\nhost: sluice.test\r\n\r\n"))
    }

    #[track_caller]
    pub(crate) fn request(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.send(&bytes);
        let method = bytes
            .as_ref()
            .split(|b| *b == b' ')
            .next()
            .unwrap_or_default();
        self.response(&String::from_utf8_lossy(method))
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        self.wire
            .write(bytes.as_ref())
            .unwrap_or_else(|error| panic!("cannot send: {error}"));
        self
    }

    /// Sends for as long as the other side takes it; that it stopped taking is no failure here.
    pub(crate) fn offer(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.write(bytes.as_ref())
    }

    /// The answer to a request with this method.
    #[track_caller]
    pub(crate) fn response(&mut self, method: &str) -> Response {
        self.try_response(method)
            .unwrap_or_else(|error| panic!("no whole answer: {error}"))
    }

    pub(crate) fn try_response(&mut self, method: &str) -> io::Result<Response> {
        self.wire.read_response(method)
    }

    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        let head = self
            .wire
            .read_head()
            .unwrap_or_else(|error| panic!("no head: {error}"));
        head.expect("a head, not the end of the connection")
    }

    #[track_caller]
    pub(crate) fn read_through(&mut self, pattern: &str) -> String {
        let read = self.wire.read_through(pattern.as_bytes());
        let read = read.unwrap_or_else(|error| panic!("{pattern:?} did not come: {error}"));
        String::from_utf8_lossy(&read).into_owned()
    }

    /// Says that no more will be sent, and goes on reading.
    pub(crate) fn finish_sending(&mut self) -> &mut Client {
        self.wire.shutdown(Shutdown::Write).unwrap();
        self
    }

    /// Waits for the other side to end the connection, without a byte more.
    #[track_caller]
    pub(crate) fn assert_ended(&mut self) -> End {
        match self.wire.read_to_end() {
            Ok(rest) => {
                assert!(
                    rest.is_empty(),
                    "more came: {:?}",
                    String::from_utf8_lossy(&rest)
                );
                End::Closed
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
            Err(error) => panic!("the connection was not ended: {error}"),
        }
    }

    /// Whether the connection still stands, as far as can be seen without waiting.
    pub(crate) fn is_open(&self) -> bool {
        let stream = self.wire.stream();
        stream.set_nonblocking(true).unwrap();
        let seen = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        matches!(seen, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}
