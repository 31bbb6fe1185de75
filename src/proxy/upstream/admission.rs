//! Whose turn it is: a request, or a connection that is passed on, gets an endpoint at once while its
//! upstream is below the bounds of its circuit breaker, and else waits in a queue that is bounded in
//! length and time.
//!
//! Not here: the choice among endpoints that have room (`members`).

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{Ordering::SeqCst, fence};
use std::task::{Context, Poll};
use std::time::Duration;

use super::endpoint::Owner;
use super::hold::Hold;
use super::members::{Ask, Members, Tried};
use super::queue::Spot;
use crate::model::config::traffic::CircuitBreaker;
use crate::proxy::error::Reason;
use crate::proxy::placement::Placement;
use crate::proxy::timers::Alarm;

/// How often the first in the queue looks for a turn that ended in another worker.
const LOOK: Duration = Duration::from_millis(10);

/// Who wants an endpoint.
pub(in crate::proxy) struct Applicant<'a> {
    pub(in crate::proxy) members: &'a Rc<Members>,
    /// No bounds without one.
    pub(in crate::proxy) breaker: Option<&'a CircuitBreaker>,
    pub(in crate::proxy) placement: &'a Placement,
    pub(in crate::proxy) owner: Owner,
    pub(in crate::proxy) alarm: &'a Alarm,
}

/// An endpoint to go to; others than those `tried`, where there are any.
pub(in crate::proxy) async fn admit(
    applicant: &Applicant<'_>,
    tried: &Tried,
) -> Result<Hold, Reason> {
    let Some(breaker) = applicant.breaker else {
        let hold = applicant.pick(tried).ok_or(Reason::NoAddress)?;
        return Ok(hold.begin());
    };
    let queue = applicant.members.account().queue();
    if queue.is_empty()
        && let Some(hold) = enter(applicant, tried, breaker, None)?
    {
        return Ok(hold);
    }
    let spot = queue.join(breaker.whole.pending);
    let spot = spot.ok_or(Reason::UpstreamOverflow)?;
    let due = applicant.alarm.now().after(breaker.pending_timeout);
    poll_fn(|cx| {
        if let Poll::Ready(turn) = poll_turn(cx, &spot, applicant, tried, breaker) {
            return Poll::Ready(turn);
        }
        let late = applicant.alarm.poll(cx, due);
        late.map(|()| Err(Reason::UpstreamQueueTimeout))
    })
    .await
}

/// The same without a wait.
pub(in crate::proxy) fn admit_now(applicant: &Applicant<'_>, tried: &Tried) -> Option<Hold> {
    match applicant.breaker {
        None => applicant.pick(tried).map(Hold::begin),
        Some(breaker) => {
            let queue = applicant.members.account().queue();
            let entered = queue
                .is_empty()
                .then(|| enter(applicant, tried, breaker, None))?;
            entered.ok().flatten()
        }
    }
}

/// The same in place of one that is about to be let go: nobody waits, since the place is there, and
/// nobody in the queue is passed over.
pub(in crate::proxy) fn admit_instead(
    applicant: &Applicant<'_>,
    tried: &Tried,
    held: &Hold,
) -> Option<Hold> {
    match applicant.breaker {
        None => applicant.pick(tried).map(Hold::begin),
        Some(breaker) => {
            let entered = enter(applicant, tried, breaker, Some(held));
            entered.ok().flatten()
        }
    }
}

fn poll_turn(
    cx: &mut Context<'_>,
    spot: &Spot,
    applicant: &Applicant<'_>,
    tried: &Tried,
    breaker: &CircuitBreaker,
) -> Poll<Result<Hold, Reason>> {
    spot.attend(cx);
    if !spot.is_first() {
        return Poll::Pending;
    }
    match enter(applicant, tried, breaker, None) {
        Ok(Some(hold)) => Poll::Ready(Ok(hold)),
        Err(reason) => Poll::Ready(Err(reason)),
        Ok(None) => {
            let alarm = applicant.alarm;
            // Pending, and woken for it.
            let _ = alarm.poll(cx, alarm.now().after(LOOK));
            Poll::Pending
        }
    }
}

/// An endpoint that has room, that of `replaced` included; `None` where none has. An endpoint that is
/// not well does not step in for those that are well and full.
fn enter(
    applicant: &Applicant<'_>,
    tried: &Tried,
    breaker: &CircuitBreaker,
    replaced: Option<&Hold>,
) -> Result<Option<Hold>, Reason> {
    let members = applicant.members;
    let now = applicant.alarm.about_now().millis();
    let owner = &applicant.owner;
    let mut avoided = tried.clone();
    let mut one_is_well = false;
    loop {
        let hold = applicant.pick(&avoided).ok_or(Reason::NoAddress)?;
        // It is counted; now all who counted before us are seen, in whichever worker.
        fence(SeqCst);
        let endpoint = hold.endpoint();
        let freed = u64::from(replaced.is_some());
        if members.is_over(&breaker.whole, endpoint, owner, freed) {
            return Ok(None);
        }
        let is_well = endpoint.takes_traffic(now);
        if one_is_well && !is_well {
            return Ok(None);
        }
        one_is_well |= is_well;
        let is_same = |held: &Hold| Rc::ptr_eq(held.endpoint(), endpoint);
        let freed = u64::from(replaced.is_some_and(is_same));
        if !endpoint.is_over(&breaker.endpoint, owner, freed) {
            let turn = members.account().queue().turn();
            return Ok(Some(hold.with_turn(turn).begin()));
        }
        if avoided.has(endpoint) {
            return Ok(None);
        }
        avoided.add(&hold);
    }
}

impl Applicant<'_> {
    fn pick(&self, avoided: &Tried) -> Option<Hold> {
        let ask = Ask {
            now: self.alarm.about_now().millis(),
            tried: avoided,
            key: self.placement.key,
            token: self.placement.token.as_deref(),
        };
        self.members.pick(&ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::traffic::Bounds;
    use crate::proxy::timers::Timers;
    use crate::proxy::upstream::members::stage::Stage;
    use crate::shm::health::{self, Experience, Trust};

    fn at_most(requests: u32) -> Bounds {
        Bounds {
            connections: None,
            requests: Some(requests),
            pending: 8,
        }
    }

    #[test]
    fn a_choice_that_finds_no_room_costs_nobody_a_trial() {
        let mut stage = Stage::set();
        stage.balancing.outliers.base_time = Duration::from_secs(3_600);
        let members = stage.members(&["10.0.0.1", "10.0.0.2"], None);
        let on_trial = |seen| {
            let trust = Trust::Trial;
            Some(Experience { trust, ..seen })
        };
        stage.board(1).learn(on_trial);
        let timers = Timers::new();
        let (alarm, placement) = (timers.alarm(), Placement::default());
        let breaker = CircuitBreaker {
            whole: at_most(1),
            endpoint: at_most(1),
            pending_timeout: Duration::from_secs(1),
        };
        let applicant = Applicant {
            members: &members,
            breaker: Some(&breaker),
            placement: &placement,
            owner: None,
            alarm: &alarm,
        };
        let tried = Tried::default();
        let is_its = |hold: &Hold| hold.endpoint().address.to_string() == "10.0.0.1:80";
        let first = loop {
            match admit_now(&applicant, &tried) {
                Some(hold) if is_its(&hold) => {
                    stage.board(1).begin_trial(health::now());
                }
                found => break found.expect("room for one"),
            }
        };
        for _ in 0..20 {
            assert!(admit_now(&applicant, &tried).is_none(), "there is no room");
            assert!(stage.board(1).takes_trial(health::now()));
        }
        drop(first);
        let all = (0..20).filter_map(|_| admit_now(&applicant, &tried));
        assert_eq!(all.filter(is_its).count(), 1, "its trial");
        assert!(!stage.board(1).takes_trial(health::now()));
    }
}
