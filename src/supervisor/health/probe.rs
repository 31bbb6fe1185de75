//! One check of one endpoint, over a connection of its own.
//!
//! Not here: what the outcome means (`ledger`).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::ledger::{Outcome, Target};
use crate::model::config::{HttpProbe, Probe};
use crate::model::resolved::Address;

/// Of an answer's body, what is looked at.
const MOST_BODY: usize = 64 * 1024;
const AGENT: &str = concat!("sluice/", env!("CARGO_PKG_VERSION"), " health-check");
const GRPC_PATH: &str = "/grpc.health.v1.Health/Check";
/// Flag and length before a message of gRPC.
const GRPC_PREFIX: usize = 5;

/// Whatever a check travels over.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}
type BoxedConnection = Box<dyn Connection>;

pub(super) async fn check(target: &Target) -> Outcome {
    let bound = target.check.timeout;
    let outcome = timeout(bound, run(target)).await;
    outcome.unwrap_or_else(|_| Err(format!("no answer within {bound:?}")))
}

async fn run(target: &Target) -> Outcome {
    let connection = connect(target)
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    match &target.check.probe {
        Probe::Tcp => Ok(()),
        Probe::Http(probe) => http(target, probe, connection).await,
        Probe::Grpc { service, host } => {
            let host = host.as_ref().unwrap_or(&target.authority);
            grpc(host, service, connection).await
        }
    }
}

/// The one place that opens what a check travels over.
async fn connect(target: &Target) -> io::Result<BoxedConnection> {
    let mut connection: BoxedConnection = match &target.address {
        Address::Ip(address) => {
            let port = target.check.port.unwrap_or(address.port());
            Box::new(TcpStream::connect(SocketAddr::new(address.ip(), port)).await?)
        }
        Address::Unix(path) => Box::new(UnixStream::connect(&**path).await?),
    };
    if let Some(greeting) = &target.greeting {
        connection.write_all(greeting).await?;
    }
    Ok(connection)
}

async fn http(target: &Target, probe: &HttpProbe, connection: BoxedConnection) -> Outcome {
    let host = probe.host.as_ref().unwrap_or(&target.authority);
    let mut request = Request::builder()
        .method(probe.method.as_str())
        .uri(&probe.path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, AGENT)
        .header(header::CONNECTION, "close");
    for (name, value) in &probe.headers {
        if let Some(headers) = request.headers_mut() {
            headers.remove(name);
        }
        request = request.header(name, value.expose());
    }
    let request = request
        .body(Whole(None))
        .map_err(|error| error.to_string())?;
    let handshake = http1::handshake(TokioIo::new(connection)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let _driver = Driver(tokio::spawn(async move {
        // What goes wrong here is told by the request that waits for it.
        let _ended = connection.await;
    }));
    let response = sender.send_request(request).await;
    judge(response.map_err(|error| whole(&error))?, probe).await
}

async fn judge(response: Response<Incoming>, probe: &HttpProbe) -> Outcome {
    let status = response.status();
    let mut ranges = probe.statuses.iter();
    if !ranges.any(|(first, last)| (*first..=*last).contains(&status.as_u16())) {
        return Err(format!("status {}", status.as_u16()));
    }
    let Some(wanted) = &probe.body else {
        return Ok(());
    };
    let (body, _) = read(response.into_body()).await?;
    let found = memchr::memmem::find(&body, wanted.as_bytes());
    found
        .map(drop)
        .ok_or_else(|| "the body has not the expected text".to_owned())
}

async fn grpc(host: &str, service: &str, connection: BoxedConnection) -> Outcome {
    let request = Request::post(format!("http://{host}{GRPC_PATH}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, AGENT)
        .body(Whole(Some(question(service))))
        .map_err(|error| error.to_string())?;
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(connection)).await;
    let (mut sender, connection) = handshake.map_err(|error| whole(&error))?;
    let _driver = Driver(tokio::spawn(async move {
        // What goes wrong here is told by the request that waits for it.
        let _ended = connection.await;
    }));
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| whole(&error))?;
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("status {}", head.status.as_u16()));
    }
    let (message, trailers) = read(body).await?;
    let trailers = trailers.unwrap_or(head.headers);
    grpc_status(&trailers)?;
    match serving_status(&message) {
        Some(1) => Ok(()),
        Some(2) => Err("NOT_SERVING".to_owned()),
        Some(3) => Err("SERVICE_UNKNOWN".to_owned()),
        Some(0) => Err("UNKNOWN".to_owned()),
        _ => Err("the answer is no HealthCheckResponse".to_owned()),
    }
}

fn grpc_status(trailers: &HeaderMap) -> Outcome {
    let status = trailers
        .get("grpc-status")
        .and_then(|value| value.to_str().ok());
    match status {
        Some("0") => Ok(()),
        Some(code) => Err(format!("grpc-status {}", code.escape_debug())),
        None => Err("the answer has no grpc-status".to_owned()),
    }
}

/// `HealthCheckRequest { string service = 1; }` with its prefix.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        put_varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(
        &u32::try_from(message.len())
            .unwrap_or_default()
            .to_be_bytes(),
    );
    framed.append(&mut message);
    framed.into()
}

fn put_varint(into: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        into.push((value & 0x7f | 0x80) as u8);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Of `HealthCheckResponse { ServingStatus status = 1; }`: 0 where it is left out, as protobuf has it.
fn serving_status(framed: &[u8]) -> Option<u8> {
    match framed.get(GRPC_PREFIX..)? {
        [] => Some(0),
        [0x08, status @ 0..0x80, ..] => Some(*status),
        _ => None,
    }
}

/// As much of a body as is looked at, and its trailers.
async fn read(mut body: Incoming) -> Result<(Vec<u8>, Option<HeaderMap>), String> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| whole(&error))?;
        match frame.into_data() {
            Ok(mut data) => {
                let room = MOST_BODY.saturating_sub(bytes.len()).min(data.remaining());
                bytes.extend_from_slice(&data.split_to(room));
                if bytes.len() >= MOST_BODY {
                    break;
                }
            }
            Err(frame) => return Ok((bytes, frame.into_trailers().ok())),
        }
    }
    Ok((bytes, None))
}

/// With what is behind it: hyper says only on which of its floors it happened.
fn whole(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// Ends the connection with the check.
struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body that is there at once, or none.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_grpc_are_those_of_the_protocol() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(serving_status(b"<html>"), None);
        assert_eq!(serving_status(b""), None);
    }
}
