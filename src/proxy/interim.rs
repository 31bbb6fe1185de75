//! Where interim responses (1xx) go: straight to the client that can take them, before the final one.

use std::rc::Rc;

use http::StatusCode;

use super::client::{Client, Wait};
use super::h1::ResponseHead;
use super::http2::Reply;
use crate::model::headers::hop;

pub(super) enum Interim {
    /// HTTP/1.0 knows no interim responses.
    Dropped,
    Http1(Rc<Client>),
    Http2(Rc<Reply>),
}

impl Interim {
    pub(super) fn pass_on(&self, mut head: ResponseHead) {
        // A 100 that is awaited is sent when the body is pulled, so that it is sent once.
        if head.status == StatusCode::CONTINUE && self.wait() != Wait::Nothing {
            return;
        }
        hop::strip(&mut head.headers);
        match self {
            Self::Dropped => {}
            Self::Http1(client) => client.push_interim(head.status, &head.headers),
            Self::Http2(reply) => reply.push_interim(head.status, &head.headers),
        }
    }

    fn wait(&self) -> Wait {
        match self {
            Self::Dropped => Wait::Nothing,
            Self::Http1(client) => client.with_incoming(|incoming| incoming.wait()),
            Self::Http2(reply) => reply.wait(),
        }
    }
}
