//! Reads bytes as hyper's server does, without a runtime: the connection is polled by hand over a
//! pipe whose end is known, until it wants no more.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use http::{HeaderName, Request, Response};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use sluice::proxy::h1::{HeadLimits, HeadScanner, parse_request};

/// Hyper must accept the first request that we accept, and see the same in it. It need not do so
/// where it is known to be narrower than the RFC.
pub fn check_request(bytes: &[u8]) {
    let mut buf = BytesMut::from(bytes);
    let head = parse_request(
        &mut buf,
        &HeadLimits::default(),
        &mut HeadScanner::default(),
    );
    let Ok(Some(ours)) = head else {
        return;
    };
    let Some(theirs) = first_request(bytes) else {
        panic!("hyper refuses {ours:?}");
    };
    assert_eq!(theirs.method(), ours.method);
    assert_eq!(theirs.uri(), &ours.uri);
    assert_eq!(theirs.version(), ours.version);
    let ours = ours.headers.to_map(HeaderName::from_bytes);
    assert_eq!(ours.as_ref(), Ok(theirs.headers()));
}

fn first_request(bytes: &[u8]) -> Option<Request<()>> {
    let seen = Rc::new(RefCell::new(None));
    let service = service_fn(|request: Request<Incoming>| {
        seen.borrow_mut().get_or_insert_with(|| request.map(|_| ()));
        answer()
    });
    let pipe = Pipe {
        bytes: bytes.to_vec(),
        at: 0,
    };
    let mut connection = pin!(http1::Builder::new().serve_connection(pipe, service));
    let mut context = Context::from_waker(Waker::noop());
    // A bound on what one input may cost: the pipe always has an answer at once.
    for _ in 0..1000 {
        if connection.as_mut().poll(&mut context).is_ready() {
            break;
        }
    }
    seen.borrow_mut().take()
}

fn answer() -> Ready<Result<Response<String>, Infallible>> {
    ready(Ok(Response::new(String::new())))
}

/// Gives its bytes, then the end; swallows what is written.
struct Pipe {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..length).unwrap_or_default());
        self.at += length;
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
