//! Which path answers what. Reading is for everybody; every call that changes something passes
//! `access` first, in one place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::header::{CONTENT_SECURITY_POLICY, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::access::{self, Access};
use super::answer::{json, text, unwritable, yaml};
use super::command::{Command, CommandError, CommandReply, Text, Verb};
use super::metrics::{self, Admission};
use super::probe::{Check, describe, readiness};
use super::status::Status;
use super::{Sources, config_view, views};
use crate::model;
use crate::shm::beat::Watch;
use crate::shm::totals::Totals;
use crate::shm::{Lease, SUPERVISOR};

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
        .route("/reload", post(reload))
        .route("/drain", post(drain))
        .route("/rollback", post(rollback))
        .route("/unpin", post(unpin))
        .route("/quitquitquit", post(quit))
        .route("/log", post(log_level))
        .route("/diff", post(diff))
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

async fn reload(State(app): State<App>, peer: Extension<Peer>, headers: HeaderMap) -> Response {
    change(&app, *peer, &headers, Verb::Reload).await
}

async fn drain(State(app): State<App>, peer: Extension<Peer>, headers: HeaderMap) -> Response {
    change(&app, *peer, &headers, Verb::Drain).await
}

#[derive(Debug, serde::Deserialize)]
struct RollbackQuery {
    generation: Option<u64>,
}

async fn rollback(
    State(app): State<App>,
    peer: Extension<Peer>,
    headers: HeaderMap,
    Query(RollbackQuery { generation }): Query<RollbackQuery>,
) -> Response {
    change(&app, *peer, &headers, Verb::Rollback { generation }).await
}

async fn unpin(State(app): State<App>, peer: Extension<Peer>, headers: HeaderMap) -> Response {
    change(&app, *peer, &headers, Verb::Unpin).await
}

async fn quit(State(app): State<App>, peer: Extension<Peer>, headers: HeaderMap) -> Response {
    change(&app, *peer, &headers, Verb::Quit).await
}

#[derive(Debug, serde::Deserialize)]
struct LogQuery {
    level: String,
}

async fn log_level(
    State(app): State<App>,
    peer: Extension<Peer>,
    headers: HeaderMap,
    Query(LogQuery { level }): Query<LogQuery>,
) -> Response {
    change(&app, *peer, &headers, Verb::LogLevel { filter: level }).await
}

/// It changes nothing, but it reads what the text refers to with the eyes of this process, and takes
/// its time: not for everybody.
async fn diff(
    State(app): State<App>,
    peer: Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Some(refused) = refuse(&app, *peer, &headers, &"Diff") {
        return refused;
    }
    let Ok(bytes) = to_bytes(body, model::MAX_BYTES).await else {
        let said = "the configuration is too large, or did not come whole\n";
        return text(StatusCode::PAYLOAD_TOO_LARGE, said, "text/plain");
    };
    match String::from_utf8(bytes.into()) {
        Ok(written) => {
            let text = Text(written);
            change(&app, *peer, &headers, Verb::Diff { text }).await
        }
        Err(error) => failure(&CommandError::Refused(vec![error.to_string()])),
    }
}

/// The one way to change something from here.
async fn change(app: &App, Peer(peer): Peer, headers: &HeaderMap, verb: Verb) -> Response {
    if let Some(refused) = refuse(app, Peer(peer), headers, &verb) {
        return refused;
    }
    tracing::info!(%peer, ?verb, "asked by an operator");
    match app.command(verb).await {
        Some(Ok(reply)) => json(&reply),
        Some(Err(error)) => failure(&error),
        None => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the supervisor is ending\n",
            "text/plain",
        ),
    }
}

/// The answer to whoever may not ask for this.
fn refuse(
    app: &App,
    Peer(peer): Peer,
    headers: &HeaderMap,
    verb: &dyn std::fmt::Debug,
) -> Option<Response> {
    let status = app.status();
    let token = status
        .config
        .as_ref()
        .and_then(|config| config.admin.token.as_ref());
    match access::check(peer, headers, token.map(|token| token.expose())) {
        Access::Granted => None,
        refused => {
            tracing::warn!(%peer, ?verb, "refused to a stranger");
            Some(refusal(refused))
        }
    }
}

fn refusal(access: Access) -> Response {
    if access == Access::Forbidden {
        return text(
            StatusCode::FORBIDDEN,
            "the token is wrong, or the caller is a page\n",
            "text/plain",
        );
    }
    let said = "from loopback, or with a bearer token\n";
    let mut response = text(StatusCode::UNAUTHORIZED, said, "text/plain");
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn failure(error: &CommandError) -> Response {
    let (code, errors) = match error {
        CommandError::Refused(errors) => (StatusCode::UNPROCESSABLE_ENTITY, errors.clone()),
        CommandError::Conflict(reason) => (StatusCode::CONFLICT, vec![reason.clone()]),
    };
    let mut response = json(&views::Failure { errors });
    *response.status_mut() = code;
    response
}

async fn unknown_path() -> Response {
    text(StatusCode::NOT_FOUND, "no such page\n", "text/plain")
}
