//! How a running program looks in a terminal: state, workers, routes, upstreams. Pure: one or two samples
//! of the admin port's JSON become a text.

use std::fmt::Write as _;
use std::time::Instant;

use serde::Deserialize;

use crate::admin::SourceKind;

#[derive(Debug, Clone)]
pub(in crate::cli) struct Sample {
    pub(in crate::cli) at: Instant,
    pub(in crate::cli) status: Status,
    pub(in crate::cli) routes: Routes,
    pub(in crate::cli) upstreams: Upstreams,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Status {
    version: String,
    state: String,
    generation: u64,
    config_hash: String,
    config_source: String,
    source_kind: String,
    pinned: Option<u64>,
    uptime_seconds: f64,
    last_reload: Option<Reload>,
    workers: Vec<Worker>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reload {
    at: String,
    result: String,
    duration_ms: u64,
    errors: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Worker {
    slot: u16,
    pid: u32,
    state: String,
    generation: u64,
    uptime_seconds: f64,
    restarts: u64,
    requests_total: u64,
    requests_in_flight: u64,
    connections: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Routes {
    total: usize,
    routes: Vec<Route>,
}

#[derive(Debug, Clone, Deserialize)]
struct Route {
    name: String,
    upstreams: Vec<String>,
    requests: Requests,
    duration: Duration,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Requests {
    total: u64,
    #[serde(rename = "2xx")]
    successful: u64,
    #[serde(rename = "3xx")]
    redirected: u64,
    #[serde(rename = "4xx")]
    client_errors: u64,
    #[serde(rename = "5xx")]
    server_errors: u64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Duration {
    p50_seconds: Option<f64>,
    p99_seconds: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Upstreams {
    upstreams: Vec<Upstream>,
}

#[derive(Debug, Clone, Deserialize)]
struct Upstream {
    id: String,
    endpoints: Vec<Endpoint>,
    requests: Requests,
    connections: Connections,
    duration: Duration,
}

#[derive(Debug, Clone, Deserialize)]
struct Endpoint {
    address: String,
    health: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Connections {
    active: u64,
    idle: u64,
}

/// `before` turns totals into rates.
pub(in crate::cli) fn draw(now: &Sample, before: Option<&Sample>) -> String {
    let mut text = head(&now.status);
    let pair = Pair { now, before };
    text.push_str(&table(&pair.workers()));
    text.push_str(&table(&pair.routes()));
    if now.routes.total > now.routes.routes.len() {
        let (shown, total) = (now.routes.routes.len(), now.routes.total);
        text.push_str(&format!("(the {shown} busiest of {total} routes)\n"));
    }
    text.push_str(&table(&pair.upstreams()));
    text
}

fn head(status: &Status) -> String {
    let pinned = status
        .pinned
        .map(|generation| format!(", pinned to {generation}"));
    let mut text = format!(
        "sluice {}  {}  generation {}{}  config {}  up {}\n{}\n",
        status.version,
        status.state,
        status.generation,
        pinned.unwrap_or_default(),
        status.config_hash,
        span(status.uptime_seconds),
        clean(&status.config_source),
    );
    if let Some(kind) = SourceKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == status.source_kind)
    {
        text.extend(kind.notice().map(|notice| format!("!! {notice}\n")));
    }
    if let Some(reload) = &status.last_reload {
        let Reload {
            at,
            result,
            duration_ms,
            errors,
        } = reload;
        text.push_str(&format!(
            "last reload {result} at {at}, took {duration_ms} ms\n"
        ));
        errors
            .iter()
            .for_each(|error| text.push_str(&format!("  {}\n", clean(error))));
    }
    text
}

struct Pair<'a> {
    now: &'a Sample,
    before: Option<&'a Sample>,
}

impl Pair<'_> {
    /// A total, or the rate since the sample before.
    fn figure(&self, now: u64, before: Option<u64>) -> String {
        let Some(earlier) = self.before else {
            return now.to_string();
        };
        let seconds = self
            .now
            .at
            .saturating_duration_since(earlier.at)
            .as_secs_f64();
        let more = now.saturating_sub(before.unwrap_or(now)) as f64;
        format!("{:.1}", if seconds > 0.0 { more / seconds } else { 0.0 })
    }

    fn unit(&self) -> &'static str {
        if self.before.is_some() {
            "REQ/S"
        } else {
            "REQUESTS"
        }
    }

    fn workers(&self) -> Vec<Vec<String>> {
        let head = [
            "WORKER",
            "PID",
            "STATE",
            "GENERATION",
            "UP",
            "RESTARTS",
            self.unit(),
            "IN FLIGHT",
            "CONNECTIONS",
        ];
        let rows = self.now.status.workers.iter().map(|worker| {
            let earlier = self.before.and_then(|before| {
                before
                    .status
                    .workers
                    .iter()
                    .find(|earlier| earlier.slot == worker.slot)
            });
            vec![
                worker.slot.to_string(),
                worker.pid.to_string(),
                worker.state.clone(),
                worker.generation.to_string(),
                span(worker.uptime_seconds),
                worker.restarts.to_string(),
                self.figure(
                    worker.requests_total,
                    earlier.map(|earlier| earlier.requests_total),
                ),
                worker.requests_in_flight.to_string(),
                worker.connections.to_string(),
            ]
        });
        with_head(&head, rows)
    }

    fn routes(&self) -> Vec<Vec<String>> {
        let head = [
            "ROUTE",
            "UPSTREAMS",
            self.unit(),
            "2XX",
            "3XX",
            "4XX",
            "5XX",
            "P50",
            "P99",
        ];
        let rows = self.now.routes.routes.iter().map(|route| {
            let earlier = self.before.and_then(|before| {
                before
                    .routes
                    .routes
                    .iter()
                    .find(|earlier| earlier.name == route.name)
            });
            let mut row = vec![clean(&route.name), clean(&route.upstreams.join(","))];
            row.extend(self.requests(route.requests, earlier.map(|earlier| earlier.requests)));
            row.extend(quantiles(route.duration));
            row
        });
        with_head(&head, rows)
    }

    fn upstreams(&self) -> Vec<Vec<String>> {
        let head = [
            "UPSTREAM",
            "HEALTHY",
            self.unit(),
            "2XX",
            "3XX",
            "4XX",
            "5XX",
            "P50",
            "P99",
            "ACTIVE",
            "IDLE",
            "KEPT OUT",
        ];
        let rows = self.now.upstreams.upstreams.iter().map(|upstream| {
            let earlier = self.before.and_then(|before| {
                before
                    .upstreams
                    .upstreams
                    .iter()
                    .find(|earlier| earlier.id == upstream.id)
            });
            let is_out = |endpoint: &&Endpoint| {
                matches!(endpoint.health.as_str(), "unhealthy" | "ejected" | "trial")
            };
            let out = upstream.endpoints.iter().filter(is_out);
            let out: Vec<&str> = out.map(|endpoint| endpoint.address.as_str()).collect();
            let all = upstream.endpoints.len();
            let mut row = vec![
                clean(&upstream.id),
                if all == 0 {
                    "-".to_owned()
                } else {
                    format!("{}/{all}", all - out.len())
                },
            ];
            row.extend(self.requests(upstream.requests, earlier.map(|earlier| earlier.requests)));
            row.extend(quantiles(upstream.duration));
            row.push(upstream.connections.active.to_string());
            row.push(upstream.connections.idle.to_string());
            row.push(if out.is_empty() {
                "-".to_owned()
            } else {
                out.join(",")
            });
            row
        });
        with_head(&head, rows)
    }

    fn requests(&self, now: Requests, before: Option<Requests>) -> [String; 5] {
        [
            self.figure(now.total, before.map(|before| before.total)),
            self.figure(now.successful, before.map(|before| before.successful)),
            self.figure(now.redirected, before.map(|before| before.redirected)),
            self.figure(now.client_errors, before.map(|before| before.client_errors)),
            self.figure(now.server_errors, before.map(|before| before.server_errors)),
        ]
    }
}

fn quantiles(duration: Duration) -> [String; 2] {
    [duration.p50_seconds, duration.p99_seconds].map(|seconds| match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds < 1.0 => format!("{:.1}ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.2}s"),
    })
}

fn with_head(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    std::iter::once(head).chain(rows).collect()
}

/// Columns as wide as their widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            cells(column)
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut text = String::from("\n");
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing into a string does not fail.
            let _infallible = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn span(seconds: f64) -> String {
    let seconds = seconds as u64;
    match (
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    ) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes}m"),
        (days, hours, _, _) => format!("{days}d{hours}h"),
    }
}

/// Whatever the configuration says, a terminal is not told to do something.
fn clean(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect()
}

#[cfg(test)]
mod tests;
