//! A client's handshake: waited for without a buffer, bounded in time and number, and answered when
//! it is none.
//!
//! Not here: what is served on the connection afterwards.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::RecvFlags;
use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::secured::Secured;
use super::tickets::Tickets;
use super::turns::Turns;
use super::{End, Session, TlsStream};
use crate::model::snapshot::tls::{Hosts, ListenerTls, take_choice};
use crate::proxy::Proxy;
use crate::proxy::timers::Patience;
use crate::shm::series::Handshake;

/// The first byte of every TLS connection: a handshake record.
const HANDSHAKE: u8 = 0x16;
/// How long a handshake may take while the worker drains.
const LAST_HANDSHAKE: Duration = Duration::from_secs(1);

/// What a handshake came to.
pub(in crate::proxy) enum Outcome {
    Secured(Box<TlsStream>, Rc<Secured>),
    /// It is to be told, in plain HTTP.
    Plaintext(TcpStream),
}

/// What the handshakes of a listener are done with, in this worker.
pub(in crate::proxy) struct Terminator {
    pub(in crate::proxy) config: Arc<ServerConfig>,
    pub(in crate::proxy) hosts: Arc<Hosts>,
    pub(in crate::proxy) timeout: Duration,
}

impl Terminator {
    pub(in crate::proxy) fn build(tls: &ListenerTls, tickets: &Tickets, timeout: Duration) -> Self {
        let mut config = tls.server.clone();
        config.ticketer = tickets.within(tls.context);
        Self {
            config: Arc::new(config),
            hosts: Arc::clone(&tls.hosts),
            timeout,
        }
    }
}

/// An error is how it ended instead. May be dropped at any time. A turn is taken once the client has said something, so that silent
/// ones take none.
pub(in crate::proxy) async fn accept(
    proxy: &Proxy,
    tcp: TcpStream,
    terminator: &Terminator,
) -> Result<Outcome, Handshake> {
    let alarm = proxy.timers.alarm();
    let mut patience = Patience::default();
    let mut shaking = pin!(shake(tcp, terminator, &proxy.handshakes));
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = shaking.as_mut().poll(cx) {
            return Poll::Ready(outcome);
        }
        alarm.attend(cx);
        let bound = match proxy.is_draining() {
            true => terminator.timeout.min(LAST_HANDSHAKE),
            false => terminator.timeout,
        };
        let late = patience.poll(cx, &alarm, bound);
        late.map(|()| Err(Handshake::Timeout))
    })
    .await
}

async fn shake(
    tcp: TcpStream,
    terminator: &Terminator,
    turns: &Turns,
) -> Result<Outcome, Handshake> {
    match poll_fn(|cx| poll_first_byte(cx, &tcp)).await? {
        HANDSHAKE => {}
        letter if letter.is_ascii_alphabetic() => return Ok(Outcome::Plaintext(tcp)),
        _ => return Err(Handshake::Malformed),
    }
    let turn = turns.take();
    let session = Session::server(Arc::clone(&terminator.config)).map_err(|e| fault(&e))?;
    let mut stream = Box::new(TlsStream::new(tcp, session));
    let mut choice = None;
    let mut after = || choice = take_choice().or_else(|| choice.take());
    poll_fn(|cx| {
        if let Poll::Ready(done) = stream.poll_handshake(cx, &mut after) {
            return Poll::Ready(done.map_err(|error| ending(&error)));
        }
        turn.poll_over(cx).map(|()| Err(Handshake::Crowded))
    })
    .await?;
    let secured = Secured::of(&stream, Arc::clone(&terminator.hosts), choice);
    Ok(Outcome::Secured(stream, Rc::new(secured)))
}

fn poll_first_byte(cx: &mut Context<'_>, tcp: &TcpStream) -> Poll<Result<u8, Handshake>> {
    loop {
        ready!(tcp.poll_read_ready(cx)).map_err(|_| Handshake::Closed)?;
        let mut byte = [0];
        let seen = tcp.try_io(tokio::io::Interest::READABLE, || {
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            Ok(rustix::net::recv(tcp, &mut byte, flags)?)
        });
        let [byte] = byte;
        match seen {
            Ok((1.., _)) => return Poll::Ready(Ok(byte)),
            Ok(_) => return Poll::Ready(Err(Handshake::Closed)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Poll::Ready(Err(Handshake::Closed)),
        }
    }
}

impl TlsStream {
    /// `after` is called whenever something that has come was looked at.
    pub(in crate::proxy) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        after: &mut dyn FnMut(),
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush_waiting(cx))?;
            if !self.session.common().is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if self.end != End::Open {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let mut plain = std::mem::take(&mut self.plain);
            let taken = self.poll_take(cx, &mut plain);
            self.plain = plain;
            after();
            ready!(taken)?;
        }
    }
}

fn ending(error: &io::Error) -> Handshake {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(tls) => fault(tls),
        None if error.kind() == io::ErrorKind::InvalidData => Handshake::Malformed,
        None => Handshake::Closed,
    }
}

fn fault(error: &rustls::Error) -> Handshake {
    use rustls::Error;
    match error {
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Handshake::Unsupported,
        Error::NoCertificatesPresented | Error::InvalidCertificate(_) => {
            Handshake::ClientCertificate
        }
        Error::AlertReceived(_) => Handshake::Refused,
        _ => Handshake::Malformed,
    }
}
