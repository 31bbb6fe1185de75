//! The body of a request over HTTP/2, bounded in size and in time. The client may send more of it only
//! when what came before has been taken: its window opens with the next pull, not with the last.
//!
//! Not here: who pulls it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::fields::trailers_of;
use super::inflow::Shared;
use super::reply::Reply;
use crate::model::config::Limits;
use crate::proxy::body::{Frame, Size};
use crate::proxy::client::{Client, LAST_REQUEST, Wait};
use crate::proxy::connection::LINGER;
use crate::proxy::error::Reason;
use crate::proxy::pace::{LeastRate, Pace};
use crate::proxy::timers::{Alarm, Patience};

pub(in crate::proxy) struct StreamBody {
    reply: Rc<Reply>,
    stream: Shared,
    size: Size,
    state: State,
    /// Given away, and perhaps not yet passed on: what the window is still smaller by.
    held: usize,
    most: Option<u64>,
    bound: Duration,
    patience: Patience,
    pace: RefCell<Pace>,
    least: LeastRate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    Ended,
}

impl StreamBody {
    pub(super) fn new(reply: Rc<Reply>, stream: Shared, size: Size, limits: &Limits) -> Self {
        Self {
            reply,
            stream,
            size,
            state: State::Data,
            held: 0,
            most: limits.body_bytes,
            bound: limits.body_timeout,
            patience: Patience::default(),
            pace: RefCell::default(),
            least: LeastRate::of_body(size, limits),
        }
    }

    pub(in crate::proxy) fn size(&self) -> Size {
        self.size
    }

    pub(in crate::proxy) fn wait(&self) -> Wait {
        self.reply.wait()
    }

    /// It is not the client that is waited for.
    pub(in crate::proxy) fn pause(&self) {
        self.pace.borrow_mut().pause(&self.reply.alarm);
    }

    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Reason>>> {
        self.open_window();
        if self.state == State::Data {
            self.reply.ask_for_body();
            match self.poll_data(cx) {
                Poll::Ready(None) => self.state = State::Trailers,
                other => return other,
            }
        }
        if self.state == State::Ended {
            return Poll::Ready(None);
        }
        let trailers = self.stream.borrow_mut().poll_trailers(cx);
        let trailers = match trailers {
            Poll::Ready(trailers) => trailers,
            Poll::Pending => return self.poll_late(cx),
        };
        self.state = State::Ended;
        Poll::Ready(match trailers {
            Ok(Some(trailers)) => Some(Ok(Frame::Trailers(trailers_of(&trailers)))),
            Ok(None) => None,
            Err(_) => Some(Err(Reason::ClientGone)),
        })
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Reason>>> {
        let data = self.stream.borrow_mut().poll_data(cx);
        match data {
            Poll::Ready(Some(Ok(data))) => Poll::Ready(Some(self.accept(data))),
            Poll::Ready(Some(Err(error))) => {
                self.state = State::Ended;
                Poll::Ready(Some(Err(reason(&error))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_late(cx),
        }
    }

    fn accept(&mut self, data: Bytes) -> Result<Frame, Reason> {
        self.patience.renew();
        let pace = self.pace.get_mut();
        pace.moved(data.len() as u64, &self.reply.alarm);
        self.held = data.len();
        self.reply.watch.took(data.len() as u64);
        let received = self.reply.received.get() + data.len() as u64;
        self.reply.received.set(received);
        if self.most.is_some_and(|most| received > most) {
            self.state = State::Ended;
            return Err(Reason::BodyTooLarge);
        }
        Ok(Frame::Data(data))
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Reason>>> {
        let alarm = &self.reply.alarm;
        let silent = self.patience.poll(cx, alarm, self.bound);
        let slow = self.pace.get_mut().poll(cx, alarm, self.least);
        let late = if silent.is_ready() { silent } else { slow };
        late.map(|()| {
            self.state = State::Ended;
            Some(Err(Reason::BodyTimeout))
        })
    }

    /// Whoever pulls has passed on what it got.
    fn open_window(&mut self) {
        let held = std::mem::take(&mut self.held);
        if held > 0 {
            self.stream.borrow_mut().release(held);
        }
    }
}

/// Takes in what the client still sends of a request that has its answer, for a while and to no use:
/// many clients mistake a reset behind an answer for a failure (RFC 9113, 8.1), and some say in a frame of its own
/// that a body of known length has ended.
pub(super) async fn hear_out(stream: &Shared, client: &Client, alarm: &Alarm) {
    let mut patience = Patience::default();
    poll_fn(|cx| {
        let stream = &mut *stream.borrow_mut();
        while !stream.is_end_stream() {
            match stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => stream.release(data.len()),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => {
                    let bound = match client.is_to_end() {
                        true => LAST_REQUEST,
                        false => LINGER,
                    };
                    return patience.poll(cx, alarm, bound);
                }
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// A length that was declared and is not kept is an error that the `h2` crate finds.
fn reason(error: &h2::Error) -> Reason {
    match error.is_remote() || error.is_io() {
        true => Reason::ClientGone,
        false => Reason::MalformedBody,
    }
}
