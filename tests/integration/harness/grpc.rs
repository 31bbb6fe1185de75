//! A gRPC health service: HTTP/2 by hyper, one answer for every question.

use std::convert::Infallible;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body, Frame};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

/// Until the other side ends the connection. What goes wrong ends it too, which is what tests look at.
pub(crate) fn serve(stream: TcpStream, status: &Arc<AtomicUsize>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    stream.set_nonblocking(true).unwrap();
    runtime.block_on(async {
        let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream).unwrap());
        let answer = service_fn(|_| {
            let status = Arc::clone(status);
            async move {
                let status = status.load(Ordering::SeqCst) as u8;
                let response = Response::builder().header("content-type", "application/grpc");
                Ok::<_, Infallible>(response.body(Answer::new(status)).unwrap())
            }
        });
        let _ended = http2::Builder::new(TokioExecutor::new())
            .serve_connection(stream, answer)
            .await;
    });
}

/// A `HealthCheckResponse`, then `grpc-status: 0`.
struct Answer(Vec<Frame<Bytes>>);

impl Answer {
    fn new(status: u8) -> Answer {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
        Answer(vec![Frame::trailers(trailers), Frame::data(message)])
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}
