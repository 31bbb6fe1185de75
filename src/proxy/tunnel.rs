//! After a 101 both connections carry another protocol: bytes are copied both ways, each way with its
//! own backpressure and its own end, until both have ended.
//!
//! Not here: whether the change was asked for (`forward`); how long a tunnel may be silent.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderValue;

use super::buffers::Buffers;
use super::client::Client;
use super::error::Reason;
use super::h1::Framing;
use super::inlet::Inlet;
use super::outgoing::Outgoing;
use super::stream::Stream;
use super::upstream::exchange::Exchange;
use super::upstream::hold::Hold;

/// The upstream's side of a tunnel.
pub(super) struct Switched {
    pub(super) protocol: HeaderValue,
    stream: Stream,
    inlet: Inlet,
    /// In flight there until the tunnel ends.
    hold: Hold,
}

/// One direction.
#[derive(Default)]
struct Flow {
    out: Outgoing,
    state: State,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Open,
    /// The source has ended; what waits is still to be written.
    Ending,
    Ended,
}

/// Bytes carried each way.
pub(super) struct Carried {
    pub(super) to_upstream: u64,
    pub(super) to_client: u64,
}

impl Switched {
    /// A request whose body is still on its way cannot change the protocol.
    pub(super) fn new(
        exchange: Exchange,
        hold: Hold,
        protocol: HeaderValue,
    ) -> Result<Self, Reason> {
        let Exchange {
            stream,
            inlet,
            upload,
            ..
        } = exchange;
        if !upload.is_done() {
            return Err(Reason::UpstreamUpgrade);
        }
        Ok(Self {
            protocol,
            stream,
            inlet,
            hold,
        })
    }

    /// For a tunnel whose client's side is no socket.
    pub(super) fn into_parts(self) -> (Stream, Inlet, Hold) {
        (self.stream, self.inlet, self.hold)
    }

    /// Runs until both directions have ended or one of them has broken. May be dropped at any time.
    pub(super) async fn run(mut self, client: &Client) -> Carried {
        let (mut up, mut down) = (Flow::default(), Flow::default());
        let buffers = &client.proxy.buffers;
        poll_fn(|cx| {
            client.with_stream(|theirs, inlet| {
                let up = up.poll(cx, theirs, inlet, &mut self.stream, buffers);
                let down = down.poll(cx, &mut self.stream, &mut self.inlet, theirs, buffers);
                match (up, down) {
                    (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(()),
                    (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            })
        })
        .await;
        Carried {
            to_upstream: up.bytes,
            to_client: down.bytes,
        }
    }
}

impl Flow {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        inlet: &mut Inlet,
        to: &mut Stream,
        buffers: &Buffers,
    ) -> Poll<io::Result<()>> {
        while self.state != State::Ended {
            ready!(self.out.poll_flush(cx, to))?;
            if self.state == State::Ending {
                to.end_writing();
                self.state = State::Ended;
                break;
            }
            if inlet.buffer.is_empty() {
                // A silent tunnel holds no buffer.
                inlet.rest(buffers);
                ready!(from.poll_readable(cx))?;
                if ready!(inlet.poll_fill(cx, from, buffers))? == 0 {
                    self.state = State::Ending;
                    continue;
                }
            }
            let data: Bytes = inlet.buffer.split().freeze();
            self.bytes += data.len() as u64;
            self.out.push(data, Framing::Length(0));
        }
        Poll::Ready(Ok(()))
    }
}
