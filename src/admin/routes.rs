//! Which path answers what. Reading is for everybody.
//!
//! Not here: calls that change something (`change`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderValue, StatusCode};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answer::{json, text, unwritable, yaml};
use super::command::{Command, CommandError, CommandReply, Verb};
use super::metrics::{self, Admission};
use super::probe::{Check, describe, readiness};
use super::status::Status;
use super::{Sources, config_view, views};
use crate::shm::beat::Watch;
use crate::shm::totals::Totals;
use crate::shm::{Lease, SUPERVISOR};

mod change;

/// The whole page; it asks the JSON endpoints and nobody else.
const DASHBOARD: &str = include_str!("dashboard.html");

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub IpAddr);

/// What all requests share.
#[derive(Debug, Clone)]
pub(super) struct App {
    sources: Sources,
    memory: Arc<Mutex<Memory>>,
}

/// What has to be known from one request to the next. Never held over an await.
#[derive(Debug, Default)]
struct Memory {
    watch: Watch,
    hung: Vec<Lease>,
    admission: Admission,
}

/// How long the supervisor's loop may take to answer `Ping`.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Workers are replaced after one `worker.hangTimeout`; still hung after so many, the supervisor has
/// failed to do it.
const HANG_TIMEOUTS: u32 = 2;
const DEFAULT_HANG_TIMEOUT: Duration = Duration::from_secs(10);

/// Every path with its method, as docs/observability.md lists them.
pub const ENDPOINTS: [(&str, &str); 16] = [
    ("GET", "/"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/status"),
    ("GET", "/config"),
    ("GET", "/routes"),
    ("GET", "/upstreams"),
    ("POST", "/reload"),
    ("POST", "/drain"),
    ("POST", "/rollback"),
    ("POST", "/unpin"),
    ("POST", "/quitquitquit"),
    ("POST", "/log"),
    ("POST", "/diff"),
];

pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(dashboard))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/healthz", get(readyz))
        .route("/metrics", get(metrics_text))
        .route("/status", get(status))
        .route("/config", get(config))
        .route("/routes", get(route_list))
        .route("/upstreams", get(upstream_list))
        .route("/reload", post(change::reload))
        .route("/drain", post(change::drain))
        .route("/rollback", post(change::rollback))
        .route("/unpin", post(change::unpin))
        .route("/quitquitquit", post(change::quit))
        .route("/log", post(change::log_level))
        .route("/diff", post(change::diff))
        .fallback(unknown_path)
        .with_state(app)
}

impl App {
    pub(super) fn new(sources: Sources) -> App {
        App {
            sources,
            memory: Arc::default(),
        }
    }

    pub(super) fn watch_beats(&self, now: Instant) {
        let bound = self
            .status()
            .config
            .as_ref()
            .map(|config| config.worker.hang_timeout);
        let bound = bound.unwrap_or(DEFAULT_HANG_TIMEOUT) * HANG_TIMEOUTS;
        let leases = self.sources.segment.leases();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.hung = memory.watch.hung(&leases, now, bound);
    }

    fn hung(&self) -> Vec<Lease> {
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .hung
            .clone()
    }

    fn status(&self) -> Arc<Status> {
        Arc::clone(&self.sources.status.borrow())
    }

    fn totals(&self) -> Totals {
        Totals::read(&self.sources.segment)
    }

    /// Sends a command and waits for its answer; `None` when the supervisor's loop has ended.
    async fn command(&self, verb: Verb) -> Option<Result<CommandReply, CommandError>> {
        let (reply, answer) = oneshot::channel();
        self.sources
            .commands
            .send(Command { verb, reply })
            .await
            .ok()?;
        answer.await.ok()
    }
}

async fn dashboard() -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                  connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'";
    let mut response = text(StatusCode::OK, DASHBOARD, "text/html; charset=utf-8");
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

async fn livez(State(app): State<App>, Query(query): Query<HashMap<String, String>>) -> Response {
    let ping = timeout(PING_TIMEOUT, app.command(Verb::Ping)).await;
    let turns = matches!(ping, Ok(Some(_)));
    let fault = (!turns).then(|| format!("no answer in {} s", PING_TIMEOUT.as_secs()));
    let mut checks = vec![Check::new("supervisor", fault)];
    let hung = app.hung();
    checks.extend(
        app.sources
            .segment
            .leases()
            .iter()
            .filter(|lease| lease.slot != SUPERVISOR)
            .map(|lease| {
                let silent = hung
                    .iter()
                    .any(|hung| hung.row == lease.row && hung.pid == lease.pid);
                let fault = silent.then(|| format!("pid {} does not beat", lease.pid));
                Check::new(format!("worker-{}", lease.slot), fault)
            }),
    );
    probe(&checks, &query)
}

async fn readyz(State(app): State<App>, Query(query): Query<HashMap<String, String>>) -> Response {
    probe(&readiness(&app.status()), &query)
}

fn probe(checks: &[Check], query: &HashMap<String, String>) -> Response {
    let holds = checks.iter().all(|check| check.fault.is_none());
    let code = if holds {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    text(
        code,
        describe(checks, query.contains_key("verbose")),
        "text/plain; charset=utf-8",
    )
}

async fn metrics_text(State(app): State<App>) -> Response {
    let (status, totals) = (app.status(), app.totals());
    let mut memory = app.memory.lock().unwrap_or_else(PoisonError::into_inner);
    let view = metrics::Scrape {
        status: &status,
        totals: &totals,
        segment: &app.sources.segment,
        reasons: app.sources.reasons,
    };
    let page = metrics::render(&view, &mut memory.admission);
    text(StatusCode::OK, page, metrics::TEXT_FORMAT)
}

async fn status(State(app): State<App>) -> Response {
    json(&views::status(&app.status(), &app.sources.segment))
}

#[derive(Debug, serde::Deserialize)]
struct ConfigQuery {
    #[serde(default)]
    format: ConfigFormat,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum ConfigFormat {
    #[default]
    Json,
    Yaml,
}

async fn config(
    State(app): State<App>,
    Query(ConfigQuery { format }): Query<ConfigQuery>,
) -> Response {
    let status = app.status();
    let Some(config) = &status.config else {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            "no generation is committed\n",
            "text/plain",
        );
    };
    match config_view::view(config) {
        Ok(config) => {
            let running = views::RunningConfig {
                generation: status.generation,
                config_hash: &status.config_hash,
                config_source: &status.config_source,
                config,
            };
            match format {
                ConfigFormat::Json => json(&running),
                ConfigFormat::Yaml => yaml(&running),
            }
        }
        Err(error) => unwritable(&error),
    }
}

#[derive(Debug, serde::Deserialize)]
struct RoutesQuery {
    top: Option<usize>,
}

async fn route_list(
    State(app): State<App>,
    Query(RoutesQuery { top }): Query<RoutesQuery>,
) -> Response {
    json(&views::routes(&app.status(), &app.totals(), top))
}

async fn upstream_list(State(app): State<App>) -> Response {
    json(&views::upstreams(
        &app.status(),
        &app.totals(),
        &app.sources.segment,
    ))
}

async fn unknown_path() -> Response {
    text(StatusCode::NOT_FOUND, "no such page\n", "text/plain")
}
