//! Sends a request to one of an upstream's servers and brings the response. Where a try fails and the
//! policy, the budget and the request's body allow it, another server gets its chance.
//!
//! Not here: one try (`attempt`), two at once (`hedge`), whose turn it is (`upstream::admission`), and what is
//! worth another try (`model::retry`).

mod attempt;
mod hedge;
mod over_http2;

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use http::header::{EXPECT, HeaderValue, SET_COOKIE};

use super::Proxy;
use super::body::{Body, Frame};
use super::client::Wait;
use super::error::Reason;
use super::h1::ResponseKind;
use super::handler::Inbound;
use super::message::{Request, Response};
use super::placement::Placement;
use super::timers::Patience;
use super::tunnel::Switched;
use super::upstream::admission::{self, Applicant};
use super::upstream::body::{Return, UpstreamBody};
use super::upstream::endpoint::Owner;
use super::upstream::hold::Hold;
use super::upstream::http2::body::CallBody;
use super::upstream::members::{Members, Tried};
use super::upstream::replay::Replay;
use super::upstream::upload::Repeat;
use super::visit::Visit;
use crate::model::config::traffic::CircuitBreaker;
use crate::model::fields::Role;
use crate::model::headers::Told;
use crate::model::retry::{Failure, Reach, Seen};
use crate::model::snapshot::{Server, Upstream};
use crate::model::traffic::Traffic;
use attempt::{Carrier, Reached};

/// Of a response that is not passed on, as much is read for the connection's sake if it is there.
const DISCARDED: u64 = 64 * 1024;

/// The upstream that the route chose.
pub(super) struct Target<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) servers: &'a [Server],
    pub(super) members: &'a Rc<Members>,
    pub(super) traffic: &'a Traffic,
}

/// What stays the same over all tries of a request.
struct Errand<'a> {
    head: &'a mut Request,
    /// What goes with the head, unless that says it.
    told: Option<Told>,
    body: Replay,
    repeat: Repeat,
    target: &'a Target<'a>,
    placement: Placement,
    inbound: &'a Inbound,
    proxy: Rc<Proxy>,
    /// How long a server may take none of the request.
    write_timeout: Duration,
    /// How often it was sent, or would have been if there had been a connection.
    sends: Cell<u32>,
    /// How long the last new connection took.
    connect: Cell<Option<Duration>>,
}

/// What there is for the client while the next try is prepared.
#[derive(Clone, Copy)]
enum Answer<'a> {
    None,
    /// One that could be bettered. It takes up its endpoint until then, and gives its place to the next
    /// try, so nobody waits for room.
    Held(&'a Hold),
}

/// Where a request has been.
#[derive(Default)]
struct Course {
    tried: Tried,
    tries: u32,
}

pub(super) async fn forward(
    head: &mut Request,
    body: Body,
    told: Option<Told>,
    target: &Target<'_>,
    inbound: &Inbound,
    visit: &mut Visit,
) -> Result<Box<Response>, Reason> {
    let mut errand = Errand::begin(head, body, told, target, inbound, visit);
    let mut course = Course::default();
    let mut hold = admission::admit(&errand.applicant(), &course.tried).await?;
    loop {
        visit.note_try(&hold, &errand);
        let (at, result) = errand.run(hold, &mut course).await;
        visit.note_try(&at, &errand);
        let failure = errand.judge(&at, &result);
        if failure.is_some() {
            course.tried.add(&at);
        }
        hold = match (result, failure) {
            (Err(reason), failure) => {
                // It is not in flight there any more.
                drop(at);
                let next = errand.next(failure, &course, Answer::None).await;
                next.ok_or(reason)?
            }
            (Ok(reached), failure) => {
                match errand.next(failure, &course, Answer::Held(&at)).await {
                    Some(next) => {
                        errand.discard(reached, at).await;
                        next
                    }
                    None => {
                        visit.seen.upstream_head = Some(visit.seen.started.elapsed());
                        return errand.respond(reached, at);
                    }
                }
            }
        };
        errand.expect_nothing();
    }
}

impl Visit {
    /// Before a try, so that it is known of a request that is given up, and after it.
    fn note_try(&mut self, hold: &Hold, errand: &Errand<'_>) {
        self.seen.server = Some(hold.server());
        self.seen.endpoint = Some(hold.endpoint().address.clone());
        self.seen.attempts = errand.sends.get().max(self.seen.attempts);
        self.seen.connect = errand.connect.get();
    }
}

impl<'a> Errand<'a> {
    fn begin(
        head: &'a mut Request,
        body: Body,
        told: Option<Told>,
        target: &'a Target<'a>,
        inbound: &'a Inbound,
        visit: &Visit,
    ) -> Self {
        let placement = Placement::of(head, target, visit);
        let policy = &target.traffic.retry;
        let repeat = if head.method.is_idempotent() || policy.takes(&head.method) {
            Repeat::Freely
        } else {
            Repeat::Unsent
        };
        target.members.account().request(inbound.alarm.about_now());
        let mut errand = Self {
            head,
            told,
            body: Replay::new(body, policy.buffer_bytes),
            repeat,
            target,
            placement,
            inbound,
            proxy: Rc::clone(&visit.proxy),
            write_timeout: visit.active.snapshot.limits.write_timeout,
            sends: Cell::new(0),
            connect: Cell::new(None),
        };
        errand.expect_nothing();
        errand
    }

    /// A server need not be asked for leave to send what the client sends anyway.
    fn expect_nothing(&mut self) {
        let headers = &mut self.head.headers;
        if headers.of_role(Role::Expect).is_some() && self.body.wait() != Wait::Continue {
            headers.remove(&EXPECT);
        }
    }

    /// A connection that told the upstream of one client serves no other.
    fn owner(&self) -> Owner {
        let introduced = self.target.upstream.proxy_protocol.is_some();
        introduced.then(|| Rc::clone(&self.inbound.line))
    }

    fn applicant(&self) -> Applicant<'_> {
        Applicant {
            members: self.target.members,
            breaker: self.target.upstream.circuit_breaker.as_ref(),
            placement: &self.placement,
            owner: self.owner(),
            alarm: &self.inbound.alarm,
        }
    }

    /// One try, or several at once, of which the best counts.
    async fn run(&self, hold: Hold, course: &mut Course) -> (Hold, Result<Reached, Reason>) {
        course.tries += 1;
        match self.target.traffic.hedge {
            Some(hedge) if self.may_be_doubled() => {
                Box::pin(hedge::race(self, hold, hedge, course)).await
            }
            _ => {
                let result = match self.body.again() {
                    Some(body) => attempt::attempt(self, &hold, body).await,
                    None => Err(Reason::UpstreamClosed),
                };
                (hold, result)
            }
        }
    }

    /// Whether two servers may have it at once. One that changes the protocol has one connection.
    fn may_be_doubled(&self) -> bool {
        let policy = &self.target.traffic.retry;
        policy.takes(&self.head.method) && self.inbound.upgrade.is_none()
    }

    /// Tells everybody how a try went, and says what was wrong with it.
    fn judge(&self, hold: &Hold, result: &Result<Reached, Reason>) -> Option<Failure> {
        match result {
            Ok(reached) => {
                hold.answered(Some(reached.head.status));
                let account = self.target.members.account();
                account.answer(self.inbound.alarm.about_now());
                let policy = &self.target.traffic.retry;
                policy.failure_of(reached.head.status, &reached.head.headers)
            }
            Err(reason) => {
                hold.failed(*reason);
                reason.failure()
            }
        }
    }

    /// Where the request goes after a failure; `None` where it has had its chances.
    async fn next(
        &self,
        failure: Option<Failure>,
        course: &Course,
        answer: Answer<'_>,
    ) -> Option<Hold> {
        let failure = failure?;
        let traffic = self.target.traffic;
        let (members, alarm) = (self.target.members, &self.inbound.alarm);
        if !traffic
            .retry
            .allows(failure, &self.head.method, course.tries)
        {
            return None;
        }
        self.body.again()?;
        let elsewhere = members.has_other_than(&course.tried);
        if !elsewhere && traffic.retry.reach == Reach::Elsewhere {
            return None;
        }
        let account = members.account();
        if !account.may_retry(failure, traffic.budget, alarm.now()) {
            return None;
        }
        if !elsewhere || !is_the_connections(failure) {
            let random = self.proxy.scratch.random();
            let wait = traffic
                .retry
                .backoff(course.tries.saturating_sub(1), random);
            let mut patience = Patience::default();
            poll_fn(|cx| patience.poll(cx, alarm, wait)).await;
        }
        match answer {
            Answer::None => admission::admit(&self.applicant(), &course.tried)
                .await
                .ok(),
            Answer::Held(held) => admission::admit_instead(&self.applicant(), &course.tried, held),
        }
    }

    /// Lets a response go that is not passed on. What is there of it is read, so that the connection
    /// can be used again; what is not is not waited for. Where connections are bounded, the next try has
    /// taken its place, and the connection ends.
    async fn discard(&self, reached: Reached, hold: Hold) {
        let breaker = self.target.upstream.circuit_breaker.as_ref();
        if breaker.is_some_and(CircuitBreaker::bounds_connections) {
            return;
        }
        let Ok(mut response) = self.response(reached, hold) else {
            return;
        };
        let body = &mut response.body;
        let mut left = DISCARDED;
        poll_fn(|cx| {
            while left > 0 {
                match body.poll_frame(cx) {
                    Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                        left = left.saturating_sub(data.len() as u64);
                    }
                    Poll::Ready(Some(Ok(Frame::Trailers(_)))) => {}
                    Poll::Ready(None | Some(Err(_))) | Poll::Pending => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    fn respond(&self, reached: Reached, hold: Hold) -> Result<Box<Response>, Reason> {
        reached.carrier.commit();
        let cookie = hold.cookie(self.placement.token.as_deref());
        let mut response = self.response(reached, hold)?;
        if let Some(cookie) = cookie {
            response.headers.append(&SET_COOKIE, &cookie);
        }
        Ok(response)
    }

    fn response(&self, reached: Reached, hold: Hold) -> Result<Box<Response>, Reason> {
        let Reached { mut head, carrier } = reached;
        let headers = std::mem::take(&mut head.headers);
        let body = match (&head.kind, carrier) {
            (ResponseKind::Final, Carrier::Http2(call)) => {
                Body::Call(Box::new(CallBody::new(*call, &head, hold)))
            }
            (ResponseKind::Final, Carrier::Http1(exchange)) => {
                let back = Return {
                    hold,
                    bounds: self.target.upstream.keepalive,
                    owner: self.owner(),
                    idle: self.target.traffic.timeouts.idle,
                };
                Body::Upstream(Box::new(UpstreamBody::new(exchange, &head, back)))
            }
            (ResponseKind::Upgrade(protocol), Carrier::Http1(exchange))
                if was_offered(protocol, self.inbound) =>
            {
                Body::Switched(Box::new(Switched::new(exchange, hold, protocol.clone())?))
            }
            _ => return Err(Reason::UpstreamUpgrade),
        };
        let mut response = Response::new(head.status, body);
        response.headers = headers;
        debug_assert!(
            head.status != StatusCode::CONTINUE,
            "interim responses are passed on before"
        );
        Ok(response)
    }
}

impl Drop for Errand<'_> {
    fn drop(&mut self) {
        let headers = std::mem::take(&mut self.head.headers);
        self.proxy.scratch.keep(headers);
    }
}

/// Another server is not better off for a wait.
fn is_the_connections(failure: Failure) -> bool {
    failure.seen() == Seen::Never || failure == Failure::Reset
}

/// Whether the client asked for the protocol that the upstream wants to speak.
fn was_offered(protocol: &HeaderValue, inbound: &Inbound) -> bool {
    let chosen = protocol.as_bytes().trim_ascii();
    let mut offered = inbound
        .upgrade
        .iter()
        .flat_map(|all| all.as_bytes().split(|b| *b == b','));
    offered.any(|one| one.trim_ascii().eq_ignore_ascii_case(chosen))
}
