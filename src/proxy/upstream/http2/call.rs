//! One request over a connection of HTTP/2, as far as the head of its answer: the request's body goes
//! out while that is waited for.
//!
//! May be dropped at any time: the upstream sees the request cancelled. Not here: the rest of the
//! answer (`body`).

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};

use super::sessions::Seat;
use super::unanswered;
use super::wire::Watch;
use crate::model::fields::Fields;
use crate::proxy::body::Size;
use crate::proxy::client::Wait;
use crate::proxy::error::Reason;
use crate::proxy::h1::{Framing, Persistence, ResponseHead, ResponseKind};
use crate::proxy::http2::{Outflow, Progress, trim};
use crate::proxy::interim::Interim;
use crate::proxy::timers::{Alarm, Patience};
use crate::proxy::upstream::replay::Replay;

/// Interim responses to one request.
const MOST_INTERIM: u32 = 32;
/// How long a client that waits for a 100 waits for the upstream's; then it gets ours.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// How long an upstream may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) struct Bounds {
    /// From the request's last byte to the answer's head.
    pub(in crate::proxy) response_header: Duration,
    /// To take any of the request.
    pub(in crate::proxy) write: Duration,
    /// Between two pieces of the answer.
    pub(in crate::proxy) idle: Duration,
}

pub(in crate::proxy) struct Call {
    pub(super) upload: Upload,
    response: ResponseFuture,
    stream: Option<RecvStream>,
    pub(super) seat: Seat,
    patience: Patience,
    interim: u32,
    sight: Sight,
    pub(super) bounds: Bounds,
}

/// Whether the upstream may have looked at the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Possible,
    /// The connection ends, and the request is behind its end.
    None,
}

/// The request on its way.
pub(super) struct Upload {
    flow: Outflow<Replay>,
    gate: Gate,
    gate_patience: Patience,
    stall: Patience,
    bound: Duration,
    pub(super) alarm: Rc<Alarm>,
    watch: Rc<Watch>,
    over: bool,
}

/// Whether the body may be asked for yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    /// Until the upstream says 100, or is late with it.
    AwaitContinue,
    /// The upstream has answered without it.
    Shut,
}

impl Call {
    /// Sends the head. Gives the body back where the connection takes no request any more, of which
    /// the upstream has seen nothing then.
    pub(in crate::proxy) fn begin(
        seat: Seat,
        request: Request<()>,
        body: Replay,
        bounds: Bounds,
        alarm: &Rc<Alarm>,
    ) -> Result<Self, Replay> {
        let is_all = body.is_empty();
        let Ok((response, out)) = seat.sender().send_request(request, is_all) else {
            seat.leave();
            return Err(body);
        };
        Ok(Self {
            upload: Upload::new(out, body, bounds.write, alarm, seat.watch()),
            response,
            stream: None,
            seat,
            patience: Patience::default(),
            interim: 0,
            sight: Sight::Possible,
            bounds,
        })
    }

    /// Waits for the head of the final response, passing interim ones on. Its headers take the memory of
    /// `headers`.
    pub(in crate::proxy) async fn head(
        &mut self,
        method: &Method,
        interim: &Interim,
        mut headers: Fields,
    ) -> Result<ResponseHead, Reason> {
        let response = poll_fn(|cx| self.poll_head(cx, interim)).await?;
        let (mut head, stream) = response.into_parts();
        trim(&mut head.headers);
        self.upload.shut_if_gated();
        let is_over = stream.is_end_stream();
        self.stream = Some(stream);
        headers.read_map(&head.headers);
        Ok(ResponseHead {
            framing: framing(head.status, method, &head.headers, is_over),
            status: head.status,
            version: Version::HTTP_2,
            headers,
            kind: ResponseKind::Final,
            persistence: Persistence::KeepAlive,
        })
    }

    /// The request's body, to be sent over another connection, where it is sure that the upstream has
    /// not looked at the request because this one ends.
    pub(in crate::proxy) fn again(&self) -> Option<Replay> {
        match self.sight {
            Sight::None => self.upload.flow.source.again(),
            Sight::Possible => None,
        }
    }

    /// There will be no other try than this.
    pub(in crate::proxy) fn commit(&self) {
        self.upload.flow.source.commit();
    }

    pub(super) fn take_stream(&mut self) -> Option<RecvStream> {
        self.stream.take()
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        interim: &Interim,
    ) -> Poll<Result<Response<RecvStream>, Reason>> {
        let sent = match self.upload.poll(cx) {
            Poll::Ready(Err(reason)) => return Poll::Ready(Err(reason)),
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        while let Poll::Ready(Some(early)) = self.response.poll_informational(cx) {
            match early {
                // There is no other protocol to change to (RFC 9113, 8.6), and a client of HTTP/1.1
                // would take what follows for one.
                Ok(early) if early.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return Poll::Ready(Err(Reason::UpstreamMalformed));
                }
                Ok(early) => self.pass_on(early, interim),
                Err(error) => return Poll::Ready(Err(self.failed(&error))),
            }
            if self.interim > MOST_INTERIM {
                return Poll::Ready(Err(Reason::UpstreamMalformed));
            }
        }
        match Pin::new(&mut self.response).poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.failed(&error))),
            Poll::Pending if sent => {
                let bound = self.bounds.response_header;
                let late = self.patience.poll(cx, &self.upload.alarm, bound);
                late.map(|()| Err(Reason::UpstreamTimeout))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn pass_on(&mut self, early: Response<()>, interim: &Interim) {
        self.interim += 1;
        self.patience.renew();
        let (head, ()) = early.into_parts();
        if head.status == StatusCode::CONTINUE {
            self.upload.open_gate();
        }
        let mut headers = Fields::default();
        headers.read_map(&head.headers);
        interim.pass_on(ResponseHead {
            status: head.status,
            version: Version::HTTP_2,
            headers,
            kind: ResponseKind::Interim,
            framing: Framing::None,
            persistence: Persistence::KeepAlive,
        });
    }

    fn failed(&mut self, error: &h2::Error) -> Reason {
        if error.is_go_away() || error.is_io() {
            self.seat.leave();
        }
        if error.is_go_away() && error.is_remote() {
            self.sight = Sight::None;
        }
        unanswered(error)
    }
}

/// As a response of HTTP/1 would say it.
fn framing(status: StatusCode, method: &Method, headers: &HeaderMap, is_over: bool) -> Framing {
    let bodyless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    if bodyless || *method == Method::HEAD {
        return Framing::None;
    }
    let declared = headers.get(CONTENT_LENGTH);
    let length = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        _ if is_over => Framing::Length(0),
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}

impl Upload {
    fn new(
        out: SendStream<Bytes>,
        body: Replay,
        bound: Duration,
        alarm: &Rc<Alarm>,
        watch: &Rc<Watch>,
    ) -> Self {
        let gate = match body.wait() {
            Wait::Continue => Gate::AwaitContinue,
            Wait::Nothing | Wait::Over => Gate::Open,
        };
        let size: Size = body.size();
        let flow = match body.is_empty() {
            true => Outflow::ended(out, body),
            false => Outflow::new(out, body, size),
        };
        Self {
            flow,
            gate,
            gate_patience: Patience::default(),
            stall: Patience::default(),
            bound,
            alarm: Rc::clone(alarm),
            watch: Rc::clone(watch),
            over: false,
        }
    }

    /// Whether nothing more of it will be sent.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Ready when all is sent or the upstream takes no more; the error is the client's, or the
    /// upstream's that has stalled.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        match self.gate {
            Gate::Shut => return Poll::Ready(Ok(())),
            Gate::AwaitContinue
                if self
                    .gate_patience
                    .poll(cx, &self.alarm, CONTINUE_WAIT)
                    .is_pending() =>
            {
                return Poll::Pending;
            }
            Gate::AwaitContinue | Gate::Open => self.gate = Gate::Open,
        }
        let before = self.flow.sent;
        let progress = self.flow.poll(cx);
        if self.flow.sent != before {
            self.watch.gave();
            self.stall.renew();
        }
        match progress {
            Progress::Done | Progress::Unwanted => {
                self.over = true;
                Poll::Ready(Ok(()))
            }
            Progress::Broken(reason) => Poll::Ready(Err(reason)),
            Progress::WaitsForSource => {
                self.stall.renew();
                Poll::Pending
            }
            Progress::WaitsForRoom => {
                let stalled = self.stall.poll(cx, &self.alarm, self.bound);
                stalled.map(|()| Err(Reason::UpstreamStalled))
            }
        }
    }

    fn open_gate(&mut self) {
        if self.gate == Gate::AwaitContinue {
            self.gate = Gate::Open;
        }
    }

    fn shut_if_gated(&mut self) {
        if self.gate == Gate::AwaitContinue {
            self.gate = Gate::Shut;
            self.over = true;
        }
    }
}
