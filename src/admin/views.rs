//! The JSON bodies of `/status`, `/routes` and `/upstreams`: documented shapes
//! (docs/observability.md) to which fields are added, never renamed.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::endpoints::{EndpointView, endpoints};
use super::status::{NameState, Status, Worker};
use super::time::Timestamp;
use crate::model::config::{Config, Target, Upstream};
use crate::shm::layout::BOUNDS;
use crate::shm::series::{ConnectionState, Family, Key, split_method_and_code};
use crate::shm::totals::{Distribution, Totals};
use crate::shm::{RowId, Segment};

/// `/config`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunningConfig<'a> {
    pub generation: u64,
    pub config_hash: &'a str,
    pub config_source: &'a str,
    pub config: Value,
}

/// The answer to a call that was refused.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    pub errors: Vec<String>,
}

/// `/status`: the status, each worker with what it has counted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusView<'a> {
    #[serde(flatten)]
    status: &'a Status,
    uptime_seconds: f64,
    workers: Vec<WorkerView<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkerView<'a> {
    #[serde(flatten)]
    worker: &'a Worker,
    uptime_seconds: f64,
    /// Of its row: those of earlier processes in the same place among them.
    requests_total: u64,
    requests_in_flight: u64,
    connections: u64,
}

/// `/routes`, in the order of the rules, or the busiest first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Routes<'a> {
    generation: u64,
    /// How many routes there are; fewer are listed where `top` asks for fewer.
    total: usize,
    /// Upper bounds of the duration buckets in seconds; the last bucket has none.
    bucket_bounds_seconds: Vec<f64>,
    routes: Vec<RouteView<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteView<'a> {
    name: &'a str,
    upstreams: Vec<&'a str>,
    requests: Requests,
    duration: DurationView,
}

/// Requests by class of code.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Requests {
    total: u64,
    #[serde(rename = "1xx")]
    informational: u64,
    #[serde(rename = "2xx")]
    successful: u64,
    #[serde(rename = "3xx")]
    redirected: u64,
    #[serde(rename = "4xx")]
    client_errors: u64,
    #[serde(rename = "5xx")]
    server_errors: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct DurationView {
    count: u64,
    sum_seconds: f64,
    /// Since the counting began; interpolated within a bucket, `null` without a request.
    p50_seconds: Option<f64>,
    p99_seconds: Option<f64>,
    /// Not cumulative.
    buckets: Vec<u64>,
}

/// `/upstreams`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Upstreams<'a> {
    generation: u64,
    bucket_bounds_seconds: Vec<f64>,
    upstreams: Vec<UpstreamView<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UpstreamView<'a> {
    id: &'a str,
    endpoints: Vec<EndpointView<'a>>,
    /// Of those of its servers that are looked up.
    names: Vec<&'a NameState>,
    requests: Requests,
    retries: u64,
    connections: Connections,
    duration: DurationView,
    connect: DurationView,
}

#[derive(Debug, Serialize)]
struct Connections {
    active: u64,
    idle: u64,
}

pub(super) fn status<'a>(status: &'a Status, segment: &Segment) -> StatusView<'a> {
    let now = Timestamp::now();
    let workers = status.workers.iter().map(|worker| {
        let totals = Totals::read_rows(segment, |row: RowId| row == worker.row);
        let active = sum(&totals, Family::Connections);
        WorkerView {
            worker,
            uptime_seconds: now.since(worker.started_at).as_secs_f64(),
            requests_total: sum(&totals, Family::Requests),
            requests_in_flight: sum(&totals, Family::InFlight),
            connections: active,
        }
    });
    let workers = workers.collect();
    let uptime_seconds = now.since(status.started_at).as_secs_f64();
    StatusView {
        status,
        uptime_seconds,
        workers,
    }
}

pub(super) fn routes<'a>(status: &'a Status, totals: &Totals, top: Option<usize>) -> Routes<'a> {
    let Some(config) = status.config.as_deref() else {
        return Routes {
            generation: status.generation,
            total: 0,
            bucket_bounds_seconds: bounds(),
            routes: Vec::new(),
        };
    };
    let requests = by_id(totals, Key::first);
    let durations = merged(totals, Family::RequestDuration);
    let mut routes: Vec<RouteView<'a>> = config
        .rules
        .iter()
        .zip(&status.index.routes)
        .map(|(rule, id)| RouteView {
            name: &rule.name,
            upstreams: rule
                .upstreams
                .iter()
                .filter_map(|to| upstream_id(config, to.upstream))
                .collect(),
            requests: requests.get(id).copied().unwrap_or_default(),
            duration: DurationView::of(durations.get(id)),
        })
        .collect();
    if let Some(top) = top {
        routes.sort_by_key(|route| std::cmp::Reverse(route.requests.total));
        routes.truncate(top);
    }
    Routes {
        generation: status.generation,
        total: config.rules.len(),
        bucket_bounds_seconds: bounds(),
        routes,
    }
}

pub(super) fn upstreams<'a>(
    status: &'a Status,
    totals: &Totals,
    segment: &Segment,
) -> Upstreams<'a> {
    let requests = by_id(totals, Key::second);
    let durations = merged(totals, Family::UpstreamDuration);
    let connects = merged(totals, Family::UpstreamConnect);
    let mut all = endpoints(status, segment);
    let scalar = |key| totals.scalars.get(&key).copied().unwrap_or_default();
    let configured = status.config.iter().flat_map(|config| &config.upstreams);
    let upstreams = configured
        .zip(&status.index.upstreams)
        .map(|(upstream, id)| {
            let connections = |state: ConnectionState| {
                gauge(scalar(Key::new(
                    Family::UpstreamConnections,
                    *id,
                    state as u32,
                    0,
                )))
            };
            UpstreamView {
                id: &upstream.id,
                endpoints: all
                    .extract_if(.., |endpoint| endpoint.upstream == upstream.id)
                    .collect(),
                names: names(status, upstream),
                requests: requests.get(id).copied().unwrap_or_default(),
                retries: scalar(Key::new(Family::Retries, *id, 0, 0)),
                connections: Connections {
                    active: connections(ConnectionState::Active),
                    idle: connections(ConnectionState::Idle),
                },
                duration: DurationView::of(durations.get(id)),
                connect: DurationView::of(connects.get(id)),
            }
        });
    Upstreams {
        generation: status.generation,
        bucket_bounds_seconds: bounds(),
        upstreams: upstreams.collect(),
    }
}

fn names<'a>(status: &'a Status, upstream: &Upstream) -> Vec<&'a NameState> {
    let servers = match &upstream.target {
        Target::Echo => &[][..],
        Target::Servers(servers) => servers,
    };
    let is_of = |name: &&NameState| servers.iter().any(|server| server.host == name.host);
    status.names.iter().filter(is_of).collect()
}

fn upstream_id(config: &Config, index: u32) -> Option<&str> {
    config
        .upstreams
        .get(index as usize)
        .map(|upstream| upstream.id.as_str())
}

fn bounds() -> Vec<f64> {
    BOUNDS.iter().map(|nanos| *nanos as f64 / 1e9).collect()
}

fn sum(totals: &Totals, family: Family) -> u64 {
    let of_family = totals
        .scalars
        .iter()
        .filter(|(key, _)| key.family() == family);
    gauge(of_family.fold(0, |sum, (_, value)| sum.wrapping_add(*value)))
}

/// A gauge below zero is one whose other half died with its process.
fn gauge(value: u64) -> u64 {
    u64::try_from(value as i64).unwrap_or_default()
}

/// Requests by one of their labels' ids.
fn by_id(totals: &Totals, id: fn(Key) -> u32) -> HashMap<u32, Requests> {
    let mut requests: HashMap<u32, Requests> = HashMap::new();
    for (key, count) in &totals.scalars {
        if key.family() == Family::Requests {
            requests.entry(id(*key)).or_default().add(*key, *count);
        }
    }
    requests
}

/// A family's histograms by their first label's id.
fn merged(totals: &Totals, family: Family) -> HashMap<u32, Distribution> {
    let mut merged: HashMap<u32, Distribution> = HashMap::new();
    for (key, read) in &totals.histograms {
        if key.family() == family {
            merged.entry(key.first()).or_default().merge(read);
        }
    }
    merged
}

impl Requests {
    fn add(&mut self, key: Key, count: u64) {
        self.total += count;
        let (_, code) = split_method_and_code(key.detail());
        match code.map(|code| code / 100) {
            Some(1) => self.informational += count,
            Some(2) => self.successful += count,
            Some(3) => self.redirected += count,
            Some(4) => self.client_errors += count,
            Some(5) => self.server_errors += count,
            _ => {}
        }
    }
}

impl DurationView {
    fn of(read: Option<&Distribution>) -> DurationView {
        let read = read.copied().unwrap_or_default();
        DurationView {
            count: read.count(),
            sum_seconds: read.sum_nanos as f64 / 1e9,
            p50_seconds: read.quantile(0.5),
            p99_seconds: read.quantile(0.99),
            buckets: read.buckets.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests;
