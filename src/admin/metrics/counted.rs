//! Families that are counted in shared memory: keys become names here, and only here.

use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricFamily};

use super::admission::Admission;
use super::catalog::{self, Metric as Definition};
use super::{Scrape, distribution, family, sample};
use crate::admin::status::{ReloadResult, RestartReason};
use crate::shm::names::{Labels, label_ids};
use crate::shm::series::{
    ConnectionState, Family, Key, NONE, Nature, OTHER, has_no_code, split_method_and_code,
};
use crate::shm::totals::{Distribution, Totals};

/// As a label value: what is counted has no such name.
pub(in crate::admin) const NO_NAME: &str = "_none";
/// As a label value: what found no room, and methods that nobody has heard of.
pub(in crate::admin) const OTHER_NAME: &str = "_other";
const DEFAULT_MAX_SERIES: usize = 10_000;

pub(super) fn families(scrape: &Scrape<'_>, admission: &mut Admission) -> Vec<MetricFamily> {
    let limit = scrape
        .status
        .config
        .as_ref()
        .map(|config| config.metrics.max_series as usize);
    let read = readable(scrape.totals, &scrape.status.labels);
    let shown = admission.admit(read, limit.unwrap_or(DEFAULT_MAX_SERIES));
    let mut samples: BTreeMap<Family, Vec<Metric>> = BTreeMap::new();
    for (key, value) in &shown {
        samples
            .entry(key.family())
            .or_default()
            .push(one(scrape, *key, value));
    }
    add_zeroes(scrape, &shown, &mut samples, admission.dropped);
    let define = |(counted, samples)| family(definition(counted), samples);
    samples.into_iter().map(define).collect()
}

/// All series whose names are known, scalars and histograms alike.
fn readable(totals: &Totals, labels: &Labels) -> BTreeMap<Key, Distribution> {
    let scalar = |(key, sum_nanos): (&Key, &u64)| {
        (
            *key,
            Distribution {
                sum_nanos: *sum_nanos,
                ..Distribution::default()
            },
        )
    };
    let histogram = |(key, value): (&Key, &Distribution)| (*key, *value);
    let all = totals.scalars.iter().map(scalar);
    let all = all.chain(totals.histograms.iter().map(histogram));
    all.filter(|(key, _)| {
        label_ids(*key).all(|id| id == NONE || id == OTHER || labels.contains_key(&id))
    })
    .collect()
}

fn one(scrape: &Scrape<'_>, key: Key, value: &Distribution) -> Metric {
    let definition = definition(key.family());
    let values = values(scrape, key);
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    match key.family().nature() {
        Nature::Histogram => distribution(definition, &values, value),
        Nature::Counter => sample(definition, &values, value.sum_nanos as f64),
        // A gauge below zero is a gauge whose other half died with its process.
        Nature::Gauge => sample(definition, &values, (value.sum_nanos as i64).max(0) as f64),
    }
}

/// A reason nobody has met, a log without a line: an alert on an increase needs the zero before it.
fn add_zeroes(
    scrape: &Scrape<'_>,
    shown: &BTreeMap<Key, Distribution>,
    samples: &mut BTreeMap<Family, Vec<Metric>>,
    folded: u64,
) {
    let reasons = (0..scrape.reasons.len()).map(|reason| (Family::Errors, reason));
    let outcomes = [Family::LogLines, Family::Spans].into_iter();
    let outcomes = outcomes.flat_map(|family| [(family, 0), (family, 1)]);
    for (family, first) in reasons.chain(outcomes).chain([(Family::InFlight, 0)]) {
        let key = Key::new(family, u32::try_from(first).unwrap_or(OTHER), 0, 0);
        if !shown.contains_key(&key) {
            samples
                .entry(family)
                .or_default()
                .push(one(scrape, key, &Distribution::default()));
        }
    }
    let own = shown
        .iter()
        .filter(|(key, _)| key.family() == Family::DroppedSeries);
    let dropped = own.map(|(_, value)| value.sum_nanos).sum::<u64>() + folded;
    let dropped = sample(&catalog::DROPPED_SERIES, &[], dropped as f64);
    samples.insert(Family::DroppedSeries, vec![dropped]);
}

fn definition(family: Family) -> &'static Definition {
    match family {
        Family::Requests => &catalog::REQUESTS,
        Family::RequestDuration => &catalog::REQUEST_DURATION,
        Family::InFlight => &catalog::IN_FLIGHT,
        Family::Connections => &catalog::CONNECTIONS,
        Family::Accepted => &catalog::ACCEPTED,
        Family::UpstreamDuration => &catalog::UPSTREAM_DURATION,
        Family::UpstreamConnect => &catalog::UPSTREAM_CONNECT,
        Family::UpstreamConnections => &catalog::UPSTREAM_CONNECTIONS,
        Family::Retries => &catalog::RETRIES,
        Family::Errors => &catalog::ERRORS,
        Family::RequestBytes => &catalog::REQUEST_BYTES,
        Family::ResponseBytes => &catalog::RESPONSE_BYTES,
        Family::LogLines => &catalog::ACCESS_LOG,
        Family::Spans => &catalog::SPANS,
        Family::DroppedSeries => &catalog::DROPPED_SERIES,
        Family::Reloads => &catalog::RELOADS,
        Family::Restarts => &catalog::RESTARTS,
        Family::ApplyDuration => &catalog::APPLY_DURATION,
    }
}

/// A key's label values, in the order of its definition's labels.
fn values(scrape: &Scrape<'_>, key: Key) -> Vec<String> {
    let name = |id| name(&scrape.status.labels, id);
    let listed = |list: &[&str]| {
        let known = list.get(key.first() as usize).copied();
        // The overflow's id is a valid place in a list: its detail tells the two apart.
        let known = known.filter(|_| key != Key::overflow(key.family()));
        vec![known.unwrap_or(OTHER_NAME).to_owned()]
    };
    match key.family() {
        Family::Requests => {
            let (method, code) = split_method_and_code(key.detail());
            let code = match code {
                Some(code) => code.to_string(),
                None if has_no_code(key.detail()) => NO_NAME.to_owned(),
                None => OTHER_NAME.to_owned(),
            };
            vec![
                name(key.first()),
                name(key.second()),
                method.unwrap_or(OTHER_NAME).to_owned(),
                code,
            ]
        }
        Family::RequestDuration | Family::RequestBytes | Family::ResponseBytes => {
            vec![name(key.first()), name(key.second())]
        }
        Family::Connections | Family::UpstreamConnections => {
            vec![name(key.first()), state(key.second()).to_owned()]
        }
        Family::Accepted | Family::Retries | Family::UpstreamDuration | Family::UpstreamConnect => {
            vec![name(key.first())]
        }
        Family::Errors => listed(scrape.reasons),
        Family::LogLines => listed(&["written", "dropped"]),
        Family::Spans => listed(&["exported", "dropped"]),
        Family::Reloads => listed(&ReloadResult::ALL.map(ReloadResult::as_str)),
        Family::Restarts => listed(&RestartReason::ALL.map(RestartReason::as_str)),
        Family::InFlight | Family::DroppedSeries | Family::ApplyDuration => Vec::new(),
    }
}

pub(in crate::admin) fn name(labels: &Labels, id: u32) -> String {
    match id {
        NONE => NO_NAME.to_owned(),
        OTHER => OTHER_NAME.to_owned(),
        id => labels
            .get(&id)
            .cloned()
            .unwrap_or_else(|| OTHER_NAME.to_owned()),
    }
}

fn state(id: u32) -> &'static str {
    const ACTIVE: u32 = ConnectionState::Active as u32;
    const IDLE: u32 = ConnectionState::Idle as u32;
    match id {
        ACTIVE => "active",
        IDLE => "idle",
        _ => OTHER_NAME,
    }
}
