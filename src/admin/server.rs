//! The admin port's accept loop. Its clients are strangers: each of them has so much time and so many
//! connections, and gives its place to newcomers when it only holds it, so that a slow or hostile one
//! cannot keep probes out.
//!
//! Not here: what is answered (`routes`).

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::crowd::{Crowd, PlaceGuard, Stage};
use super::Sources;
use super::routes::{self, App, Peer};

mod crowd;

/// From a connection's or a request's start to the end of its head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_BYTES: usize = 16 * 1024;
/// From a request's head to its answer. One that asks for a change is answered when that is over: it is
/// bounded by `reload.prepareTimeout` and the canary's window.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection is told to end after so long, and ended after so much more: a client that takes
/// nothing of its answer is gone then.
const CONNECTION_AGE: Duration = Duration::from_secs(120);
const CONNECTION_END: Duration = Duration::from_secs(10);
/// What is answered with the result of a reload.
const CHANGES: [&str; 3] = ["/reload", "/rollback", "/unpin"];
/// Nobody new comes to a door that is closing: who has come is there within this time.
const LAST_CALL: Duration = Duration::from_millis(10);
/// Between two looks at the heartbeats, and after an accept that failed for want of resources.
const TICK: Duration = Duration::from_secs(1);

/// Who is let in. But for an open door it is a last word: the port ends when whoever has asked is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Open,
    /// Who has arrived is let in, and nobody else.
    Closing,
    /// Who has arrived is somebody else's.
    Shut,
}

/// Serves until dropped; connections end with it. The listeners are those of one address, among which the
/// kernel spreads who comes. Needs a `LocalSet`.
pub async fn serve(listeners: Vec<TcpListener>, sources: Sources, door: watch::Receiver<Door>) {
    let app = App::new(sources);
    let router = TowerToHyperService::new(routes::router(app.clone()));
    let (crowd, mut connections) = (Rc::<Crowd>::default(), JoinSet::new());
    let mut tick = tokio::time::interval(TICK);
    let let_in = |stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>| {
        let Some(place) = crowd.admit(peer.ip()) else {
            tracing::debug!(%peer, "too many connections to the admin port");
            return;
        };
        let held = Rc::clone(&place);
        let serving = connection(stream, peer, router.clone(), place, door.clone());
        held.is_held_by(connections.spawn_local(serving));
    };
    let mut changed = door.clone();
    loop {
        tokio::select! {
            // Cancel-safe: a connection that was not accepted waits in the socket.
            accepted = accept(&listeners) => match accepted {
                Ok((stream, peer)) => let_in(stream, peer, &mut connections),
                Err(error) => {
                    tracing::warn!(%error, "the admin port could not accept");
                    sleep(TICK).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = tick.tick() => app.watch_beats(Instant::now()),
            _ = changed.changed() => break,
        }
    }
    if *door.borrow() == Door::Closing {
        while let Ok(Ok((stream, peer))) = timeout(LAST_CALL, accept(&listeners)).await {
            let_in(stream, peer, &mut connections);
        }
    }
    drop(listeners);
    while connections.join_next().await.is_some() {}
}

async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|cx| {
        let mut all = listeners.iter().map(|listener| listener.poll_accept(cx));
        all.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: TowerToHyperService<axum::Router>,
    place: Rc<PlaceGuard>,
    mut door: watch::Receiver<Door>,
) {
    // Keeps the first time until somebody waits for it.
    let asked = Rc::new(Notify::new());
    let first = Rc::clone(&asked);
    let changes = Rc::<Cell<bool>>::default();
    let asks = Rc::clone(&changes);
    let service = service_fn(move |mut request: Request<Incoming>| {
        first.notify_one();
        request.extensions_mut().insert(Peer(peer.ip()));
        let is_change = asks_for_change(&request);
        let answer = router.call(request);
        let (place, changing) = (Rc::clone(&place), Rc::clone(&asks));
        async move {
            place.is_now(Stage::Asking);
            changing.set(is_change);
            let answer = match is_change {
                true => answer.await,
                false => bounded(answer).await,
            };
            changing.set(false);
            place.is_now(Stage::Waiting);
            answer
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // Whoever has only just come is still to be answered.
    let old = async {
        let _either = timeout(CONNECTION_AGE, door.changed()).await;
        asked.notified().await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = old => {
            connection.as_mut().graceful_shutdown();
            loop {
                match timeout(CONNECTION_END, connection.as_mut()).await {
                    Ok(ended) => break ended,
                    Err(_) if changes.get() => {}
                    Err(_) => break Ok(()),
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection to the admin port broke");
    }
}

fn asks_for_change<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && CHANGES.contains(&request.uri().path())
}

async fn bounded<E>(
    answer: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    match timeout(REQUEST_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            let mut late =
                Response::new(Body::from("still under way; /status tells how it ends\n"));
            *late.status_mut() = StatusCode::GATEWAY_TIMEOUT;
            Ok(late)
        }
    }
}

#[cfg(test)]
mod tests;
