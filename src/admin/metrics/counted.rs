//! Families that are counted in shared memory: keys become names here, and only here. They are the many
//! lines of a page, so they are written at once, without a `MetricFamily` in between.

use super::Scrape;
use super::admission::{Admission, Shown};
use super::catalog::{self, Metric as Definition};
use super::text::{Labels as LabelText, Page};
use crate::admin::status::{ReloadResult, RestartReason};
use crate::model::health::{CheckResult, Verdict};
use crate::model::resolved::LookupResult;
use crate::shm::names::{Labels, label_ids};
use crate::shm::series::{
    ConnectionState, Copied, Direction, Family, Handshake, Key, NONE, Nature, OTHER, has_no_code,
    split_method_and_code,
};

/// As a label value: what is counted has no such name.
pub(in crate::admin) const NO_NAME: &str = "_none";
/// As a label value: what found no room, and methods that nobody has heard of.
pub(in crate::admin) const OTHER_NAME: &str = "_other";
const DEFAULT_MAX_SERIES: usize = 10_000;

/// What is shown of the counted families.
pub(super) struct Counted<'a> {
    scrape: &'a Scrape<'a>,
    shown: Shown,
}

impl<'a> Counted<'a> {
    pub(super) fn read(scrape: &'a Scrape<'a>, admission: &mut Admission) -> Counted<'a> {
        let config = scrape.status.config.as_ref();
        let limit = config.map(|config| config.metrics.max_series as usize);
        let labels = &scrape.status.labels;
        let is_named = |key: Key| {
            let mut ids = label_ids(key);
            ids.all(|id| id == NONE || id == OTHER || labels.contains_key(&id))
        };
        let limit = limit.unwrap_or(DEFAULT_MAX_SERIES);
        let mut shown = admission.admit(scrape.totals, is_named, limit);
        add_zeroes(scrape, &mut shown);
        let dropped = Key::new(Family::DroppedSeries, 0, 0, 0);
        let own = shown
            .scalars
            .extract_if(.., |(key, _)| key.family() == Family::DroppedSeries);
        let own: u64 = own.map(|(_, value)| value).sum();
        shown.add_scalar(dropped, own + admission.dropped);
        Counted { scrape, shown }
    }

    /// Those that have something to show, with their names.
    pub(super) fn families(&self) -> impl Iterator<Item = (&'static str, Family)> {
        let all = Family::ALL.into_iter();
        let all = all.filter(|family| !self.is_empty(*family));
        all.map(|family| (definition(family).name, family))
    }

    fn is_empty(&self, family: Family) -> bool {
        match family.nature() {
            Nature::Histogram => of(&self.shown.histograms, family).is_empty(),
            Nature::Counter | Nature::Gauge => of(&self.shown.scalars, family).is_empty(),
        }
    }

    pub(super) fn write(&self, family: Family, page: &mut Page) {
        let definition = definition(family);
        page.head(definition.name, definition.help, definition.kind);
        let mut labels = LabelText::default();
        for (key, value) in of(&self.shown.scalars, family) {
            let value = match family.nature() {
                // A gauge below zero is a gauge whose other half died with its process.
                Nature::Gauge => (*value as i64).max(0) as f64,
                Nature::Counter | Nature::Histogram => *value as f64,
            };
            self.label(*key, definition, &mut labels);
            page.sample(definition.name, &labels, value);
        }
        for (key, value) in of(&self.shown.histograms, family) {
            self.label(*key, definition, &mut labels);
            page.distribution(definition.name, &labels, value);
        }
    }

    fn label(&self, key: Key, definition: &Definition, labels: &mut LabelText) {
        labels.clear();
        let mut code = String::new();
        let values = values(self.scrape, key, &mut code);
        for (name, value) in definition.labels.iter().zip(values) {
            labels.add(name, value);
        }
    }
}

/// The part of a sorted list that is of one family.
fn of<T>(list: &[(Key, T)], family: Family) -> &[(Key, T)] {
    let from = list.partition_point(|(key, _)| key.family() < family);
    let to = list.partition_point(|(key, _)| key.family() <= family);
    list.get(from..to).unwrap_or_default()
}

/// A reason nobody has met, a log without a line: an alert on an increase needs the zero before it.
fn add_zeroes(scrape: &Scrape<'_>, shown: &mut Shown) {
    let reasons = (0..scrape.reasons.len()).map(|reason| (Family::Errors, reason));
    let outcomes = [Family::LogLines, Family::Spans].into_iter();
    let outcomes = outcomes.flat_map(|family| [(family, 0), (family, 1)]);
    for (family, first) in reasons.chain(outcomes).chain([(Family::InFlight, 0)]) {
        let first = u32::try_from(first).unwrap_or(OTHER);
        shown.add_scalar(Key::new(family, first, 0, 0), 0);
    }
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
        Family::Ejections => &catalog::EJECTIONS,
        Family::Lookups => &catalog::DNS_LOOKUPS,
        Family::HealthChecks => &catalog::HEALTH_CHECKS,
        Family::HealthChanges => &catalog::HEALTH_CHANGES,
        Family::Handshakes => &catalog::HANDSHAKES,
        Family::Mirrored => &catalog::MIRRORED,
        Family::Tunnels => &catalog::TUNNELS,
        Family::TunnelsOpened => &catalog::TUNNELS_OPENED,
        Family::TunnelBytes => &catalog::TUNNEL_BYTES,
        Family::TcpConnections => &catalog::TCP_CONNECTIONS,
        Family::TcpOpened => &catalog::TCP_OPENED,
        Family::TcpBytes => &catalog::TCP_BYTES,
        Family::TcpDuration => &catalog::TCP_DURATION,
    }
}

/// A key's label values, in the order of its definition's labels, and no more of them than it has.
/// `code` is room for one that is a number.
fn values<'v>(scrape: &'v Scrape<'_>, key: Key, code: &'v mut String) -> [&'v str; 4] {
    let name = |id| name(&scrape.status.labels, id);
    let listed = |list: &[&'static str]| {
        let known = list.get(key.first() as usize).copied();
        // The overflow's id is a valid place in a list: its detail tells the two apart.
        let known = known.filter(|_| key != Key::overflow(key.family()));
        [known.unwrap_or(OTHER_NAME), "", "", ""]
    };
    match key.family() {
        Family::Requests => {
            let (method, number) = split_method_and_code(key.detail());
            *code = match number {
                Some(number) => number.to_string(),
                None if has_no_code(key.detail()) => NO_NAME.to_owned(),
                None => OTHER_NAME.to_owned(),
            };
            let method = method.unwrap_or(OTHER_NAME);
            [name(key.first()), name(key.second()), method, code]
        }
        Family::RequestDuration | Family::RequestBytes | Family::ResponseBytes => {
            [name(key.first()), name(key.second()), "", ""]
        }
        Family::Connections | Family::UpstreamConnections => {
            [name(key.first()), state(key.second()), "", ""]
        }
        Family::Handshakes => {
            let result = Handshake::ALL.get(usize::from(key.detail()));
            let result = result.map_or(OTHER_NAME, |result| result.as_str());
            [name(key.first()), result, "", ""]
        }
        Family::Accepted
        | Family::Retries
        | Family::Ejections
        | Family::UpstreamDuration
        | Family::UpstreamConnect => [name(key.first()), "", "", ""],
        Family::Mirrored => [name(key.first()), copied(key.second()), "", ""],
        Family::Tunnels | Family::TunnelsOpened => [name(key.first()), "", "", ""],
        Family::TunnelBytes => [name(key.first()), direction(key), "", ""],
        Family::TcpConnections | Family::TcpOpened | Family::TcpDuration => {
            [name(key.first()), name(key.second()), "", ""]
        }
        Family::TcpBytes => [name(key.first()), name(key.second()), direction(key), ""],
        Family::Errors => listed(scrape.reasons),
        Family::LogLines => listed(&["written", "dropped"]),
        Family::Spans => listed(&["exported", "dropped"]),
        Family::Reloads => listed(&ReloadResult::ALL.map(ReloadResult::as_str)),
        Family::HealthChecks => {
            let result = CheckResult::ALL.get(key.second() as usize);
            let result = result.copied().unwrap_or(OTHER_NAME);
            [name(key.first()), result, "", ""]
        }
        Family::HealthChanges => {
            let to = Verdict::ALL.get(key.second() as usize);
            let to = to.map_or(OTHER_NAME, |to| to.as_str());
            [name(key.first()), to, "", ""]
        }
        Family::Lookups => listed(&LookupResult::ALL.map(LookupResult::as_str)),
        Family::Restarts => listed(&RestartReason::ALL.map(RestartReason::as_str)),
        Family::InFlight | Family::DroppedSeries | Family::ApplyDuration => [""; 4],
    }
}

fn copied(id: u32) -> &'static str {
    const ANSWERED: u32 = Copied::Answered as u32;
    const FAILED: u32 = Copied::Failed as u32;
    const DROPPED: u32 = Copied::Dropped as u32;
    match id {
        ANSWERED => "answered",
        FAILED => "failed",
        DROPPED => "dropped",
        _ => OTHER_NAME,
    }
}

pub(in crate::admin) fn name(labels: &Labels, id: u32) -> &str {
    match id {
        NONE => NO_NAME,
        OTHER => OTHER_NAME,
        id => labels.get(&id).map_or(OTHER_NAME, String::as_str),
    }
}

fn direction(key: Key) -> &'static str {
    const TO_UPSTREAM: u16 = Direction::ToUpstream as u16;
    const TO_CLIENT: u16 = Direction::ToClient as u16;
    match key.detail() {
        TO_UPSTREAM => "to_upstream",
        TO_CLIENT => "to_client",
        _ => OTHER_NAME,
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
