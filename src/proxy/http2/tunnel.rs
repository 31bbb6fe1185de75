//! A WebSocket over one stream of HTTP/2 (RFC 8441), towards an upstream of HTTP/1.1: the request
//! becomes one that asks to change the protocol, and after the 101 bytes are copied both ways, each
//! way with its own backpressure and its own end.
//!
//! Not here: what is in the bytes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::ext::Protocol;
use http::header::{HeaderValue, SEC_WEBSOCKET_KEY};
use http::{Method, request};

use super::inflow::Shared;
use super::outflow::{Outflow, Progress, Source};
use super::wire::Watch;
use crate::model::grpc::web::encode;
use crate::proxy::body::{Frame, Size};
use crate::proxy::buffers::Buffers;
use crate::proxy::error::Reason;
use crate::proxy::h1::Framing;
use crate::proxy::inlet::Inlet;
use crate::proxy::observe::Passing;
use crate::proxy::outgoing::Outgoing;
use crate::proxy::scratch::Scratch;
use crate::proxy::stream::Stream;
use crate::proxy::timers::{Alarm, Patience};
use crate::proxy::tunnel::Far;
use crate::shm::series::Direction;

const WEBSOCKET: &str = "websocket";
/// Of a key, before it is text.
const KEY_BYTES: usize = 16;

/// The protocol that an extended CONNECT asks for, with the head made into that of HTTP/1.1. `None`
/// where it is no such request.
pub(super) fn take(
    head: &mut request::Parts,
    scratch: &Scratch,
) -> Result<Option<HeaderValue>, Reason> {
    let Some(protocol) = head.extensions.remove::<Protocol>() else {
        return Ok(None);
    };
    if protocol.as_str() != WEBSOCKET {
        return Err(Reason::ConnectMethod);
    }
    head.method = Method::GET;
    let id = scratch.request_id();
    let bytes = id.get(..KEY_BYTES).unwrap_or_default();
    let key = HeaderValue::from_maybe_shared(encode(bytes));
    let key = key.map_err(|_| Reason::MalformedRequest)?;
    head.headers.insert(SEC_WEBSOCKET_KEY, key);
    Ok(Some(HeaderValue::from_static(WEBSOCKET)))
}

/// The upstream's side, which both directions use.
struct Wire<'b> {
    stream: Stream,
    inlet: Inlet,
    buffers: &'b Buffers,
}

/// Bytes from the upstream.
struct Down<'w, 'b> {
    wire: &'w RefCell<Wire<'b>>,
    passing: &'w Passing,
}

/// Bytes to the upstream.
struct Up<'w, 'b> {
    wire: &'w RefCell<Wire<'b>>,
    stream: Shared,
    out: Outgoing,
    state: State,
    /// Given to the socket: what the window is still smaller by.
    held: usize,
    passing: &'w Passing,
}

/// What a tunnel is told to keep to.
pub(super) struct Terms<'a> {
    pub(super) buffers: &'a Buffers,
    pub(super) alarm: &'a Alarm,
    /// How long it may be silent.
    pub(super) silence: Duration,
    pub(super) passing: &'a Passing,
    pub(super) watch: &'a Watch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ending,
    Ended,
}

/// Runs until both directions have ended, one of them has broken, or no byte has come from either
/// side for too long. May be dropped at any time.
pub(super) async fn run(
    far: Far,
    stream: Shared,
    out: SendStream<Bytes>,
    terms: &Terms<'_>,
) -> Result<(), Reason> {
    let (upstream, inlet, _hold) = far.into_parts();
    let Terms {
        buffers, passing, ..
    } = *terms;
    let wire = RefCell::new(Wire {
        stream: upstream,
        inlet,
        buffers,
    });
    let mut down = Outflow::new(
        out,
        Down {
            wire: &wire,
            passing,
        },
        Size::Unknown,
    );
    let mut up = Up {
        wire: &wire,
        stream,
        out: Outgoing::default(),
        state: State::Open,
        held: 0,
        passing,
    };
    let (mut patience, mut carried) = (Patience::default(), 0);
    let ended = poll_fn(|cx| {
        let before = passing.to_upstream();
        let up = up.poll(cx);
        terms.watch.took(passing.to_upstream() - before);
        let before = down.sent;
        let downward = down.poll(cx);
        if down.sent != before {
            terms.watch.carry(down.sent - before);
        }
        let progress = match (downward, up) {
            (Progress::Broken(reason), _) => Poll::Ready(Err(reason)),
            (Progress::Unwanted, _) | (_, Poll::Ready(Err(_))) => {
                Poll::Ready(Err(Reason::ClientGone))
            }
            (Progress::Done, Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            (Progress::WaitsForRoom | Progress::WaitsForSource | Progress::Done, _) => {
                // A client that has ended may still give the stream up.
                let given_up = down.out.poll_reset(cx);
                given_up.map(|_| Err(Reason::ClientGone))
            }
        };
        if progress.is_ready() {
            return progress;
        }
        let now = passing.to_upstream() + passing.to_client();
        if std::mem::replace(&mut carried, now) != now {
            patience.renew();
        }
        let silent = patience.poll(cx, terms.alarm, terms.silence);
        silent.map(|()| Err(Reason::TunnelIdle))
    })
    .await;
    if ended.is_err_and(|reason| reason != Reason::TunnelIdle) {
        wire.borrow_mut().stream.reset_on_close();
    }
    ended
}

impl Source for Down<'_, '_> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Reason>>> {
        let Wire {
            stream,
            inlet,
            buffers,
        } = &mut *self.wire.borrow_mut();
        if inlet.buffer.is_empty() {
            // A silent tunnel holds no buffer.
            inlet.rest(buffers);
            let read = match stream.poll_readable(cx) {
                Poll::Ready(Ok(())) => ready!(inlet.poll_fill(cx, stream, buffers)),
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => return Poll::Pending,
            };
            match read {
                Ok(0) => return Poll::Ready(None),
                Ok(_) => {}
                Err(_) => return Poll::Ready(Some(Err(Reason::UpstreamBodyBroken))),
            }
        }
        let data = inlet.buffer.split().freeze();
        self.passing.count(Direction::ToClient, data.len());
        Poll::Ready(Some(Ok(Frame::Data(data))))
    }
}

impl Up<'_, '_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.state != State::Ended {
            let stream = &mut self.wire.borrow_mut().stream;
            ready!(self.out.poll_flush(cx, stream))?;
            if self.state == State::Ending {
                stream.end_writing();
                self.state = State::Ended;
                break;
            }
            let held = std::mem::take(&mut self.held);
            if held > 0 {
                self.stream.borrow_mut().release(held);
            }
            let data = self.stream.borrow_mut().poll_data(cx);
            match ready!(data) {
                Some(Ok(data)) => {
                    self.held = data.len();
                    self.passing.count(Direction::ToUpstream, data.len());
                    self.out.push(data, Framing::Length(0));
                }
                Some(Err(_)) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                None => self.state = State::Ending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
