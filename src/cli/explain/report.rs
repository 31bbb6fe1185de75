//! What there is to say about a request: pure, and the same for people and for programs.

use http::header::{HOST, HeaderValue};
use serde::Serialize;

use super::request::Request;
use crate::model::config::Config;
use crate::model::fields::Fields;
use crate::model::headers::{self, Passage, RequestId, Values, forwarded};
use crate::model::route::{Mismatch, Route, Verdict};
use crate::model::secret::{MASK, is_credential};
use crate::model::snapshot::{Server, Snapshot, Target, Upstream};
use crate::model::template::TlsFacts;

#[cfg(test)]
mod tests;

/// Of more rules only those that came closest are shown, unless all are asked for.
const RULES: usize = 20;
/// In place of a request id: each request gets a new one.
const REQUEST_ID: RequestId = RequestId::Given(HeaderValue::from_static("(a new id)"));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    All,
    Relevant,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) request: Asked,
    /// Those that are shown, in order.
    pub(super) rules: Vec<Tried>,
    pub(super) rules_not_shown: usize,
    pub(super) rules_tried: usize,
    pub(super) rules_total: usize,
    /// The rule that takes the request; without one the answer is 404.
    pub(super) route: Option<Winner>,
    /// Where the route sends it, by weight.
    pub(super) upstreams: Vec<Sent>,
}

#[derive(Debug, Serialize)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) scheme: &'static str,
    pub(super) host: String,
    pub(super) target: String,
    /// The client's address: the peer's, or the one that a trusted peer speaks for.
    pub(super) client: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Tried {
    /// From 0, as in `server.rules[0]`.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) taken: bool,
    /// What does not fit: `host`, `path`, `method`, `header` or `query`.
    pub(super) mismatch: Option<&'static str>,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Winner {
    pub(super) index: usize,
    pub(super) name: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Sent {
    pub(super) id: String,
    /// Of the route's requests, from 0 to 1.
    pub(super) share: f64,
    /// Empty where the upstream is inside the program.
    pub(super) servers: Vec<Asking>,
    /// Sorted by name; `Host` and the headers of framing aside.
    pub(super) headers: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub(super) struct Asking {
    pub(super) address: String,
    /// Of the upstream's requests, from 0 to 1.
    pub(super) share: f64,
    pub(super) target: String,
    pub(super) host: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) value: String,
}

impl Report {
    pub(super) fn build(
        config: &Config,
        snapshot: &Snapshot,
        request: &Request,
        shown: Shown,
    ) -> Self {
        let query = request.query();
        let verdicts = snapshot.routes.explain(&query);
        let route = snapshot.routes.find(&query);
        let rules: Vec<Tried> = select(&verdicts, shown)
            .filter_map(|(index, verdict)| {
                let rule = config.rules.get(index)?;
                let mismatch = mismatch(verdict);
                Some(Tried {
                    index,
                    name: rule.name.clone(),
                    taken: verdict == Verdict::Taken,
                    mismatch: mismatch.map(Mismatch::subject),
                    reason: mismatch.map(|mismatch| mismatch.describe(rule, &query)),
                })
            })
            .collect();
        Self {
            request: Asked::of(request, snapshot),
            rules_not_shown: verdicts.len() - rules.len(),
            rules,
            rules_tried: verdicts.len(),
            rules_total: config.rules.len(),
            route: route.map(|route| Winner {
                index: route.index as usize,
                name: route.name.to_string(),
            }),
            upstreams: route
                .map(|route| sent(route, snapshot, request))
                .unwrap_or_default(),
        }
    }
}

impl Asked {
    fn of(request: &Request, snapshot: &Snapshot) -> Self {
        let origin = forwarded::origin(request.from, &request.headers, &snapshot.trusted_proxies);
        Self {
            method: request.method.to_string(),
            scheme: request.scheme,
            host: request.host.clone(),
            target: request.target().to_owned(),
            client: origin.ip.to_string(),
        }
    }
}

fn mismatch(verdict: Verdict) -> Option<Mismatch> {
    match verdict {
        Verdict::Taken => None,
        Verdict::Left(mismatch) => Some(mismatch),
    }
}

/// The verdicts to show, with the places of their rules. Of many, those of other hosts go first, then
/// those of other paths, then the earliest.
fn select(verdicts: &[Verdict], shown: Shown) -> impl Iterator<Item = (usize, Verdict)> {
    let mut selected: Vec<_> = verdicts.iter().copied().enumerate().collect();
    for dull in [Mismatch::Host, Mismatch::Path] {
        if shown == Shown::Relevant && selected.len() > RULES {
            selected.retain(|(_, verdict)| *verdict != Verdict::Left(dull));
        }
    }
    let excess = match shown {
        Shown::All => 0,
        Shown::Relevant => selected.len().saturating_sub(RULES),
    };
    selected.into_iter().skip(excess)
}

fn sent(route: &Route, snapshot: &Snapshot, request: &Request) -> Vec<Sent> {
    let total: u64 = route
        .upstreams
        .iter()
        .map(|choice| u64::from(choice.weight))
        .sum();
    let choices = route.upstreams.iter().filter_map(|choice| {
        let upstream = snapshot.upstreams.get(choice.upstream as usize)?;
        let headers = rewritten(upstream, snapshot, request);
        Some(Sent {
            id: upstream.id.to_string(),
            share: share(choice.weight, total),
            servers: servers(upstream, request, &headers),
            headers: lines(&headers),
        })
    });
    choices.collect()
}

fn rewritten(upstream: &Upstream, snapshot: &Snapshot, request: &Request) -> Fields {
    let mut headers = request.headers.clone();
    let origin = forwarded::origin(request.from, &headers, &snapshot.trusted_proxies);
    let passage = Passage {
        snapshot,
        upstream,
        origin,
        scheme: request.scheme,
        host: &request.host,
        method: &request.method,
        path: request.uri.path(),
        request_id: forwarded::request_id(&origin, &headers).unwrap_or(REQUEST_ID),
        tls: TlsFacts::default(),
    };
    let values = Values::default();
    if let Some(told) = passage.rewrite(&mut headers, &values) {
        told.put_into(&mut headers, &values);
    }
    headers
}

fn servers(upstream: &Upstream, request: &Request, headers: &Fields) -> Vec<Asking> {
    let Target::Servers(servers) = &upstream.target else {
        return Vec::new();
    };
    let total = servers.iter().map(|server| u64::from(server.weight)).sum();
    let asking = servers.iter().map(|server| Asking {
        address: address(server),
        share: share(server.weight, total),
        target: headers::target(request.target(), server).into_owned(),
        host: text(headers::host(upstream, server, headers)),
    });
    asking.collect()
}

fn address(server: &Server) -> String {
    server.host.with_port(server.port)
}

fn share(weight: u32, total: u64) -> f64 {
    if total == 0 {
        0.0
    } else {
        f64::from(weight) / total as f64
    }
}

fn lines(headers: &Fields) -> Vec<Line> {
    let mut lines: Vec<Line> = headers
        .iter()
        .map(|(name, value)| (text(name), value))
        .filter(|(name, _)| *name != HOST.as_str())
        .map(|(name, value)| Line {
            value: if is_credential(&name) {
                MASK.to_owned()
            } else {
                text(value)
            },
            name,
        })
        .collect();
    // Stable: several lines of one name stay in their order.
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    lines
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
