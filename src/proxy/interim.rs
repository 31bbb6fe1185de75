//! Where interim responses (1xx) go: straight to the client that can take them, before the final one.

use std::rc::Rc;

use http::StatusCode;

use super::client::{Client, Wait};
use super::h1::ResponseHead;
use crate::model::headers::hop;

pub(super) enum Interim {
    /// HTTP/1.0 knows no interim responses.
    Dropped,
    Http1(Rc<Client>),
}

impl Interim {
    pub(super) fn pass_on(&self, mut head: ResponseHead) {
        let Self::Http1(client) = self else { return };
        if head.status == StatusCode::CONTINUE {
            // One that is awaited is sent when the body is pulled, so that it is sent once.
            if client.with_incoming(|incoming| incoming.wait() != Wait::Nothing) {
                return;
            }
        }
        hop::strip(&mut head.headers);
        client.push_interim(head.status, &head.headers);
    }
}
