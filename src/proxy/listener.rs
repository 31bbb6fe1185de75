//! Accepts connections and starts their tasks: no error ends it, none makes it spin, and over the
//! bound a connection gets an answer that says so.
//!
//! Not here: binding; the supervisor owns the sockets.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Proxy;
use super::active::Entrance;
use super::announced::{self, Greeting};
use super::client::Client;
use super::connection::{self, Admission};
use super::ends::Ends;
use super::phase::OpenGuard;
use super::stream::Stream;
use super::tcp;
use super::tls::handshake::{self, Outcome, Terminator};
use crate::model::snapshot::Listener;
use crate::shm::series::Handshake;

/// Connections over the limit that are answered 503 at one time; with that many, accepting pauses
/// until one of all connections closes.
const REFUSING: u32 = 64;
/// Between two tries to accept when the system has no more of something.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts until it is dropped or closed, or the worker drains.
pub struct ListenerHandle {
    task: JoinHandle<()>,
    shared: Rc<Shared>,
    proxy: Weak<Proxy>,
}

/// With its task.
struct Shared {
    state: Cell<State>,
    /// What the observer knows the listener by.
    id: Cell<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// What has arrived is still accepted; then its task ends by itself.
    Closing,
}

impl ListenerHandle {
    /// Accepts what has arrived, and then no more.
    pub fn close(self) {
        self.shared.state.set(State::Closing);
        if let Some(proxy) = self.proxy.upgrade() {
            proxy.presence.changed();
        }
    }

    /// What comes from now on comes to this listener.
    pub fn belongs_to(&self, id: u32) {
        self.shared.id.set(id);
    }

    /// Ready when it accepts no more, because the worker drains.
    pub async fn ended(&mut self) {
        // It is never aborted before this handle is dropped, and panics abort the process.
        let _ = (&mut self.task).await;
    }
}

impl Drop for ListenerHandle {
    fn drop(&mut self) {
        if self.shared.state.get() == State::Open {
            self.task.abort();
        }
    }
}

pub(super) fn listen(
    proxy: &Rc<Proxy>,
    listener: std::net::TcpListener,
    id: u32,
) -> io::Result<ListenerHandle> {
    listener.set_nonblocking(true)?;
    have_all_sent_at_once(&listener);
    let listener = TcpListener::from_std(listener)?;
    let shared = Rc::new(Shared {
        state: Cell::new(State::Open),
        id: Cell::new(id),
    });
    let accepting = accept_all(Rc::clone(proxy), listener, Rc::clone(&shared));
    let task = tokio::task::spawn_local(accepting);
    let proxy = Rc::downgrade(proxy);
    Ok(ListenerHandle {
        task,
        shared,
        proxy,
    })
}

/// A connection inherits it from its listener, which saves a system call for each.
fn have_all_sent_at_once(listener: &std::net::TcpListener) {
    // Without it they work, only slower.
    let _ = SockRef::from(listener).set_tcp_nodelay(true);
}

async fn accept_all(proxy: Rc<Proxy>, listener: TcpListener, shared: Rc<Shared>) {
    let mut pause = SHORTEST_PAUSE;
    let bound = Ends::bound(&listener);
    let mut entrance = proxy.entrance(shared.id.get()).unwrap_or_default();
    while let Some(accepted) = accept(&proxy, &listener, &shared.state).await {
        let id = shared.id.get();
        match accepted {
            Ok((tcp, peer)) => {
                pause = SHORTEST_PAUSE;
                // What had arrived at a listener that is gone now is served as it was.
                entrance = proxy.entrance(id).unwrap_or(entrance);
                let ends = Ends::of(&tcp, peer, bound);
                start(&proxy, tcp, ends, id, &entrance);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, listener = id, "cannot accept");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// The next connection; `None` once it is closed, or the worker drains, and all that had arrived is
/// accepted.
async fn accept(
    proxy: &Proxy,
    listener: &TcpListener,
    state: &Cell<State>,
) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    let is_ending = || proxy.is_draining() || state.get() != State::Open;
    poll_fn(|cx| {
        if proxy.open_connections() >= proxy.connection_limit().saturating_add(REFUSING) {
            proxy.wake_on_change(cx.waker());
            return if is_ending() {
                Poll::Ready(None)
            } else {
                Poll::Pending
            };
        }
        if let Poll::Ready(accepted) = listener.poll_accept(cx) {
            return Poll::Ready(Some(accepted));
        }
        proxy.wake_on_change(cx.waker());
        if is_ending() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    })
    .await
}

/// It has failed before it was accepted, which says nothing of the next one.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::CONNABORTED | Errno::CONNRESET | Errno::INTR | Errno::PERM | Errno::PROTO)
    )
}

/// A connection that was accepted.
pub(super) struct Arrival {
    pub(super) tcp: TcpStream,
    pub(super) ends: Ends,
    pub(super) listener: u32,
    pub(super) admission: Admission,
    pub(super) open: OpenGuard,
}

fn start(proxy: &Rc<Proxy>, tcp: TcpStream, ends: Ends, listener: u32, entrance: &Rc<Entrance>) {
    let over = proxy.open_connections() >= proxy.connection_limit();
    let arrival = Arrival {
        tcp,
        ends,
        listener,
        admission: if over {
            Admission::Refuse
        } else {
            Admission::Serve
        },
        open: proxy.open_connection(listener),
    };
    // Owned by the proxy: it counts its connections, and ends them when it is out of time.
    let comes_plain = entrance.settings.tcp.is_none() && entrance.tls.is_none();
    let is_http = comes_plain && !begins_with_header(&entrance.settings, ends.peer);
    drop(match is_http {
        true => tokio::task::spawn_local(serve(Opened::plain(proxy, arrival))),
        false => tokio::task::spawn_local(introduce(proxy, entrance, arrival)),
    });
}

/// A connection that can be read requests from.
struct Opened {
    client: Rc<Client>,
    listener: u32,
    admission: Admission,
    open: OpenGuard,
}

impl Opened {
    fn plain(proxy: &Rc<Proxy>, arrival: Arrival) -> Self {
        Self {
            client: Client::new(
                Rc::clone(proxy),
                Stream::Tcp(arrival.tcp),
                arrival.ends,
                arrival.listener,
                None,
            ),
            listener: arrival.listener,
            admission: arrival.admission,
            open: arrival.open,
        }
    }
}

/// The task of one connection.
fn serve(opened: Opened) -> impl Future<Output = ()> {
    let Opened {
        client,
        listener,
        admission,
        open,
    } = opened;
    open.until_aborted(move || connection::serve(client, listener, admission))
}

/// The task of a connection that first tells whose it is, or shakes hands, or is passed on, or more
/// than one of these.
fn introduce(
    proxy: &Rc<Proxy>,
    entrance: &Rc<Entrance>,
    arrival: Arrival,
) -> impl Future<Output = ()> + use<> {
    // Most connections of HTTP have it behind them.
    let opening = Box::pin(opening(Rc::clone(proxy), Rc::clone(entrance), arrival));
    async move {
        let Some(opened) = opening.await else {
            return;
        };
        serve(opened).await;
    }
}

/// `None` where no requests are to be read.
async fn opening(proxy: Rc<Proxy>, entrance: Rc<Entrance>, mut arrival: Arrival) -> Option<Opened> {
    if begins_with_header(&entrance.settings, arrival.ends.peer)
        && let Some(settings) = &entrance.settings.proxy_protocol
    {
        match announced::receive(&proxy, &arrival.tcp, settings).await {
            Ok(Greeting::Header(told)) => arrival.ends = arrival.ends.as_told(told),
            Ok(Greeting::None) => {}
            Ok(Greeting::Ended) => return None,
            Err(reason) => {
                tracing::debug!(%reason, peer = %arrival.ends.peer, "connection closed");
                proxy.observer.count_reason(reason);
                return None;
            }
        }
    }
    if let Some(tcp) = &entrance.settings.tcp {
        tcp::serve(proxy, tcp, entrance.tls.as_ref(), arrival).await;
        return None;
    }
    match &entrance.tls {
        Some(terminator) => shake_hands(proxy, terminator, arrival).await,
        None => Some(Opened::plain(&proxy, arrival)),
    }
}

async fn shake_hands(
    proxy: Rc<Proxy>,
    terminator: &Terminator,
    arrival: Arrival,
) -> Option<Opened> {
    let Arrival {
        tcp,
        ends,
        listener,
        admission,
        open,
    } = arrival;
    let (client, admission) = match handshake::accept(&proxy, tcp, terminator).await {
        Ok(Outcome::Secured(stream, secured)) => {
            proxy.observer.handshake(listener, secured.kind);
            let client = Client::new(proxy, Stream::Tls(stream), ends, listener, Some(secured));
            (client, admission)
        }
        Ok(Outcome::Plaintext(tcp)) => {
            proxy.observer.handshake(listener, Handshake::Plaintext);
            let client = Client::new(proxy, Stream::Tcp(tcp), ends, listener, None);
            (client, Admission::Plaintext)
        }
        Err(ended) => {
            tracing::debug!(result = ended.as_str(), peer = %ends.peer, "no TLS handshake");
            proxy.observer.handshake(listener, ended);
            return None;
        }
    };
    Some(Opened {
        client,
        listener,
        admission,
        open,
    })
}

fn begins_with_header(settings: &Listener, peer: SocketAddr) -> bool {
    let settings = settings.proxy_protocol.as_ref();
    settings.is_some_and(|settings| settings.trusted_sources.contains(peer.ip()))
}

/// Of the task of a plain connection, and of one that has an opening.
#[cfg(test)]
pub(super) async fn sizes_of_connections(proxy: &Rc<Proxy>) -> [usize; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrival = async || {
        let tcp = TcpStream::connect(address).await.unwrap();
        Arrival {
            ends: Ends::of(&tcp, address, None),
            tcp,
            listener: 0,
            admission: Admission::Serve,
            open: proxy.open_connection(0),
        }
    };
    let plain = serve(Opened::plain(proxy, arrival().await));
    let introduced = introduce(proxy, &Rc::default(), arrival().await);
    [size_of_val(&plain), size_of_val(&introduced)]
}

#[cfg(test)]
mod tests {
    use std::net;

    #[test]
    fn what_is_accepted_is_sent_at_once_without_being_told() {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        super::have_all_sent_at_once(&listener);
        let _client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listener.accept().unwrap().0.nodelay().unwrap());
    }
}
