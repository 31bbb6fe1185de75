//! A message body, whatever it comes from: pulled piece by piece by who sends it on, never collected.
//!
//! Not here: how a body is framed on the wire; where it goes.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::client::{ClientBody, Wait};
use super::error::Reason;
use super::grpc::deadline::Bounded;
use super::grpc::web::{WebRequest, WebResponse};
use super::http2::StreamBody;
use super::mirror::CopiedBody;
use super::tunnel::Switched;
use super::upstream::body::UpstreamBody;
use super::upstream::http2::body::CallBody;
use crate::model::fields::Fields;

pub(super) enum Body {
    Empty,
    Full(Bytes),
    /// From an HTTP/1 client.
    Client(ClientBody),
    /// From an HTTP/2 client.
    Stream(Box<StreamBody>),
    /// From an HTTP/1 upstream; pulling it also pushes the rest of the request there.
    Upstream(Box<UpstreamBody>),
    /// From an HTTP/2 upstream.
    Call(Box<CallBody>),
    /// Of gRPC, with a deadline.
    Bounded(Box<Bounded>),
    /// Of gRPC-Web, towards gRPC and back.
    WebRequest(Box<WebRequest>),
    WebResponse(Box<WebResponse>),
    /// From a client, and on its way to a mirror too.
    Copied(Box<CopiedBody>),
    /// No body: after a 101 the upstream's connection carries another protocol.
    Switched(Box<Switched>),
}

#[derive(Debug, Clone)]
pub(super) enum Frame {
    /// Not empty.
    Data(Bytes),
    /// The last frame.
    Trailers(Fields),
}

/// What is known of a body's length before it is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Known(u64),
    Unknown,
}

impl Body {
    /// `None` is the end; after it, and after an error, it is not to be called again.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Reason>>> {
        match self {
            Self::Empty | Self::Switched(_) => Poll::Ready(None),
            Self::Full(all) => {
                let all = std::mem::take(all);
                Poll::Ready((!all.is_empty()).then(|| Ok(Frame::Data(all))))
            }
            Self::Client(body) => body.poll_frame(cx),
            Self::Stream(body) => body.poll_frame(cx),
            Self::Upstream(body) => body.poll_frame(cx),
            Self::Call(body) => body.poll_frame(cx),
            Self::Bounded(body) => body.poll_frame(cx),
            Self::WebRequest(body) => body.poll_frame(cx),
            Self::WebResponse(body) => body.poll_frame(cx),
            Self::Copied(body) => body.poll_frame(cx),
        }
    }

    /// There is no room for more of it: whoever sends it is not waited for.
    pub(super) fn pause(&self) {
        match self {
            Self::Client(body) => body.pause(),
            Self::Stream(body) => body.pause(),
            Self::WebRequest(body) => body.body.pause(),
            Self::Copied(body) => body.pause(),
            _ => {}
        }
    }

    /// Goes on with what a body does besides being pulled: a request that is still on its way to the
    /// upstream while the response comes back. Ready when there is nothing left of that.
    pub(super) fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Upstream(body) => body.poll_push(cx),
            Self::Call(body) => body.poll_push(cx),
            Self::Bounded(body) => body.poll_push(cx),
            Self::WebResponse(body) => body.poll_push(cx),
            _ => Poll::Ready(()),
        }
    }

    /// Whether its client waits to be told before it sends it.
    pub(super) fn wait(&self) -> Wait {
        match self {
            Self::Client(body) => body.wait(),
            Self::Stream(body) => body.wait(),
            Self::WebRequest(body) => body.body.wait(),
            Self::Copied(body) => body.wait(),
            _ => Wait::Nothing,
        }
    }

    pub(super) fn size(&self) -> Size {
        match self {
            Self::Empty | Self::Switched(_) => Size::Known(0),
            Self::Full(all) => Size::Known(all.len() as u64),
            Self::Client(body) => body.size(),
            Self::Stream(body) => body.size(),
            Self::Upstream(body) => body.size(),
            Self::Call(body) => body.size(),
            Self::Bounded(body) => body.size(),
            Self::WebRequest(_) | Self::WebResponse(_) => Size::Unknown,
            Self::Copied(body) => body.size(),
        }
    }
}
