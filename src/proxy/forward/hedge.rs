//! A request that goes unanswered for too long is sent to another server too; the first answer counts,
//! and who is slower sees its client gone. Out of the same budget as retries.
//!
//! Not here: which requests may be sent twice; whoever calls this knows that this one may.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::attempt::{Reached, attempt};
use super::{Course, Errand};
use crate::model::config::traffic::Hedge;
use crate::model::retry::Failure;
use crate::proxy::error::Reason;
use crate::proxy::timers::Patience;
use crate::proxy::upstream::admission;
use crate::proxy::upstream::hold::Hold;
use crate::proxy::upstream::replay::Replay;

type Outcome = (Hold, Result<Reached, Reason>);

/// Tries that run at once.
struct Race<'e> {
    errand: &'e Errand<'e>,
    hedge: Hedge,
    running: Vec<Pin<Box<dyn Future<Output = Outcome> + 'e>>>,
    /// How many more may join.
    left: u32,
    /// Since the last one joined.
    patience: Patience,
}

pub(super) async fn race(
    errand: &Errand<'_>,
    first: Hold,
    hedge: Hedge,
    course: &mut Course,
) -> Outcome {
    let Some(body) = errand.body.again() else {
        return (first, Err(Reason::UpstreamClosed));
    };
    course.tried.add(&first);
    let mut race = Race {
        errand,
        hedge,
        running: vec![Box::pin(run(errand, first, body))],
        left: hedge.max,
        patience: Patience::default(),
    };
    poll_fn(|cx| race.poll(cx, course)).await
}

async fn run(errand: &Errand<'_>, hold: Hold, body: Replay) -> Outcome {
    let result = attempt(errand, &hold, body).await;
    (hold, result)
}

impl<'e> Race<'e> {
    /// Ready with the first answer, or with the last failure when all have failed.
    fn poll(&mut self, cx: &mut Context<'_>, course: &mut Course) -> Poll<Outcome> {
        loop {
            let mut at = 0;
            while let Some(one) = self.running.get_mut(at) {
                let Poll::Ready((hold, result)) = one.as_mut().poll(cx) else {
                    at += 1;
                    continue;
                };
                drop(self.running.swap_remove(at));
                match result {
                    Err(reason) if !self.running.is_empty() => hold.failed(reason),
                    result => return Poll::Ready((hold, result)),
                }
            }
            let alarm = &self.errand.inbound.alarm;
            if self.left == 0 || self.patience.poll(cx, alarm, self.hedge.after).is_pending() {
                return Poll::Pending;
            }
            self.patience.renew();
            match self.another(course) {
                Some(one) => self.running.push(one),
                None => self.left = 0,
            }
        }
    }

    fn another(
        &mut self,
        course: &mut Course,
    ) -> Option<Pin<Box<dyn Future<Output = Outcome> + 'e>>> {
        let errand = self.errand;
        let members = errand.target.members;
        if !errand.body.is_at_hand() || !members.has_other_than(&course.tried) {
            return None;
        }
        let body = errand.body.again()?;
        let (account, now) = (members.account(), errand.inbound.alarm.now());
        let budget = errand.target.traffic.budget;
        if !account.may_retry(Failure::Timeout, budget, now) {
            return None;
        }
        let hold = admission::admit_now(&errand.applicant(), &course.tried)?;
        course.tries += 1;
        course.tried.add(&hold);
        self.left -= 1;
        Some(Box::pin(run(errand, hold, body)))
    }
}
