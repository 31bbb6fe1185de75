//! The library's connection, of either side, driven with our buffers.
//!
//! Not here: reading and writing.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ServerConfig};

use super::{OVERHEAD, Out};

/// Records that wait behind an error: those of a server's whole flight, and the alert.
const MOST_LAST_WORDS: usize = 16;

pub(in crate::proxy) struct Session {
    side: Side,
    /// What it came to grief by. The library is not spoken to any more then: it would read the same
    /// bytes again, and send a second alert.
    failed: Option<rustls::Error>,
}

enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// What became of bytes from the socket.
pub(super) struct Digested {
    /// How many of them are done with.
    pub(super) used: usize,
    /// The peer has said that it will send no more.
    pub(super) closed: bool,
    pub(super) result: Result<(), rustls::Error>,
}

enum Step {
    Again,
    /// The rest of a record, or nothing at all.
    NeedsInput,
    PeerClosed,
}

impl Session {
    pub(in crate::proxy) fn server(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self::of(Side::Server(Box::new(connection))))
    }

    pub(in crate::proxy) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        Ok(Self::of(Side::Client(Box::new(connection))))
    }

    fn of(side: Side) -> Self {
        Self { side, failed: None }
    }

    pub(in crate::proxy) fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        }
    }

    fn step(
        &mut self,
        input: &mut [u8],
        plain: &mut BytesMut,
        own: &mut BytesMut,
    ) -> (usize, Result<Step, rustls::Error>) {
        match &mut self.side {
            Side::Server(connection) => advance(connection.process_tls_records(input), plain, own),
            Side::Client(connection) => advance(connection.process_tls_records(input), plain, own),
        }
    }

    /// Opens what is whole of `input`; what the library wants to send goes to `own`, an alert that
    /// says what is wrong too.
    pub(super) fn digest(
        &mut self,
        input: &mut [u8],
        plain: &mut BytesMut,
        own: &mut BytesMut,
    ) -> Digested {
        let (mut used, mut closed) = (0, false);
        if let Some(error) = &self.failed {
            let result = Err(error.clone());
            return Digested {
                used,
                closed,
                result,
            };
        }
        loop {
            let rest = input.get_mut(used..).unwrap_or_default();
            let (done, step) = self.step(rest, plain, own);
            used += done;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::PeerClosed) => closed = true,
                Ok(Step::NeedsInput) => break,
                Err(error) => {
                    self.drain(input.get_mut(used..).unwrap_or_default(), plain, own);
                    self.failed = Some(error.clone());
                    return Digested {
                        used,
                        closed,
                        result: Err(error),
                    };
                }
            }
        }
        Digested {
            used,
            closed,
            result: Ok(()),
        }
    }

    /// What still waits to be sent when something went wrong: the alert, if there is one, and before
    /// it what a handshake had come to say, without which nobody could open the alert. While something
    /// waits, the library does not look at the bytes that it failed on once more.
    fn drain(&mut self, rest: &mut [u8], plain: &mut BytesMut, own: &mut BytesMut) {
        for _ in 0..MOST_LAST_WORDS {
            if !self.common().wants_write() {
                return;
            }
            // The error is known already.
            let _ = self.step(rest, plain, own);
        }
    }

    /// Seals one record's worth behind what waits. `incoming` is what was kept of a record: the
    /// library wants to see it whenever it is spoken to.
    pub(super) fn seal(
        &mut self,
        record: &[u8],
        incoming: &mut Vec<u8>,
        plain: &mut BytesMut,
        out: Out<'_>,
    ) -> io::Result<()> {
        let used = self.settle(incoming, plain, out.own)?;
        incoming.drain(..used.min(incoming.len()));
        let room = record.len() + OVERHEAD;
        if out.records.len() < room {
            out.records.resize(room, 0);
        }
        let sealed = match &mut self.side {
            Side::Server(c) => encrypt(c.process_tls_records(incoming), record, out.records),
            Side::Client(c) => encrypt(c.process_tls_records(incoming), record, out.records),
        }?;
        out.own
            .extend_from_slice(out.records.get(..sealed).unwrap_or_default());
        Ok(())
    }

    /// Goes on until it would take application data.
    fn settle(
        &mut self,
        incoming: &mut [u8],
        plain: &mut BytesMut,
        own: &mut BytesMut,
    ) -> io::Result<usize> {
        let Digested { used, result, .. } = self.digest(incoming, plain, own);
        result.map_err(io::Error::other)?;
        Ok(used)
    }

    /// The farewell; false where there is nothing to end.
    pub(super) fn close(&mut self, incoming: &mut [u8], own: &mut BytesMut) -> bool {
        if self.failed.is_some() || self.common().is_handshaking() {
            return false;
        }
        let mut alert = [0; OVERHEAD];
        let size = match &mut self.side {
            Side::Server(c) => farewell(c.process_tls_records(incoming), &mut alert),
            Side::Client(c) => farewell(c.process_tls_records(incoming), &mut alert),
        };
        own.extend_from_slice(alert.get(..size).unwrap_or_default());
        size > 0
    }
}

fn advance<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &mut BytesMut,
    own: &mut BytesMut,
) -> (usize, Result<Step, rustls::Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let state = match state {
        Ok(state) => state,
        Err(error) => return (discard, Err(error)),
    };
    let step = match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    Err(error) => return (discard, Err(error)),
                }
            }
            Step::Again
        }
        ConnectionState::EncodeTlsData(mut data) => {
            let before = own.len();
            own.resize(before + OVERHEAD, 0);
            let mut written = data.encode(own.get_mut(before..).unwrap_or_default());
            if let Err(EncodeError::InsufficientSize(needed)) = &written {
                own.resize(before + needed.required_size, 0);
                written = data.encode(own.get_mut(before..).unwrap_or_default());
            }
            own.truncate(before + written.unwrap_or(0));
            Step::Again
        }
        // It stands in order among what waits, which is as good as sent.
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Step::Again
        }
        ConnectionState::PeerClosed => Step::PeerClosed,
        _ => Step::NeedsInput,
    };
    (discard, Ok(step))
}

fn encrypt<D>(
    status: UnbufferedStatus<'_, '_, D>,
    record: &[u8],
    into: &mut [u8],
) -> io::Result<usize> {
    match status.state.map_err(io::Error::other)? {
        ConnectionState::WriteTraffic(mut traffic) => {
            traffic.encrypt(record, into).map_err(|error| match error {
                EncryptError::EncryptExhausted => io::ErrorKind::ConnectionAborted.into(),
                EncryptError::InsufficientSize(_) => io::ErrorKind::OutOfMemory.into(),
            })
        }
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

fn farewell<D>(status: UnbufferedStatus<'_, '_, D>, alert: &mut [u8]) -> usize {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            traffic.queue_close_notify(alert).unwrap_or(0)
        }
        _ => 0,
    }
}
