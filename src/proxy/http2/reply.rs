//! The way back of one request over HTTP/2: interim responses while it is handled, the sight of a
//! client that has given it up, and what its body has come to.
//!
//! Not here: the final response (`answer`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::{Response, StatusCode};

use super::fields::map_of;
use super::wire::Watch;
use crate::model::fields::Fields;
use crate::proxy::client::Wait;
use crate::proxy::error::Reason;
use crate::proxy::timers::Alarm;

pub(in crate::proxy) struct Reply {
    respond: RefCell<SendResponse<Bytes>>,
    pub(super) alarm: Rc<Alarm>,
    pub(super) watch: Rc<Watch>,
    /// Bytes of the request's body.
    pub(super) received: Cell<u64>,
    pub(super) wait: Cell<Wait>,
}

impl Reply {
    pub(super) fn new(
        respond: SendResponse<Bytes>,
        alarm: Rc<Alarm>,
        watch: Rc<Watch>,
    ) -> Rc<Self> {
        Rc::new(Self {
            respond: RefCell::new(respond),
            alarm,
            watch,
            received: Cell::new(0),
            wait: Cell::new(Wait::Nothing),
        })
    }

    pub(in crate::proxy) fn wait(&self) -> Wait {
        self.wait.get()
    }

    /// It is written as soon as the connection's task gets to it.
    pub(in crate::proxy) fn push_interim(&self, status: StatusCode, headers: &Fields) {
        let Ok(headers) = map_of(headers) else {
            return;
        };
        let mut interim = Response::new(());
        *interim.status_mut() = status;
        *interim.headers_mut() = headers;
        // Fails when the client has given the request up, which shows when it is looked for.
        let _ = self.respond.borrow_mut().send_informational(interim);
    }

    /// Tells a client that waits for it to send its body.
    pub(super) fn ask_for_body(&self) {
        if self.wait.get() == Wait::Continue {
            self.wait.set(Wait::Over);
            self.push_interim(StatusCode::CONTINUE, &Fields::default());
        }
    }

    /// Ready when the client has given the request up, or is gone.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Reason> {
        let reset = self.respond.borrow_mut().poll_reset(cx);
        reset.map(|_| Reason::ClientGone)
    }

    pub(super) fn send(
        &self,
        response: Response<()>,
        is_all: bool,
    ) -> Result<SendStream<Bytes>, Reason> {
        let sent = self.respond.borrow_mut().send_response(response, is_all);
        sent.map_err(|_| Reason::ClientGone)
    }

    pub(super) fn reset(&self, code: h2::Reason) {
        self.respond.borrow_mut().send_reset(code);
    }
}
