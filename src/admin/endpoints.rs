//! Every endpoint of the committed configuration with what the shared memory knows of it, for
//! `/upstreams` and the metrics.

use std::collections::HashMap;

use serde::Serialize;

use super::status::{CheckState, Status};
use super::time::Timestamp;
use crate::model::config::{Server, Target};
use crate::model::resolved::ResolvedEndpoint;
use crate::shm::Segment;
use crate::shm::health::{self, Health, Millis};
use crate::shm::layout::ShareCell;
use crate::shm::names::endpoint_name;

/// Fields are added, never renamed (docs/observability.md).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointView<'a> {
    #[serde(skip)]
    pub upstream: &'a str,
    /// Of a server whose name has not been resolved, that name.
    pub address: String,
    /// Host and port as configured, where they are looked up.
    pub server: Option<String>,
    pub weight: u32,
    pub health: Health,
    pub requests_in_flight: u64,
    /// Since the last request that went well.
    pub consecutive_errors: u16,
    /// How long it is left out yet, where live traffic has shown it to fail.
    pub ejected_for_seconds: Option<f64>,
    /// When an active check last ended.
    pub checked_at: Option<Timestamp>,
    /// What was wrong then.
    pub check_error: Option<String>,
}

pub(super) fn endpoints<'a>(status: &'a Status, segment: &Segment) -> Vec<EndpointView<'a>> {
    let now = health::now();
    let mut views = Vec::new();
    let configured = status.config.iter().flat_map(|config| &config.upstreams);
    for (upstream, ids) in configured.zip(&status.index.endpoints) {
        let Target::Servers(servers) = &upstream.target else {
            continue;
        };
        let look = Look {
            upstream: &upstream.id,
            segment,
            checks: &status.checks,
            now,
        };
        for (server, id) in servers.iter().zip(ids) {
            match id {
                Some(id) => views.push(look.fixed(server, *id)),
                None => look.looked_up(server, status, &mut views),
            }
        }
    }
    views
}

struct Look<'a, 's> {
    upstream: &'a str,
    segment: &'s Segment,
    checks: &'s HashMap<u32, CheckState>,
    now: Millis,
}

impl<'a> Look<'a, '_> {
    fn fixed(&self, server: &Server, id: u32) -> EndpointView<'a> {
        let address = endpoint_name(&server.host, server.port);
        self.view(id, address, None, server.weight)
    }

    fn looked_up(&self, server: &Server, status: &Status, views: &mut Vec<EndpointView<'a>>) {
        let name = endpoint_name(&server.host, server.port);
        let mut all = status.resolved.iter();
        let resolved = all.find(|one| one.upstream == self.upstream && one.server == name);
        let found = resolved.map_or(&[][..], |one| &one.endpoints);
        let view = |one: &ResolvedEndpoint| {
            let weight = server.weight.saturating_mul(one.weight);
            self.view(one.id, one.address.to_string(), Some(name.clone()), weight)
        };
        if found.is_empty() {
            views.push(EndpointView {
                upstream: self.upstream,
                address: name.clone(),
                server: Some(name),
                weight: server.weight,
                health: Health::Unresolved,
                requests_in_flight: 0,
                consecutive_errors: 0,
                ejected_for_seconds: None,
                checked_at: None,
                check_error: None,
            });
        } else {
            views.extend(found.iter().map(view));
        }
    }

    fn view(
        &self,
        id: u32,
        address: String,
        server: Option<String>,
        weight: u32,
    ) -> EndpointView<'a> {
        let board = self.segment.board(id);
        let experience = board.map(|board| board.experience()).unwrap_or_default();
        let left = experience.until.since(self.now);
        let check = self.checks.get(&id);
        EndpointView {
            upstream: self.upstream,
            address,
            server,
            weight,
            health: board.map_or(Health::Unknown, |board| board.health(self.now)),
            requests_in_flight: self.segment.shares(id, ShareCell::Requests),
            consecutive_errors: experience.streak,
            ejected_for_seconds: (!left.is_zero()).then_some(left.as_secs_f64()),
            checked_at: check.and_then(|check| check.checked_at),
            check_error: check.and_then(|check| check.error.clone()),
        }
    }
}
