//! `builtin://echo`: an upstream inside the program that answers with what it received, as JSON.
//! The body is counted and hashed as it comes, not collected.
//!
//! For trying things out, the query may say how to answer: `status=` (200 to 599) and `delay=` (in
//! milliseconds, at most a minute). Not here: anything that a real upstream would be needed for.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode, Uri, request};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::body::{Body, Frame};
use super::error::Reason;
use super::handler::Inbound;
use super::timers::Patience;
use super::visit::Visit;
use crate::model::route::Route;
use crate::model::snapshot::Upstream;

const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Tells of the request when its body has come to its end.
pub(super) struct EchoBody {
    request: Body,
    hash: Sha256,
    bytes: u64,
    report: Value,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Listening,
    Told,
}

pub(super) async fn answer(
    request: Request<Body>,
    inbound: &Inbound,
    visit: &Visit,
    route: &Route,
    upstream: &Upstream,
) -> Result<Response<Body>, Reason> {
    let (head, body) = request.into_parts();
    let wish = Wish::of(&head.uri);
    if let Some(delay) = wish.delay {
        let mut patience = Patience::default();
        poll_fn(|cx| patience.poll(cx, &inbound.alarm, delay)).await;
    }
    let mut echo = EchoBody {
        report: report(&head, visit, route, upstream),
        request: body,
        hash: Sha256::new(),
        bytes: 0,
        state: State::Listening,
    };
    let body = match echo.request {
        Body::Empty => Body::Full(echo.tell()),
        _ => Body::Echo(Box::new(echo)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = wish.status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// What the query asks of the answer.
struct Wish {
    status: StatusCode,
    delay: Option<Duration>,
}

impl Wish {
    fn of(uri: &Uri) -> Self {
        let mut wish = Self {
            status: StatusCode::OK,
            delay: None,
        };
        for pair in uri.query().unwrap_or_default().split('&') {
            match pair.split_once('=') {
                Some(("status", value)) => {
                    let status = value.parse::<u16>().ok().filter(|s| (200..600).contains(s));
                    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
                    wish.status = status.unwrap_or(wish.status);
                }
                Some(("delay", value)) => {
                    let millis = value.parse().ok().map(Duration::from_millis);
                    wish.delay = millis.map(|delay| delay.min(LONGEST_DELAY));
                }
                _ => {}
            }
        }
        wish
    }
}

fn report(head: &request::Parts, visit: &Visit, route: &Route, upstream: &Upstream) -> Value {
    let headers: Vec<[String; 2]> = head
        .headers
        .iter()
        .map(|(name, value)| {
            [
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            ]
        })
        .collect();
    json!({
        "method": head.method.as_str(),
        "uri": head.uri.to_string(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "client": visit.seen.client.to_string(),
        "route": route.name,
        "upstream": upstream.id,
        "generation": visit.seen.generation,
    })
}

impl EchoBody {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Reason>>> {
        while self.state == State::Listening {
            match ready!(self.request.poll_frame(cx)) {
                Some(Ok(Frame::Data(data))) => {
                    self.bytes += data.len() as u64;
                    self.hash.update(&data);
                }
                Some(Ok(Frame::Trailers(trailers))) => {
                    let names: Vec<&str> = trailers.keys().map(|name| name.as_str()).collect();
                    self.add("trailers", json!(names));
                }
                Some(Err(reason)) => return Poll::Ready(Some(Err(reason))),
                None => return Poll::Ready(Some(Ok(Frame::Data(self.tell())))),
            }
        }
        Poll::Ready(None)
    }

    fn tell(&mut self) -> Bytes {
        self.state = State::Told;
        let digest = self.hash.finalize_reset();
        let mut hex = String::with_capacity(64);
        for byte in digest {
            // Writing to memory does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        self.add("bodyBytes", json!(self.bytes));
        self.add("bodySha256", json!(hex));
        Bytes::from(format!("{}\n", self.report))
    }

    fn add(&mut self, key: &str, value: Value) {
        if let Some(fields) = self.report.as_object_mut() {
            fields.insert(key.to_owned(), value);
        }
    }
}
