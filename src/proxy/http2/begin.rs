//! How a connection with a client of HTTP/2 begins: its preface is waited for, and the `h2` crate is told its bounds.
//!
//! Not here: what it may come to (`session`).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};

use super::inflow::SMALL_FRAMES;
use super::wire::Wire;
use crate::model::config::Http2;
use crate::proxy::budget::Budget;
use crate::proxy::client::Client;
use crate::proxy::connection::{Admission, Next};
use crate::proxy::timers::Patience;

/// What HTTP/2 gives a connection to begin with (RFC 9113, 6.9.2): all it gets while memory is bounded and it has sent no more.
pub(super) const NARROW: u32 = 65_535;
/// Requests at once that a connection of HTTP/2 has room for in what any takes.
pub(super) const FEW: u32 = 4;
/// Bytes of one response that wait to be written, beside what its task holds; and where memory is bounded.
const SEND_BUFFER: usize = 64 * 1024;
const SMALL_SEND_BUFFER: usize = 16 * 1024;
/// Streams that the client broke the rules of, before the connection is given up.
const MOST_FAULTS: usize = 256;
/// Streams that were reset and whose last frames may still be on their way: how many are remembered,
/// and for how long.
const RESET_STREAMS: usize = 64;
const RESET_MEMORY: Duration = Duration::from_secs(5);

/// What a connection begins with, which may be less than it may come to.
pub(super) fn at_first(mut settings: Http2, budget: &Budget, admission: Admission) -> Http2 {
    if budget.is_bounded() {
        let window = &mut settings.initial_connection_window_size;
        *window = NARROW.min(*window);
    }
    if admission == Admission::Refuse {
        // One answer says it.
        let most = &mut settings.max_concurrent_streams;
        *most = FEW.min(*most);
    }
    settings
}

pub(super) async fn handshake(
    client: &Client,
    wire: Wire,
    settings: &Http2,
    bound: Duration,
) -> Result<Connection<Wire, Bytes>, Next> {
    let send_buffer = match client.proxy.budget.is_bounded() {
        true => SMALL_SEND_BUFFER,
        false => SEND_BUFFER,
    };
    let mut builder = builder(settings);
    builder.max_send_buffer_size(send_buffer);
    let mut handshake = pin!(builder.handshake::<_, Bytes>(wire));
    let mut patience = Patience::default();
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = handshake.as_mut().poll(cx) {
            // What is none of HTTP/2 may still be on its way: it is not to be met with a reset.
            return Poll::Ready(outcome.map_err(|_| Next::Linger));
        }
        let late = patience.poll(cx, &client.alarm, bound);
        late.map(|()| Err(Next::Close))
    })
    .await
}

fn builder(settings: &Http2) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(settings.max_concurrent_streams)
        .initial_window_size(settings.initial_stream_window_size)
        .initial_connection_window_size(settings.initial_connection_window_size)
        .data_frame_budget(SMALL_FRAMES)
        .max_frame_size(settings.max_frame_size)
        .max_header_list_size(settings.max_header_list_size)
        .header_table_size(settings.header_table_size)
        .max_pending_accept_reset_streams(settings.max_concurrent_streams as usize)
        .max_local_error_reset_streams(Some(MOST_FAULTS))
        .max_concurrent_reset_streams(RESET_STREAMS)
        .reset_stream_duration(RESET_MEMORY)
        .enable_connect_protocol();
    builder
}
