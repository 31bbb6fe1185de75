//! Whose turn it is: a request gets an endpoint at once while its upstream is below the bounds of its
//! circuit breaker, and else waits in a queue that is bounded in length and time.
//!
//! Not here: the choice among endpoints that have room (`members`).

use std::future::poll_fn;
use std::sync::atomic::{Ordering::SeqCst, fence};
use std::task::{Context, Poll};
use std::time::Duration;

use super::Errand;
use crate::model::config::traffic::CircuitBreaker;
use crate::proxy::error::Reason;
use crate::proxy::upstream::hold::Hold;
use crate::proxy::upstream::members::Tried;
use crate::proxy::upstream::queue::Spot;

/// How often the first in the queue looks for a turn that ended in another worker.
const LOOK: Duration = Duration::from_millis(10);

/// An endpoint to send the request to; others than those `tried`, where there are any.
pub(super) async fn admit(errand: &Errand<'_>, tried: &Tried) -> Result<Hold, Reason> {
    let Some(breaker) = &errand.target.upstream.circuit_breaker else {
        return errand.pick(tried).ok_or(Reason::NoAddress);
    };
    let queue = errand.target.members.account().queue();
    if queue.is_empty()
        && let Some(hold) = enter(errand, tried, breaker)?
    {
        return Ok(hold);
    }
    let spot = queue.join(breaker.whole.pending);
    let spot = spot.ok_or(Reason::UpstreamOverflow)?;
    let due = errand.inbound.alarm.now().after(breaker.pending_timeout);
    poll_fn(|cx| {
        if let Poll::Ready(turn) = poll_turn(cx, &spot, errand, tried, breaker) {
            return Poll::Ready(turn);
        }
        let late = errand.inbound.alarm.poll(cx, due);
        late.map(|()| Err(Reason::UpstreamQueueTimeout))
    })
    .await
}

/// The same without a wait.
pub(super) fn admit_now(errand: &Errand<'_>, tried: &Tried) -> Option<Hold> {
    match &errand.target.upstream.circuit_breaker {
        None => errand.pick(tried),
        Some(breaker) => {
            let queue = errand.target.members.account().queue();
            let entered = queue.is_empty().then(|| enter(errand, tried, breaker))?;
            entered.ok().flatten()
        }
    }
}

fn poll_turn(
    cx: &mut Context<'_>,
    spot: &Spot,
    errand: &Errand<'_>,
    tried: &Tried,
    breaker: &CircuitBreaker,
) -> Poll<Result<Hold, Reason>> {
    spot.attend(cx);
    if !spot.is_first() {
        return Poll::Pending;
    }
    match enter(errand, tried, breaker) {
        Ok(Some(hold)) => Poll::Ready(Ok(hold)),
        Err(reason) => Poll::Ready(Err(reason)),
        Ok(None) => {
            let alarm = &errand.inbound.alarm;
            // Pending, and woken for it.
            let _ = alarm.poll(cx, alarm.now().after(LOOK));
            Poll::Pending
        }
    }
}

/// An endpoint that has room; `None` where none has. An endpoint that is not well does not step in
/// for those that are well and full.
fn enter(
    errand: &Errand<'_>,
    tried: &Tried,
    breaker: &CircuitBreaker,
) -> Result<Option<Hold>, Reason> {
    let members = errand.target.members;
    let now = errand.inbound.alarm.about_now().millis();
    let owner = errand.owner();
    let mut avoided = tried.clone();
    let mut one_is_well = false;
    loop {
        let hold = errand.pick(&avoided).ok_or(Reason::NoAddress)?;
        // It is counted; now all who counted before us are seen, in whichever worker.
        fence(SeqCst);
        let endpoint = hold.endpoint();
        if members.is_over(&breaker.whole, endpoint, &owner) {
            return Ok(None);
        }
        let is_well = endpoint.takes_traffic(now);
        if one_is_well && !is_well {
            return Ok(None);
        }
        one_is_well |= is_well;
        if !endpoint.is_over(&breaker.endpoint, &owner) {
            return Ok(Some(hold.with_turn(members.account().queue().turn())));
        }
        if avoided.has(endpoint) {
            return Ok(None);
        }
        avoided.add(&hold);
    }
}
