//! Copies of requests for another upstream. The client's request does not wait for its copy, and what
//! becomes of it nobody sees but the counters.
//!
//! A copy is sent when the request's body has gone by: it is gathered on the way, up to a bound.
//! Not here: how a request is sent (`forward`).

use std::cell::Cell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::uri::Authority;

use super::Proxy;
use super::active::Active;
use super::body::{Body, Frame, Size};
use super::client::Wait;
use super::error::Reason;
use super::forward::{self, Target};
use super::handler::Inbound;
use super::interim::Interim;
use super::line::Line;
use super::message::Request;
use super::timers::{Alarm, before};
use super::visit::Visit;
use crate::model::config::Mirror;
use crate::model::random::Random;
use crate::model::route::{Route, RouteTable};
use crate::model::snapshot;
use crate::shm::series::{Copied, Family, Key, OTHER};

/// From the sending of a copy to the end of its answer.
const LONGEST: Duration = Duration::from_secs(60);

/// What the copies of one worker have in common.
pub(super) struct Mirrors {
    random: Random,
}

/// How many copies are under way, for each rule that makes some. A rule that a reload keeps goes on
/// where it was.
#[derive(Default)]
pub(super) struct UnderWay(HashMap<Box<str>, Rc<Cell<u32>>>);

/// One request's copy. Counted at its end, as what has become of it by then.
struct Copy {
    proxy: Rc<Proxy>,
    active: Arc<Active>,
    /// Of its rule, this one included.
    under_way: Rc<Cell<u32>>,
    /// Into the snapshot's upstreams.
    upstream: u32,
    head: Request,
    line: Rc<Line>,
    authority: Option<Authority>,
    /// Who is behind the connection.
    client: IpAddr,
    fate: Cell<Copied>,
}

/// A request's body that is gathered while it goes by.
pub(super) struct CopiedBody {
    inner: Body,
    /// Before any of it was pulled.
    size: Size,
    /// `None` once it is sent or given up.
    copy: Option<Copy>,
    gathered: BytesMut,
    bound: usize,
}

impl Default for Mirrors {
    fn default() -> Self {
        Self {
            random: Random::new(RandomState::new().hash_one("mirrors")),
        }
    }
}

impl UnderWay {
    pub(super) fn build(routes: &RouteTable, before: Option<&Self>) -> Self {
        let routes = routes.routes().iter();
        let counter = |route: &Route| {
            let known = before.and_then(|before| before.0.get(&route.name));
            (route.name.clone(), known.cloned().unwrap_or_default())
        };
        Self(
            routes
                .filter(|route| route.mirror.is_some())
                .map(counter)
                .collect(),
        )
    }
}

/// The request's body as it is to be sent on; what it takes to make a copy goes with it.
pub(super) fn split(
    head: &Request,
    body: Body,
    route: &Route,
    inbound: &Inbound,
    visit: &Visit,
) -> Body {
    let (Some(mirror), Some(under_way)) = (
        &route.mirror,
        visit.active.mirrored.0.get(&route.name).cloned(),
    ) else {
        return body;
    };
    let mirrors = &visit.proxy.mirrors;
    let is_chosen = mirrors.random.below(100) < u64::from(mirror.percent);
    // A tunnel has no copy: nobody would speak to its other end.
    if !is_chosen || inbound.upgrade.is_some() {
        return body;
    }
    let has_room = under_way.get() < mirror.max_in_flight;
    let size = body.size();
    let is_too_long = matches!(size, Size::Known(size) if size > u64::from(mirror.max_body));
    if !has_room || is_too_long {
        count(
            &visit.proxy,
            &visit.active,
            mirror.upstream,
            Copied::Dropped,
        );
        return body;
    }
    let copy = Copy::of(head, mirror, under_way, inbound, visit);
    if matches!(body, Body::Empty) {
        copy.send(Body::Empty);
        return body;
    }
    let mut copied = CopiedBody {
        inner: body,
        size,
        copy: Some(copy),
        gathered: BytesMut::new(),
        bound: mirror.max_body as usize,
    };
    copied.send_if_whole();
    Body::Copied(Box::new(copied))
}

impl Copy {
    fn of(
        head: &Request,
        mirror: &Mirror,
        under_way: Rc<Cell<u32>>,
        inbound: &Inbound,
        visit: &Visit,
    ) -> Self {
        under_way.set(under_way.get() + 1);
        Self {
            under_way,
            proxy: Rc::clone(&visit.proxy),
            active: Arc::clone(&visit.active),
            upstream: mirror.upstream,
            head: copy_of(head),
            line: Rc::clone(&inbound.line),
            authority: inbound.authority.clone(),
            client: visit.seen.client,
            fate: Cell::new(Copied::Dropped),
        }
    }

    fn send(self, body: Body) {
        self.fate.set(Copied::Failed);
        // Ends within its bound, or with the worker; nobody waits for it.
        drop(tokio::task::spawn_local(async move {
            let alarm = Rc::new(self.proxy.timers.alarm());
            let due = alarm.now().after(LONGEST);
            let answered = {
                let running = pin!(self.run(body, &alarm));
                before(Some(due), &alarm, running).await
            };
            if matches!(answered, Some(Ok(()))) {
                self.fate.set(Copied::Answered);
            }
        }));
    }

    async fn run(&self, body: Body, alarm: &Rc<Alarm>) -> Result<(), Reason> {
        let upstreams = &self.active.snapshot.upstreams;
        let upstream = upstreams.get(self.upstream as usize);
        let upstream = upstream.ok_or(Reason::NoAddress)?;
        let snapshot::Target::Servers(servers) = &upstream.target else {
            // Nobody hears what it would echo.
            return Ok(());
        };
        let target = Target {
            upstream,
            servers,
            members: self
                .active
                .members(self.upstream)
                .ok_or(Reason::NoAddress)?,
            traffic: &upstream.traffic,
        };
        let inbound = Inbound {
            line: Rc::clone(&self.line),
            authority: self.authority.clone(),
            upgrade: None,
            interim: Interim::Dropped,
            alarm: Rc::clone(alarm),
        };
        let mut visit = Visit::unseen(&self.proxy, Arc::clone(&self.active), self.line.ends.peer);
        visit.seen.client = self.client;
        let mut head = copy_of(&self.head);
        let sent = forward::forward(&mut head, body, None, &target, &inbound, &mut visit);
        let response = sent.await?;
        let mut body = response.body;
        while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
            frame?;
        }
        poll_fn(|cx| body.poll_push(cx)).await;
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        count(&self.proxy, &self.active, self.upstream, self.fate.get());
        let under_way = self.under_way.get();
        self.under_way.set(under_way.saturating_sub(1));
    }
}

fn count(proxy: &Proxy, active: &Active, upstream: u32, fate: Copied) {
    let members = active.members(upstream);
    let label = members.map_or(OTHER, |members| members.label());
    let key = Key::new(Family::Mirrored, label, fate as u32, 0);
    proxy.observer.recorder().counter(key).add(1);
}

fn copy_of(head: &Request) -> Request {
    Request {
        method: head.method.clone(),
        uri: head.uri.clone(),
        version: head.version,
        headers: head.headers.clone(),
    }
}

impl CopiedBody {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Reason>>> {
        let frame = self.inner.poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                self.gather(data);
                self.send_if_whole();
            }
            // Trailers stay with the original.
            Poll::Ready(Some(Ok(Frame::Trailers(_))) | None) => self.send(),
            Poll::Ready(Some(Err(_))) => self.copy = None,
            Poll::Pending => {}
        }
        frame
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    pub(super) fn wait(&self) -> Wait {
        self.inner.wait()
    }

    pub(super) fn pause(&self) {
        self.inner.pause();
    }

    fn gather(&mut self, data: &[u8]) {
        if self.copy.is_none() {
            return;
        }
        if self.gathered.len() + data.len() > self.bound {
            self.copy = None;
            self.gathered = BytesMut::new();
        } else {
            self.gathered.extend_from_slice(data);
        }
    }

    /// Who knows the length does not ask for an end.
    fn send_if_whole(&mut self) {
        if self.size == Size::Known(self.gathered.len() as u64) {
            self.send();
        }
    }

    fn send(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.send(Body::Full(std::mem::take(&mut self.gathered).freeze()));
        }
    }
}
