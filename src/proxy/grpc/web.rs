//! gRPC-Web in gRPC's place: a request of a browser becomes one of gRPC, and the answer is made so that
//! a browser can read it, its trailers at the end of the body.
//!
//! Not here: CORS, which headers of the configuration and the application see to.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TE};

use crate::model::fields::Fields;
use crate::model::grpc::Dialect;
use crate::model::grpc::web::{self, Decoder};
use crate::proxy::body::{Body, Frame, Size};
use crate::proxy::error::Reason;
use crate::proxy::message::Response;

const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// How bytes stand in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Form {
    Binary,
    Text,
}

impl Form {
    /// `None` where the request is not of gRPC-Web.
    pub(in crate::proxy) fn of(dialect: Dialect) -> Option<Self> {
        match dialect {
            Dialect::GrpcWeb => Some(Self::Binary),
            Dialect::GrpcWebText => Some(Self::Text),
            Dialect::Http | Dialect::Grpc => None,
        }
    }
}

/// Gives back the content type that the answer is to have.
pub(in crate::proxy) fn to_grpc(
    headers: &mut Fields,
    body: &mut Body,
    form: Form,
) -> Option<HeaderValue> {
    let asked = headers.get_shared(&CONTENT_TYPE);
    let asked = asked.and_then(|value| HeaderValue::from_maybe_shared(value).ok());
    if let Some(content_type) = &asked {
        headers.insert(&CONTENT_TYPE, &web::to_grpc(content_type.as_bytes()));
    }
    headers.insert(&TE, &HeaderValue::from_static("trailers"));
    headers.insert(&ACCEPT_ENCODING, &IDENTITY);
    if form == Form::Text {
        headers.remove(&CONTENT_LENGTH);
        let inner = std::mem::replace(body, Body::Empty);
        if !matches!(inner, Body::Empty) {
            *body = Body::WebRequest(Box::new(WebRequest {
                body: inner,
                decoder: Decoder::default(),
            }));
        }
    }
    asked
}

pub(in crate::proxy) fn from_grpc(response: &mut Response, form: Form, asked: HeaderValue) {
    let headers = &mut response.headers;
    if Dialect::of(headers) != Dialect::Grpc {
        return;
    }
    headers.insert(&CONTENT_TYPE, &asked);
    headers.remove(&CONTENT_LENGTH);
    let body = std::mem::replace(&mut response.body, Body::Empty);
    if body.size() != Size::Known(0) {
        response.body = Body::WebResponse(Box::new(WebResponse {
            body,
            form,
            state: State::Open,
        }));
    }
}

/// A request's body in base64, as bytes.
pub(in crate::proxy) struct WebRequest {
    pub(in crate::proxy) body: Body,
    decoder: Decoder,
}

impl WebRequest {
    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Reason>>> {
        loop {
            let frame = match self.body.poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => return Poll::Pending,
            };
            let data = match frame {
                Some(Ok(Frame::Data(text))) => self.decoder.decode(&text),
                None if !self.decoder.is_whole() => return broken(),
                other => return Poll::Ready(other),
            };
            match data {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Some(Ok(Frame::Data(data)))),
                Err(_) => return broken(),
            }
        }
    }
}

fn broken() -> Poll<Option<Result<Frame, Reason>>> {
    Poll::Ready(Some(Err(Reason::MalformedBody)))
}

/// An answer's body with its trailers at the end of it.
pub(in crate::proxy) struct WebResponse {
    body: Body,
    form: Form,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

impl WebResponse {
    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Reason>>> {
        if self.state == State::Ended {
            return Poll::Ready(None);
        }
        self.body.poll_frame(cx).map(|frame| match frame {
            Some(Ok(Frame::Data(data))) => Some(Ok(Frame::Data(self.shaped(data)))),
            Some(Ok(Frame::Trailers(trailers))) => {
                self.state = State::Ended;
                Some(Ok(Frame::Data(self.shaped(web::trailer_frame(&trailers)))))
            }
            other => other,
        })
    }

    pub(in crate::proxy) fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.body.poll_push(cx)
    }

    fn shaped(&self, data: Bytes) -> Bytes {
        match self.form {
            Form::Binary => data,
            Form::Text => web::encode(&data),
        }
    }
}
