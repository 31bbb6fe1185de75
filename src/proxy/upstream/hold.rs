//! An endpoint that was chosen: in flight there until the work is done. Whoever holds it says how it
//! went, and what is learnt from that every worker acts on at once.
//!
//! Not here: when an endpoint is left out (`model::health::outlier`).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use http::{HeaderValue, StatusCode};

use super::endpoint::Endpoint;
use super::members::{Member, Members};
use super::queue::Turn;
use crate::model::balance::latency::Latency;
use crate::model::config::balance::Outliers;
use crate::model::health::outlier::Outcome;
use crate::proxy::error::{Reason, Side};
use crate::shm::health::{self, Board, Experience, Millis, Trust};

pub(in crate::proxy) struct Hold {
    endpoint: Rc<Endpoint>,
    server: u32,
    members: Rc<Members>,
    /// Where it matters how long it takes, until that is known.
    began: Cell<Option<Instant>>,
    /// Where others may wait for its end.
    turn: Option<Turn>,
    token: Option<Rc<str>>,
    /// Errors in a row that its head has ended: they count again if the rest of it does not come.
    forgiven: Cell<u16>,
}

impl Hold {
    pub(super) fn new(member: &Member, members: Rc<Members>) -> Self {
        member.endpoint.enter();
        members.active().add(1);
        Self {
            endpoint: Rc::clone(&member.endpoint),
            server: member.server,
            began: Cell::new(members.measure_latency().then(Instant::now)),
            members,
            turn: None,
            token: member.token.clone(),
            forgiven: Cell::new(0),
        }
    }

    /// The value of `Set-Cookie` that keeps the client here, where it does not have that cookie yet.
    pub(in crate::proxy) fn cookie(&self, sent: Option<&[u8]>) -> Option<HeaderValue> {
        let (sticky, token) = (self.members.sticky()?, self.token.as_deref()?);
        match sent == Some(token.as_bytes()) {
            true => None,
            false => sticky.setting(token),
        }
    }

    /// The request goes there: one that is on trial gets no other for a while. Until this is said, a choice
    /// that comes to nothing costs nobody a trial.
    pub(in crate::proxy) fn begin(self) -> Self {
        let outliers = &self.members.balancing().outliers;
        self.endpoint.note_choice(outliers.base_time);
        self
    }

    /// Others wait for the end of this.
    pub(in crate::proxy) fn with_turn(self, turn: Turn) -> Self {
        let mut hold = self;
        hold.turn = Some(turn);
        hold
    }

    pub(in crate::proxy) fn endpoint(&self) -> &Rc<Endpoint> {
        &self.endpoint
    }

    /// Index into the upstream's servers.
    pub(in crate::proxy) fn server(&self) -> u32 {
        self.server
    }

    /// It has answered; where there is a status, with that.
    pub(in crate::proxy) fn answered(&self, status: Option<StatusCode>) {
        let statuses = &self.members.balancing().outliers.statuses;
        match status {
            Some(status) if statuses.contains(&status.as_u16()) => {
                self.began.set(None);
                self.went_wrong();
            }
            // An answer, but no reason to send more there because it came quickly.
            Some(status) if status.is_server_error() => {
                self.began.set(None);
                self.note_fault();
                self.went_well();
            }
            _ => {
                self.note_latency(Latency::with);
                let faults = &self.endpoint.faults;
                faults.set(faults.get().after_answer());
                self.went_well();
            }
        }
    }

    /// It has not, or not to the end. What is not its fault is not held against it.
    pub(in crate::proxy) fn failed(&self, reason: Reason) {
        if reason.side() == Side::Upstream {
            self.began.set(None);
            self.went_wrong();
        }
    }

    fn went_well(&self) {
        let Some(board) = self.endpoint.board() else {
            return;
        };
        let seen = board.experience();
        if seen.streak > 0 || seen.trust == Trust::Trial {
            let now = health::now();
            self.forgiven.set(seen.streak);
            board.learn(|seen| Some(seen.after_answer(now)));
        }
        let balancing = self.members.balancing();
        if let Some(rate) = balancing.outliers.error_rate
            && self.members.are_several()
        {
            board.count(Outcome::Well, rate, health::now());
        }
    }

    fn went_wrong(&self) {
        let Some(board) = self.endpoint.board() else {
            return;
        };
        self.note_fault();
        let again = self.forgiven.take();
        let streak = board.learn(|seen| {
            let streak = seen.streak.saturating_add(again).saturating_add(1);
            Some(Experience { streak, ..seen })
        });
        let outliers = &self.members.balancing().outliers;
        let now = health::now();
        let too_many = streak.is_some_and(|seen| outliers.is_too_many(seen, now));
        let too_much = outliers
            .error_rate
            .is_some_and(|rate| board.count(Outcome::Error, rate, now).is_too_much(rate));
        if too_many || too_much {
            self.eject(board, outliers, now);
        }
    }

    fn note_fault(&self) {
        if self.members.are_several() {
            let faults = &self.endpoint.faults;
            let up_since = || self.endpoint.up_since();
            faults.set(faults.get().with_one(up_since, health::now()));
        }
    }

    /// Of an answer, or of a request that was given up; an error says nothing of how long answers take.
    fn note_latency(&self, with: fn(Latency, f64, Millis) -> Latency) {
        if let Some(began) = self.began.take() {
            let millis = began.elapsed().as_secs_f64() * 1_000.0;
            let latency = &self.endpoint.latency;
            latency.set(with(latency.get(), millis, health::now()));
        }
    }

    /// Leaves it out for a while, unless too many are out already. Another worker may think the same at
    /// this moment: whoever comes too late takes it back, so that the bound holds.
    fn eject(&self, board: Board, outliers: &Outliers, now: Millis) {
        let is_over = |more: usize| {
            let (all, out) = self.members.count_out(now);
            out + more > outliers.most_out(all)
        };
        let before = board.experience();
        // One on trial is counted already.
        if is_over(usize::from(before.trust == Trust::Full)) {
            return;
        }
        let Some(after) = board.learn(|seen| outliers.ejected(seen, now)) else {
            return;
        };
        if is_over(0) {
            board.learn(|seen| (seen.until == after.until).then_some(before));
            return;
        }
        board.forget_count();
        self.members.count_ejection();
        tracing::warn!(
            upstream = self.members.upstream(),
            endpoint = %self.endpoint.address,
            errors = before.streak,
            seconds = after.until.since(now).as_secs_f64(),
            "endpoint ejected"
        );
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.note_latency(Latency::with_at_least);
        self.endpoint.leave();
        self.members.active().sub(1);
        // It is over for whoever is woken by that.
        self.turn = None;
    }
}
