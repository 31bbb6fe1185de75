//! `timeouts`, `retry`, `hedge` and `circuitBreaker`: of an upstream, and of a rule that says otherwise.

use std::time::Duration;

use super::process::section;
use super::rule::method;
use crate::model::config::traffic::{
    Backoff, Bounds, CircuitBreaker, Hedge, HedgeChange, Retry, RetryBudget, RetryChange, RetryOn,
    Timeouts, TimeoutsChange, Traffic, TrafficChange,
};
use crate::model::decode::{At, Number, Reader};
use crate::model::raw::{
    RawBackoff, RawCircuitBreaker, RawEndpointBounds, RawHedge, RawRetry, RawRetryBudget, RawRule,
    RawRuleBackoff, RawRuleRetry, RawRuleTimeouts, RawTimeouts, RawUpstream,
};

/// As the upstream has it. A part that cannot be read is noted, and stands at its default.
pub(super) fn of_upstream<'t>(raw: &RawUpstream<'t>, reader: &mut Reader<'t>) -> Traffic {
    let timeouts: RawTimeouts<'t> = section(&raw.timeouts);
    let retry = section(&raw.retry);
    check_per_try(timeouts.per_try, timeouts.request, reader);
    Traffic {
        timeouts: timeouts_of(&timeouts),
        retry: retry_of(&retry, reader),
        hedge: raw.hedge.as_ref().and_then(|hedge| hedge_of(&hedge.value)),
    }
}

pub(super) fn breaker(raw: &RawUpstream<'_>) -> Option<CircuitBreaker> {
    let raw: &RawCircuitBreaker<'_> = &raw.circuit_breaker.as_ref()?.value;
    let endpoint: RawEndpointBounds<'_> = section(&raw.endpoint);
    Some(CircuitBreaker {
        whole: Bounds {
            connections: number(&raw.max_connections),
            requests: number(&raw.max_requests),
            pending: raw.max_pending().0,
        },
        endpoint: Bounds {
            connections: number(&endpoint.max_connections),
            requests: number(&endpoint.max_requests),
            pending: endpoint.max_pending().0,
        },
        pending_timeout: raw.pending_timeout(),
    })
}

/// What a rule says otherwise.
pub(super) fn of_rule<'t>(
    raw: &RawRule<'t>,
    reader: &mut Reader<'t>,
) -> Option<Box<TrafficChange>> {
    let change = change(raw, reader);
    (change != TrafficChange::default()).then(|| Box::new(change))
}

fn change<'t>(raw: &RawRule<'t>, reader: &mut Reader<'t>) -> TrafficChange {
    let timeouts: RawRuleTimeouts<'t> = section(&raw.timeouts);
    let retry: RawRuleRetry<'t> = section(&raw.retry);
    let backoff: RawRuleBackoff<'t> = section(&retry.backoff);
    let (backoff_base, backoff_max) = (value(&backoff.base), value(&backoff.max));
    if let (Some(base), Some(max)) = (&backoff.base, &backoff.max) {
        check_backoff(*base, max.value, reader);
    }
    check_per_try(timeouts.per_try, timeouts.request, reader);
    let hedge = raw.hedge.as_ref().map(|hedge| {
        let hedge = hedge_of(&hedge.value);
        hedge.map_or(HedgeChange::Off, HedgeChange::As)
    });
    TrafficChange {
        timeouts: TimeoutsChange {
            connect: value(&timeouts.connect),
            tls: value(&timeouts.tls),
            response_header: value(&timeouts.response_header),
            idle: value(&timeouts.idle),
            tunnel: value(&timeouts.tunnel),
            request: value(&timeouts.request),
            per_try: value(&timeouts.per_try),
        },
        retry: RetryChange {
            attempts: number(&retry.attempts),
            on: retry.on.as_ref().map(conditions),
            methods: methods(retry.methods.as_ref(), reader),
            backoff_base,
            backoff_max,
            buffer_bytes: value(&retry.buffer_bytes).map(|size| size.0),
        },
        hedge,
    }
}

fn timeouts_of(raw: &RawTimeouts<'_>) -> Timeouts {
    Timeouts {
        connect: raw.connect(),
        tls: raw.tls(),
        response_header: raw.response_header(),
        idle: raw.idle(),
        tunnel: raw.tunnel(),
        request: value(&raw.request),
        per_try: value(&raw.per_try),
    }
}

fn retry_of<'t>(raw: &RawRetry<'t>, reader: &mut Reader<'t>) -> Retry {
    let backoff: RawBackoff<'t> = section(&raw.backoff);
    let budget: RawRetryBudget<'t> = section(&raw.budget);
    if let Some(base) = backoff.base {
        check_backoff(base, backoff.max(), reader);
    }
    Retry {
        attempts: raw.attempts().0,
        on: raw.on.as_ref().map(conditions),
        methods: methods(raw.methods.as_ref(), reader),
        backoff: Backoff {
            base: backoff.base().min(backoff.max()),
            max: backoff.max(),
        },
        budget: RetryBudget {
            percent: budget.percent().0,
            min_per_second: budget.min_per_second().0,
        },
        buffer_bytes: raw.buffer_bytes().0,
    }
}

/// Where both stand in one place. It may be meant for a rule with more time, so it is no error.
fn check_per_try(
    per_try: Option<At<Duration>>,
    request: Option<At<Duration>>,
    reader: &mut Reader<'_>,
) {
    if let (Some(per_try), Some(request)) = (per_try, request)
        && per_try.value >= request.value
    {
        let message =
            "`perTry` is not shorter than `request`, which ends all tries: there is no second one";
        let help = "make `perTry` shorter than `request`, or leave it out";
        reader.warn(per_try.at, message, help);
    }
}

fn check_backoff(base: At<Duration>, max: Duration, reader: &mut Reader<'_>) {
    if base.value > max {
        let help = "make `base` shorter, or `max` longer; without it, `max` is 250ms";
        reader.error(base.at, "`base` is longer than `max`", help);
    }
}

fn conditions(list: &At<Vec<At<RetryOn>>>) -> Vec<RetryOn> {
    list.value.iter().map(|on| on.value).collect()
}

fn methods<'t>(
    list: Option<&At<Vec<At<&'t str>>>>,
    reader: &mut Reader<'t>,
) -> Option<Vec<String>> {
    let list = list?;
    let named = list.value.iter();
    Some(
        named
            .filter_map(|text| reader.accept(*text, method(text.value)))
            .collect(),
    )
}

/// `None` where `max` is 0.
fn hedge_of(raw: &RawHedge<'_>) -> Option<Hedge> {
    let max = raw.max().0;
    let after = value(&raw.after)?;
    (max > 0).then_some(Hedge { after, max })
}

fn value<T: Clone>(given: &Option<At<T>>) -> Option<T> {
    given.as_ref().map(|at| at.value.clone())
}

fn number<const MIN: u64, const MAX: u64>(given: &Option<At<Number<MIN, MAX>>>) -> Option<u32> {
    given.as_ref().map(|at| at.value.0)
}
