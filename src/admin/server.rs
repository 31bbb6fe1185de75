//! The admin port's accept loop. Its clients are strangers: each of them has so much time and so many
//! connections, and gives its place to newcomers when it only holds it, so that a slow or hostile one
//! cannot keep probes out.
//!
//! Not here: what is answered (`routes`).

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, Response, StatusCode};
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
/// From a request's head to its answer. A reload is answered when it is over.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection is told to end after so long, and ended after so much more: a client that takes
/// nothing of its answer is gone then.
const CONNECTION_AGE: Duration = Duration::from_secs(120);
const CONNECTION_END: Duration = Duration::from_secs(10);
/// Between two looks at the heartbeats, and after an accept that failed for want of resources.
const TICK: Duration = Duration::from_secs(1);

/// Serves until dropped; connections end with it. Once the other end of `open` says so nobody is let in, and
/// it ends when whoever has asked already is answered. Needs a `LocalSet`.
pub async fn serve(listener: TcpListener, sources: Sources, mut open: watch::Receiver<()>) {
    let app = App::new(sources);
    let router = TowerToHyperService::new(routes::router(app.clone()));
    let (crowd, mut connections) = (Rc::<Crowd>::default(), JoinSet::new());
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            // Cancel-safe: a connection that was not accepted waits in the socket.
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = crowd.admit(peer.ip()) else {
                        tracing::debug!(%peer, "too many connections to the admin port");
                        continue;
                    };
                    let held = Rc::clone(&place);
                    let serving = connection(stream, peer, router.clone(), place, open.clone());
                    held.is_held_by(connections.spawn_local(serving));
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin port could not accept");
                    sleep(TICK).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = tick.tick() => app.watch_beats(Instant::now()),
            _ = open.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: TowerToHyperService<axum::Router>,
    place: Rc<PlaceGuard>,
    mut open: watch::Receiver<()>,
) {
    // Keeps the first time until somebody waits for it.
    let asked = Rc::new(Notify::new());
    let first = Rc::clone(&asked);
    let service = service_fn(move |mut request: Request<Incoming>| {
        first.notify_one();
        request.extensions_mut().insert(Peer(peer.ip()));
        let answer = router.call(request);
        let place = Rc::clone(&place);
        async move {
            place.is_now(Stage::Asking);
            let answer = bounded(answer).await;
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
        let _either = timeout(CONNECTION_AGE, open.changed()).await;
        asked.notified().await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = old => {
            connection.as_mut().graceful_shutdown();
            timeout(CONNECTION_END, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection to the admin port broke");
    }
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
