//! `builtin://echo`: an upstream inside the program that answers with what it received, as JSON.
//! The body is counted and hashed as it comes, not collected.
//!
//! For trying things out, the query may say how to answer: `status=` (200 to 599) and `delay=` (in
//! milliseconds, at most a minute). Not here: anything that a real upstream would be needed for.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode, Uri};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::body::{Body, Frame};
use super::error::Reason;
use super::handler::Inbound;
use super::message::{Request, Response};
use super::timers::Patience;
use super::visit::Visit;
use crate::model::fields::Fields;
use crate::model::route::Route;
use crate::model::snapshot::Upstream;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const LONGEST_DELAY: Duration = Duration::from_secs(60);

pub(super) async fn answer(
    head: &Request,
    mut body: Body,
    inbound: &Inbound,
    visit: &Visit,
    route: &Route,
    upstream: &Upstream,
) -> Result<Box<Response>, Reason> {
    let received = receive(&mut body).await?;
    let wish = Wish::of(&head.uri);
    if let Some(delay) = wish.delay {
        let mut patience = Patience::default();
        poll_fn(|cx| patience.poll(cx, &inbound.alarm, delay)).await;
    }
    let report = report(head, &received, visit, route, upstream);
    let text = Body::Full(Bytes::from(format!("{report}\n")));
    let mut response = Response::new(wish.status, text);
    response.headers.insert(&CONTENT_TYPE, &JSON);
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

fn report(
    head: &Request,
    received: &Received,
    visit: &Visit,
    route: &Route,
    upstream: &Upstream,
) -> Value {
    json!({
        "method": head.method.as_str(),
        "uri": head.uri.to_string(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "version": format!("{:?}", head.version),
        "headers": lines(&head.headers),
        "client": visit.seen.client.to_string(),
        "route": route.name,
        "upstream": upstream.id,
        "generation": visit.seen.generation,
        "bodyBytes": received.bytes,
        "bodySha256": received.sha256,
        "trailers": received.trailers.as_ref().map(lines),
    })
}

/// What is left of a body that has been listened to.
struct Received {
    bytes: u64,
    sha256: String,
    trailers: Option<Fields>,
}

async fn receive(body: &mut Body) -> Result<Received, Reason> {
    let mut hash = Sha256::new();
    let (mut bytes, mut trailers) = (0, None);
    while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
        match frame? {
            Frame::Data(data) => {
                bytes += data.len() as u64;
                hash.update(&data);
            }
            Frame::Trailers(last) => trailers = Some(last),
        }
    }
    let mut sha256 = String::with_capacity(64);
    for byte in hash.finalize() {
        // Writing to memory does not fail.
        let _ = write!(sha256, "{byte:02x}");
    }
    Ok(Received {
        bytes,
        sha256,
        trailers,
    })
}

/// Names in lower case, as programs look them up.
fn lines(headers: &Fields) -> Vec<[String; 2]> {
    let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    headers
        .iter()
        .map(|(name, value)| [text(name).to_ascii_lowercase(), text(value)])
        .collect()
}
