//! What active checks find, told to everybody: on the health board, which the workers read, in the log
//! and in the counters.

use std::sync::Arc;
use std::time::Instant;

use super::Engine;
use crate::admin::{CheckState, Timestamp};
use crate::model::config::{
    HealthCheck, Server, ServerHost, Target as Servers, Upstream, UpstreamProtocol,
};
use crate::model::health::{CheckResult, Verdict};
use crate::model::proxy_protocol::encode;
use crate::model::resolved::Address;
use crate::model::snapshot::tls::{ServerTls, UpstreamTls};
use crate::shm::health;
use crate::supervisor::health::{Language, News, Target};

impl Engine {
    /// Who is to be checked follows from what is served and where it is.
    pub(super) fn watch_endpoints(&mut self) {
        let segment = self.segment.clone();
        let verdict = |id| segment.board(id).map(|board| board.checked().verdict);
        let known = |id| verdict(id).unwrap_or(Verdict::Unknown);
        let targets = self.targets();
        for id in self.checks.update(targets, &known) {
            // What nobody looks at any more takes traffic, as before the first look.
            if let Some(board) = self.segment.board(id) {
                board.check(Verdict::Unknown, health::now());
            }
        }
        self.describe_checks();
    }

    pub(super) fn checked(&mut self, news: News) {
        self.absolve(&news);
        let News {
            target,
            error,
            change,
        } = news;
        let result = match &error {
            None => CheckResult::Success,
            Some(_) => CheckResult::Failure,
        };
        self.counts.health_check(target.label, result);
        let Some(change) = change else {
            return;
        };
        if let Some(board) = self.segment.board(target.id) {
            board.check(change.to, health::now());
        }
        self.counts.health_change(target.label, change.to);
        let (upstream, endpoint) = (&target.upstream, &target.address);
        match change.to {
            Verdict::Unhealthy => {
                let error = error.unwrap_or_default();
                tracing::warn!(upstream, %endpoint, error, "endpoint unhealthy");
            }
            Verdict::Healthy | Verdict::Unknown => {
                tracing::info!(upstream, %endpoint, "endpoint healthy");
            }
        }
        self.describe_checks();
    }

    /// Whoever has looked knows better than what live traffic has shown before.
    fn absolve(&mut self, news: &News) {
        let Some(board) = self.segment.board(news.target.id) else {
            return;
        };
        let now = health::now();
        let is_ejected = board.experience().is_out(now);
        if self.checks.absolves(news, is_ejected) && board.end_ejection(now) {
            let (upstream, endpoint) = (&news.target.upstream, &news.target.address);
            tracing::info!(upstream, %endpoint, "ejection ended by checks");
        }
    }

    /// With each change, and once a second.
    pub(super) fn describe_checks(&mut self) {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let before = |at| clock.before(now.saturating_duration_since(at));
        let states = self.checks.all().map(|(id, watched)| {
            let state = CheckState {
                checks: watched.checks,
                checked_at: watched.checked_at.map(before),
                error: watched.error.clone(),
            };
            (*id, state)
        });
        self.check_states = Arc::new(states.collect());
    }

    fn targets(&mut self) -> Vec<Target> {
        let Some(generation) = self.state.committed() else {
            return Vec::new();
        };
        let (number, config) = (generation.number, Arc::clone(&generation.plan.config));
        self.checks.prepare_tls(number, &config);
        let Some(labels) = self.labels.get(&number) else {
            return Vec::new();
        };
        let index = &labels.index;
        let numbered = config.upstreams.iter().zip(&index.upstreams);
        let mut targets = Vec::new();
        for ((upstream, label), ids) in numbered.zip(&index.endpoints) {
            if let (Some(check), Servers::Servers(servers)) =
                (&upstream.health_check, &upstream.target)
            {
                let tls = self.checks.tls(&upstream.id);
                let scheme = Scheme::of(upstream, *label, check, tls);
                for (server, id) in servers.iter().zip(ids) {
                    self.add_targets(&scheme, server, *id, &mut targets);
                }
            }
        }
        targets
    }

    fn add_targets(
        &self,
        scheme: &Scheme<'_>,
        server: &Server,
        id: Option<u32>,
        targets: &mut Vec<Target>,
    ) {
        let fixed = match (&server.host, id) {
            (ServerHost::Ip(ip), Some(id)) => Some((id, Address::Ip((*ip, server.port).into()))),
            (ServerHost::Unix(path), Some(id)) => Some((id, Address::Unix(path.as_str().into()))),
            _ => None,
        };
        let name = server.host.with_port(server.port);
        let found = self.roster.find(&scheme.upstream.id, &name).iter();
        let found = found.map(|one| (one.id, one.address.clone()));
        let all = fixed.into_iter().chain(found);
        // One that the board has no room for could not be kept out.
        let all = all.filter(|(id, _)| self.segment.board(*id).is_some());
        targets.extend(all.map(|(id, address)| scheme.target(id, address, server)));
    }
}

/// How the endpoints of one upstream are checked.
struct Scheme<'a> {
    upstream: &'a Upstream,
    label: u32,
    check: Arc<HealthCheck>,
    greeting: Option<Vec<u8>>,
    tls: Option<&'a UpstreamTls>,
}

impl<'a> Scheme<'a> {
    fn of(
        upstream: &'a Upstream,
        label: u32,
        check: &HealthCheck,
        tls: Option<&'a UpstreamTls>,
    ) -> Scheme<'a> {
        // A check speaks for nobody; on a port of its own there is no such header to expect.
        let version = upstream.proxy_protocol.filter(|_| check.port.is_none());
        Scheme {
            upstream,
            label,
            check: Arc::new(check.clone()),
            greeting: version.map(|version| encode(version, None)),
            tls,
        }
    }

    fn target(&self, id: u32, address: Address, server: &Server) -> Target {
        Target {
            id,
            upstream: self.upstream.id.clone(),
            label: self.label,
            address,
            authority: server.authority.clone(),
            greeting: self.greeting.clone(),
            tls: self.tls_of(server),
            language: self.language(),
            check: Arc::clone(&self.check),
        }
    }

    /// Its name was good for the snapshot that all workers have built.
    fn tls_of(&self, server: &Server) -> Option<ServerTls> {
        let settings = self.upstream.tls.as_ref()?;
        self.tls?.of(server, settings).ok().flatten()
    }

    /// As requests are sent; on a port of its own nothing is known of it.
    fn language(&self) -> Language {
        match self.upstream.protocol {
            UpstreamProtocol::H2c if self.check.port.is_none() => Language::Http2,
            _ => Language::Http1,
        }
    }
}
