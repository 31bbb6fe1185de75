//! Calls that change something: each passes `access` first, in one place. A comparison of
//! configurations does so too.

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Query, State};
use axum::response::Response;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;

use super::{App, Peer};
use crate::admin::access::{self, Access};
use crate::admin::answer::{json, text};
use crate::admin::command::{CommandError, Text, Verb};
use crate::admin::views;
use crate::model;

pub(super) async fn reload(
    State(app): State<App>,
    peer: Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    change(&app, *peer, &headers, Verb::Reload).await
}

pub(super) async fn drain(
    State(app): State<App>,
    peer: Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    change(&app, *peer, &headers, Verb::Drain).await
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct RollbackQuery {
    generation: Option<u64>,
}

pub(super) async fn rollback(
    State(app): State<App>,
    peer: Extension<Peer>,
    headers: HeaderMap,
    Query(RollbackQuery { generation }): Query<RollbackQuery>,
) -> Response {
    change(&app, *peer, &headers, Verb::Rollback { generation }).await
}

pub(super) async fn unpin(
    State(app): State<App>,
    peer: Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    change(&app, *peer, &headers, Verb::Unpin).await
}

pub(super) async fn quit(
    State(app): State<App>,
    peer: Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    change(&app, *peer, &headers, Verb::Quit).await
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct LogQuery {
    level: String,
}

pub(super) async fn log_level(
    State(app): State<App>,
    peer: Extension<Peer>,
    headers: HeaderMap,
    Query(LogQuery { level }): Query<LogQuery>,
) -> Response {
    change(&app, *peer, &headers, Verb::LogLevel { filter: level }).await
}

/// It changes nothing, but it reads what the text refers to with the eyes of this process, and takes
/// its time: not for everybody.
pub(super) async fn diff(
    State(app): State<App>,
    peer: Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Some(refused) = refuse(&app, *peer, &headers, &"Diff") {
        return refused;
    }
    let too_large = || {
        let said = "the configuration is too large, or did not come whole\n";
        text(StatusCode::PAYLOAD_TOO_LARGE, said, "text/plain")
    };
    if body.size_hint().lower() > model::MAX_BYTES as u64 {
        return too_large();
    }
    let Ok(bytes) = to_bytes(body, model::MAX_BYTES).await else {
        return too_large();
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
