//! One check of one endpoint, over a connection of its own.
//!
//! Not here: what the outcome means (`ledger`).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::uri::Scheme;
use http::{HeaderMap, Request, Response, header};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::ledger::{Language, Outcome, Target};
use crate::model::config::{HttpProbe, Probe};
use crate::model::resolved::Address;

mod grpc;
mod secured;

use secured::Secured;

/// Of an answer's body, what is looked at.
const MOST_BODY: usize = 64 * 1024;
const AGENT: &str = concat!("sluice/", env!("CARGO_PKG_VERSION"), " health-check");

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
    let opened = secure(target, connection).await?;
    match &target.check.probe {
        Probe::Tcp => Ok(()),
        Probe::Http(probe) => http(target, probe, opened).await,
        Probe::Grpc { service, host } => {
            let host = host.as_ref().unwrap_or(&target.authority);
            grpc::ask(host, service, opened).await
        }
    }
}

/// The one place that opens what a check travels over.
async fn connect(target: &Target) -> io::Result<Raw> {
    let mut raw = match &target.address {
        Address::Ip(address) => {
            let port = target.check.port.unwrap_or(address.port());
            Raw::Tcp(TcpStream::connect(SocketAddr::new(address.ip(), port)).await?)
        }
        Address::Unix(path) => Raw::Unix(UnixStream::connect(&**path).await?),
    };
    if let Some(greeting) = &target.greeting {
        match &mut raw {
            Raw::Tcp(tcp) => tcp.write_all(greeting).await?,
            Raw::Unix(unix) => unix.write_all(greeting).await?,
        }
    }
    Ok(raw)
}

enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection over which the question can be asked.
struct Opened {
    stream: BoxedConnection,
    scheme: Scheme,
    language: Language,
}

/// Shakes hands where that is how requests come to the endpoint.
async fn secure(target: &Target, raw: Raw) -> Result<Opened, String> {
    let (tcp, tls) = match (raw, &target.tls) {
        (Raw::Tcp(tcp), Some(tls)) => (tcp, tls),
        (raw, _) => {
            return Ok(Opened {
                stream: match raw {
                    Raw::Tcp(tcp) => Box::new(tcp),
                    Raw::Unix(unix) => Box::new(unix),
                },
                scheme: Scheme::HTTP,
                language: target.language,
            });
        }
    };
    let config = Arc::clone(&tls.client);
    let stream = Secured::shake(config, tls.name.clone(), tcp).await;
    let stream = stream.map_err(|error| format!("no TLS: {error}"))?;
    let language = match stream.speaks_http2() {
        true => Language::Http2,
        false => Language::Http1,
    };
    if matches!(target.check.probe, Probe::Grpc { .. }) && language != Language::Http2 {
        return Err("the server does not agree to HTTP/2".to_owned());
    }
    Ok(Opened {
        stream: Box::new(stream),
        scheme: Scheme::HTTPS,
        language,
    })
}

async fn http(target: &Target, probe: &HttpProbe, opened: Opened) -> Outcome {
    let host = probe.host.as_ref().unwrap_or(&target.authority);
    let request = Request::builder()
        .method(probe.method.as_str())
        .header(header::USER_AGENT, AGENT);
    let mut request = match opened.language {
        Language::Http1 => request
            .uri(&probe.path)
            .header(header::HOST, host)
            .header(header::CONNECTION, "close"),
        Language::Http2 => {
            let scheme = opened.scheme.as_str();
            request.uri(format!("{scheme}://{host}{}", probe.path))
        }
    };
    for (name, value) in &probe.headers {
        if let Some(headers) = request.headers_mut() {
            headers.remove(name);
        }
        request = request.header(name, value.expose());
    }
    let request = request
        .body(Whole(None))
        .map_err(|error| error.to_string())?;
    let response = match opened.language {
        Language::Http1 => over_http1(opened.stream, request).await?,
        Language::Http2 => over_http2(opened.stream, request).await?,
    };
    judge(response, probe).await
}

/// An answer, and the connection that the rest of it comes over.
struct Answer {
    response: Response<Incoming>,
    _driver: Driver,
}

async fn over_http1(
    connection: BoxedConnection,
    request: Request<Whole>,
) -> Result<Answer, String> {
    let handshake = http1::handshake(TokioIo::new(connection)).await;
    let (mut sender, connection) = handshake.map_err(|error| whole(&error))?;
    // What goes wrong there is told by the request that waits for it.
    let driver = Driver(tokio::spawn(async move { drop(connection.await) }));
    let response = sender.send_request(request).await;
    Ok(Answer {
        response: response.map_err(|error| whole(&error))?,
        _driver: driver,
    })
}

async fn over_http2(
    connection: BoxedConnection,
    request: Request<Whole>,
) -> Result<Answer, String> {
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(connection)).await;
    let (mut sender, connection) = handshake.map_err(|error| whole(&error))?;
    // What goes wrong there is told by the request that waits for it.
    let driver = Driver(tokio::spawn(async move { drop(connection.await) }));
    let response = sender.send_request(request).await;
    Ok(Answer {
        response: response.map_err(|error| whole(&error))?,
        _driver: driver,
    })
}

async fn judge(answer: Answer, probe: &HttpProbe) -> Outcome {
    let status = answer.response.status();
    let mut ranges = probe.statuses.iter();
    if !ranges.any(|(first, last)| (*first..=*last).contains(&status.as_u16())) {
        return Err(format!("status {}", status.as_u16()));
    }
    let Some(wanted) = &probe.body else {
        return Ok(());
    };
    let (body, _) = read(answer.response.into_body()).await?;
    let found = memchr::memmem::find(&body, wanted.as_bytes());
    found
        .map(drop)
        .ok_or_else(|| "the body has not the expected text".to_owned())
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
