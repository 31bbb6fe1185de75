//! The life of a connection of a TCP listener: where it goes, by the server name that a TLS client asks
//! for or without a look, an endpoint that takes it, and then bytes both ways until its end.
//!
//! Not here: copying (`tunnel`), choosing among endpoints (`upstream::members`). Nothing is decrypted.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::Proxy;
use super::active::Active;
use super::client::Client;
use super::connection::Admission;
use super::ends::Ends;
use super::error::Reason;
use super::listener::Arrival;
use super::observe::{Kind, Observation, Passing};
use super::orphan::{Ground, unless_orphaned};
use super::peek::{Peeked, peek};
use super::placement::Placement;
use super::stream::Stream;
use super::tls::handshake::{self, Outcome, Terminator};
use super::tls::secured::Secured;
use super::tunnel::Far;
use super::upstream::admission::{self, Applicant};
use super::upstream::connect::{Opening, Within, connect};
use super::upstream::hold::Hold;
use super::upstream::members::Tried;
use super::upstream::secure::Purpose;
use crate::model::client_hello::{self, Hello, LONGEST};
use crate::model::snapshot::{Destination, Snapshot, Tcp, Upstream};
use crate::shm::series::Handshake;

/// Endpoints that are tried for one connection.
const MOST_ATTEMPTS: u32 = 3;

/// One connection's stay. However it ends, also by being dropped, it is told to the observer, once.
struct Stay {
    proxy: Rc<Proxy>,
    active: Arc<Active>,
    seen: Observation,
    passing: Option<Passing>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The worker gave up its connections.
    Dropped,
    Reached,
}

/// A connection that has something to carry.
struct Opened {
    stream: Stream,
    /// The server name that the client asks for, where that is known.
    name: Option<String>,
    secured: Option<Rc<Secured>>,
}

/// Lives as long as the connection. May be dropped at any time.
pub(super) async fn serve(
    proxy: Rc<Proxy>,
    listener: &Tcp,
    terminator: Option<&Terminator>,
    arrival: Arrival,
) {
    let Arrival {
        tcp,
        ends,
        listener: id,
        admission,
        open,
    } = arrival;
    let Some(active) = proxy.active() else { return };
    let serving = async move || {
        let opened = match (admission, terminator) {
            (Admission::Serve, None) => look(&proxy, &active, listener, tcp).await,
            (Admission::Serve, Some(terminator)) => {
                shake_hands(&proxy, terminator, id, tcp, &ends).await
            }
            _ => Err(Reason::TooManyConnections),
        };
        let opened = match opened {
            Ok(None) => return,
            Ok(Some(opened)) => Ok(opened),
            Err(reason) => Err(reason),
        };
        let mut stay = Stay::begin(&proxy, active, id, ends.peer);
        let ended = match opened {
            Ok(opened) => {
                stay.seen.tls.clone_from(&opened.secured);
                let client =
                    Client::new(Rc::clone(&proxy), opened.stream, ends, id, opened.secured);
                carry(&client, listener, opened.name, &mut stay).await
            }
            Err(reason) => Err(reason),
        };
        stay.seen.reason = ended.err();
        stay.end = End::Reached;
    };
    open.until_aborted(serving).await;
}

/// Looks whom the client asks for, where that has to be known. `None` where it has ended without a
/// byte.
async fn look(
    proxy: &Proxy,
    active: &Active,
    listener: &Tcp,
    tcp: TcpStream,
) -> Result<Option<Opened>, Reason> {
    let opened = |tcp, name| {
        Ok(Some(Opened {
            stream: Stream::Tcp(tcp),
            name,
            secured: None,
        }))
    };
    if !listener.has_routes() {
        return opened(tcp, None);
    }
    let decide = |bytes: &[u8]| match client_hello::parse(bytes) {
        Hello::Incomplete => None,
        decided => Some(decided),
    };
    let bound = active.snapshot.limits.handshake_timeout;
    match peek(proxy, &tcp, bound, LONGEST, decide).await {
        Peeked::Decided(Hello::Tls(name)) => opened(tcp, name),
        // What is no TLS may be meant for the upstream of the rest.
        Peeked::Decided(_) | Peeked::Ended(1..) => opened(tcp, None),
        Peeked::Ended(0) => Ok(None),
        Peeked::Late => Err(Reason::ClientHelloTimeout),
    }
}

/// `None` where that comes to nothing, which is counted with the listener's handshakes.
async fn shake_hands(
    proxy: &Proxy,
    terminator: &Terminator,
    listener: u32,
    tcp: TcpStream,
    ends: &Ends,
) -> Result<Option<Opened>, Reason> {
    let shaken = Box::pin(handshake::accept(proxy, tcp, terminator)).await;
    let ended = match shaken {
        Ok(Outcome::Secured(stream, secured)) => {
            proxy.observer.handshake(listener, secured.kind);
            let name = secured.facts().sni;
            return Ok(Some(Opened {
                name: (!name.is_empty()).then(|| name.to_owned()),
                stream: Stream::Tls(stream),
                secured: Some(secured),
            }));
        }
        Ok(Outcome::Plaintext(_)) => Handshake::Plaintext,
        Err(ended) => ended,
    };
    tracing::debug!(result = ended.as_str(), peer = %ends.peer, "no TLS handshake");
    proxy.observer.handshake(listener, ended);
    Ok(None)
}

async fn carry(
    client: &Rc<Client>,
    listener: &Tcp,
    name: Option<String>,
    stay: &mut Stay,
) -> Result<(), Reason> {
    stay.seen.host = name
        .as_deref()
        .map(|name| Bytes::copy_from_slice(name.as_bytes()));
    let destination = listener.find(name.as_deref());
    let destination = destination.ok_or(Reason::UnknownServerName)?;
    let active = Arc::clone(&stay.active);
    let (index, upstream) = locate(&active.snapshot, destination).ok_or(Reason::NoAddress)?;
    stay.seen.upstream = Some(index);
    let (stream, hold) = reach(client, index, upstream, stay).await?;
    let observer = &client.proxy.observer;
    let passing = observer.tcp_opened(&active.watched, stay.seen.listener, index);
    let passing = &*stay.passing.insert(passing);
    let ground = Ground {
        generation: active.snapshot.generation,
        route: None,
        upstream: Some(index),
    };
    let far = Far::new(stream, hold);
    let running = Box::pin(far.run(client, upstream.traffic.timeouts.tunnel, passing));
    match unless_orphaned(&client.proxy.orphans, ground, running).await {
        Some(ended) => ended,
        None => {
            client.reset();
            Err(Reason::DrainDeadline)
        }
    }
}

/// The upstream in this snapshot, which may be a newer one than the listener's.
fn locate<'a>(snapshot: &'a Snapshot, destination: &Destination) -> Option<(u32, &'a Upstream)> {
    let is_it = |upstream: &&Upstream| upstream.id == destination.id;
    let guessed = snapshot.upstreams.get(destination.index as usize);
    if let Some(upstream) = guessed.filter(is_it) {
        return Some((destination.index, upstream));
    }
    let mut all = (0..).zip(&snapshot.upstreams);
    all.find(|(_, upstream)| is_it(upstream))
}

/// A connection to one of the upstream's endpoints; where one takes none, another is tried.
async fn reach(
    client: &Client,
    index: u32,
    upstream: &Upstream,
    stay: &mut Stay,
) -> Result<(Stream, Hold), Reason> {
    let active = Arc::clone(&stay.active);
    let applicant = Applicant {
        members: active.members(index).ok_or(Reason::NoAddress)?,
        breaker: upstream.circuit_breaker.as_ref(),
        placement: &Placement::of_connection(client.line.ends.peer.ip(), upstream),
        // None that waits is of use to it.
        owner: Some(Rc::clone(&client.line)),
        alarm: &client.alarm,
    };
    let mut tried = Tried::default();
    let mut hold = admission::admit(&applicant, &tried).await?;
    loop {
        stay.note_try(&hold);
        let reason = match open(client, &hold, upstream, stay).await {
            Ok(stream) => return Ok((stream, hold)),
            Err(reason) => reason,
        };
        hold.failed(reason);
        tried.add(&hold);
        drop(hold);
        let may_go_on = stay.seen.attempts < MOST_ATTEMPTS;
        if !may_go_on || !applicant.members.has_other_than(&tried) {
            return Err(reason);
        }
        hold = admission::admit(&applicant, &tried).await?;
    }
}

async fn open(
    client: &Client,
    hold: &Hold,
    upstream: &Upstream,
    stay: &mut Stay,
) -> Result<Stream, Reason> {
    let began = Instant::now();
    let version = upstream.proxy_protocol;
    let opening = Opening {
        introduction: version.map(|version| client.line.ends.introduction(version)),
        purpose: Purpose::Bytes,
        within: Within::from(&upstream.traffic.timeouts),
    };
    let endpoint = hold.endpoint();
    let _connecting = endpoint.begin_connecting();
    let stream = connect(endpoint, opening, &client.alarm).await?;
    stay.seen.connect = Some(began.elapsed());
    hold.answered(None);
    Ok(stream)
}

impl Stay {
    fn begin(
        proxy: &Rc<Proxy>,
        active: Arc<Active>,
        listener: u32,
        peer: std::net::SocketAddr,
    ) -> Self {
        proxy.observer.connection_busy(listener);
        let mut seen = Observation::begin(Rc::clone(&active.watched), listener, peer);
        seen.kind = Kind::Connection;
        Self {
            proxy: Rc::clone(proxy),
            active,
            seen,
            passing: None,
            end: End::Dropped,
        }
    }

    fn note_try(&mut self, hold: &Hold) {
        self.seen.attempts += 1;
        self.seen.server = Some(hold.server());
        self.seen.endpoint = Some(hold.endpoint().address.clone());
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let seen = &mut self.seen;
        seen.duration = seen.started.elapsed();
        if let Some(passing) = &self.passing {
            seen.request_bytes = passing.to_upstream();
            seen.response_bytes = passing.to_client();
        }
        if self.end == End::Dropped {
            seen.reason = Some(Reason::DrainDeadline);
        }
        self.proxy.observer.connection_ended(seen);
    }
}
