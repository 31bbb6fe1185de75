//! The connections of HTTP/2 to one endpoint. A request takes a seat in one that has room; where none
//! has, another connection is opened, up to a bound; beyond it the request waits until somebody leaves.
//!
//! Not here: a connection (`session`), and a request (`call`).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;

use super::super::connect::Within;
use super::super::endpoint::Endpoint;
use super::session::Session;
use super::wire::Watch;
use crate::model::config::UpstreamHttp2;
use crate::proxy::Proxy;
use crate::proxy::error::Reason;
use crate::proxy::stream::Stream;
use crate::proxy::timers::{Alarm, Patience, Tick};

#[derive(Default)]
pub(in crate::proxy) struct Sessions {
    open: RefCell<Vec<Rc<Session>>>,
    /// Connections on their way.
    opening: Cell<u32>,
    /// Requests that wait for a seat.
    waiting: RefCell<Vec<Waker>>,
    /// How many they are; some may have been woken.
    waiters: Cell<u32>,
    /// Requests at once over one connection, as last asked for.
    most: Cell<u32>,
    /// What the last handshake came to, where it is the server's choice.
    agreed: Cell<Agreed>,
}

/// What a server has agreed to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Agreed {
    /// HTTP/2, or nothing yet.
    #[default]
    Http2,
    Http1,
}

/// What a request without a seat comes to.
pub(in crate::proxy) enum Seated {
    Here(Seat),
    /// The server speaks HTTP/1.1: over this connection, where this request was the one to find out.
    Http1(Option<Stream>),
}

/// On which connections are made and kept.
pub(in crate::proxy) struct Terms<'a> {
    pub(in crate::proxy) settings: &'a UpstreamHttp2,
    /// Connections to the endpoint.
    pub(in crate::proxy) most: u32,
    /// How long connecting, or waiting for a seat, may take.
    pub(in crate::proxy) within: Within,
    /// How long a connection may be without a request.
    pub(in crate::proxy) idle: Duration,
}

/// A request's place in a connection.
pub(in crate::proxy) struct Seat {
    session: Rc<Session>,
    endpoint: Rc<Endpoint>,
    alarm: Rc<Alarm>,
}

/// One connection that is being opened, or one request that waits.
struct Counted<'a>(&'a Cell<u32>);

/// What a request without a seat does.
enum Turn {
    Taken(Rc<Session>),
    Open,
    Http1,
}

/// Takes a seat in a connection to the endpoint. `opened` is told how long a new connection took.
pub(in crate::proxy) async fn seat(
    endpoint: &Rc<Endpoint>,
    terms: &Terms<'_>,
    alarm: &Rc<Alarm>,
    proxy: &Rc<Proxy>,
    opened: impl Fn(Duration),
) -> Result<Seated, Reason> {
    let sessions = endpoint.sessions();
    let turn = {
        let _waits = Counted::one(&sessions.waiters);
        let mut patience = Patience::default();
        poll_fn(|cx| match sessions.poll_turn(cx, terms) {
            Poll::Ready(turn) => Poll::Ready(Ok(turn)),
            Poll::Pending => patience
                .poll(cx, alarm, terms.within.connect)
                .map(|()| Err(Reason::UpstreamQueueTimeout)),
        })
        .await?
    };
    let session = match turn {
        Turn::Taken(session) => session,
        Turn::Http1 => return Ok(Seated::Http1(None)),
        Turn::Open => {
            let began = std::time::Instant::now();
            let opening = Opening::begin(sessions);
            let stream = Session::connect(endpoint, terms, alarm).await?;
            if endpoint.is_choosy() && !stream.speaks_http2() {
                opened(began.elapsed());
                sessions.agreed.set(Agreed::Http1);
                drop(opening);
                return Ok(Seated::Http1(Some(stream)));
            }
            let session = Session::over(stream, endpoint, terms, alarm, proxy).await?;
            opened(began.elapsed());
            sessions.open.borrow_mut().push(Rc::clone(&session));
            session.enter();
            drop(opening);
            session
        }
    };
    Ok(Seated::Here(Seat {
        session,
        endpoint: Rc::clone(endpoint),
        alarm: Rc::clone(alarm),
    }))
}

/// Takes in a connection over which HTTP/2 was agreed on where HTTP/1.1 was expected.
pub(in crate::proxy) async fn adopt(
    stream: Stream,
    endpoint: &Rc<Endpoint>,
    terms: &Terms<'_>,
    alarm: &Alarm,
    proxy: &Rc<Proxy>,
) -> Result<(), Reason> {
    let sessions = endpoint.sessions();
    sessions.agreed.set(Agreed::Http2);
    let session = Session::over(stream, endpoint, terms, alarm, proxy).await?;
    sessions.open.borrow_mut().push(session);
    sessions.wake();
    Ok(())
}

/// A connection on its way; when it is there, or has failed, those who wait look again.
struct Opening<'a> {
    sessions: &'a Sessions,
    _one: Counted<'a>,
}

impl<'a> Opening<'a> {
    fn begin(sessions: &'a Sessions) -> Self {
        Self {
            sessions,
            _one: Counted::one(&sessions.opening),
        }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.sessions.wake();
    }
}

impl Sessions {
    /// A seat where there is one, or leave to open a connection where enough are not on their way.
    fn poll_turn(&self, cx: &mut Context<'_>, terms: &Terms<'_>) -> Poll<Turn> {
        let most = terms.settings.max_concurrent_streams;
        self.most.set(most);
        if let Some(session) = self.roomiest(most) {
            session.enter();
            return Poll::Ready(Turn::Taken(session));
        }
        if self.agreed.get() == Agreed::Http1 {
            return Poll::Ready(Turn::Http1);
        }
        let opening = self.opening.get();
        let connections = self.open.borrow().len() as u64 + u64::from(opening);
        let expected = u64::from(opening) * u64::from(most);
        if connections < u64::from(terms.most) && expected < u64::from(self.waiters.get()) {
            return Poll::Ready(Turn::Open);
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|known| known.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether the server, asked, has chosen HTTP/1.1.
    pub(in crate::proxy) fn are_declined(&self) -> bool {
        self.agreed.get() == Agreed::Http1
    }

    /// The fullest that has room: the others empty, and can be closed.
    fn roomiest(&self, most: u32) -> Option<Rc<Session>> {
        let open = self.open.borrow();
        let with_room = open.iter().filter(|session| session.room(most) > 0);
        with_room
            .min_by_key(|session| session.room(most))
            .map(Rc::clone)
    }

    fn wake(&self) {
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn forget(&self, session: &Rc<Session>) {
        let mut open = self.open.borrow_mut();
        open.retain(|one| !Rc::ptr_eq(one, session));
        drop(open);
        self.wake();
    }

    /// Connections that are there or on their way.
    pub(in crate::proxy) fn count(&self) -> u64 {
        self.open.borrow().len() as u64 + u64::from(self.opening.get())
    }

    /// Whether one more request needs no other connection.
    pub(in crate::proxy) fn have_room(&self) -> bool {
        self.opening.get() > 0 || self.roomiest(self.most.get()).is_some()
    }

    /// Connections that no request uses.
    pub(in crate::proxy) fn idle_count(&self) -> usize {
        let open = self.open.borrow();
        open.iter().filter(|one| one.streams() == 0).count()
    }

    /// Closes what has been without a request for long enough.
    pub(in crate::proxy) fn sweep(&self, now: Tick) {
        let keep = |one: &Rc<Session>| one.streams() > 0 || one.until() > now;
        self.open.borrow_mut().retain(keep);
    }

    /// For a worker that takes no more requests.
    pub(in crate::proxy) fn close_idle(&self) {
        self.open.borrow_mut().retain(|one| one.streams() > 0);
    }
}

impl Seat {
    pub(super) fn watch(&self) -> &Rc<Watch> {
        self.session.watch()
    }

    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.session.sender()
    }

    /// The upstream has said that it takes no more over this connection.
    pub(super) fn leave(&self) {
        self.session.leave();
        self.endpoint.sessions().forget(&self.session);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.session.exit(self.alarm.about_now());
        self.endpoint.sessions().wake();
    }
}

impl<'a> Counted<'a> {
    fn one(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
