//! Families that the supervisor's status tells: configuration, workers, endpoints, certificates.

use prometheus::proto::MetricFamily;

use super::catalog as names;
use super::{Scrape, family, sample, seconds, single};
use crate::admin::endpoints::endpoints;
use crate::admin::status::{ReloadResult, SourceKind, Status, WorkerState};
use crate::admin::time::Timestamp;

pub(super) fn families(scrape: &Scrape<'_>) -> Vec<MetricFamily> {
    let status = scrape.status;
    let mut told = vec![
        family(
            &names::BUILD_INFO,
            vec![sample(&names::BUILD_INFO, &[status.version], 1.0)],
        ),
        single(&names::CONFIG_GENERATION, status.generation as f64),
        single(
            &names::LAST_RELOAD_SUCCESSFUL,
            f64::from(u8::from(last_successful(status))),
        ),
        source(status),
        workers(status),
        worker_generations(status),
        certificates(status),
        endpoint_health(scrape),
        name_ages(status),
    ];
    if status.generation > 0 {
        let values = [status.config_hash.as_str(), &status.generation.to_string()];
        told.push(family(
            &names::CONFIG_INFO,
            vec![sample(&names::CONFIG_INFO, &values, 1.0)],
        ));
    }
    told.extend(status.pod.as_ref().map(|pod| {
        let values = [pod.namespace.as_str(), pod.name.as_str()];
        family(
            &names::POD_INFO,
            vec![sample(&names::POD_INFO, &values, 1.0)],
        )
    }));
    let committed = status
        .history
        .iter()
        .find(|reload| reload.result != ReloadResult::Rejected);
    told.extend(committed.map(|reload| single(&names::LAST_RELOAD_SUCCESS, seconds(reload.at))));
    told
}

fn last_successful(status: &Status) -> bool {
    status
        .last_reload
        .as_ref()
        .is_some_and(|reload| reload.result != ReloadResult::Rejected)
}

fn source(status: &Status) -> MetricFamily {
    let samples = SourceKind::ALL.map(|kind| {
        let value = f64::from(u8::from(status.source_kind == kind));
        sample(&names::CONFIG_SOURCE, &[kind.as_str()], value)
    });
    family(&names::CONFIG_SOURCE, samples.to_vec())
}

fn workers(status: &Status) -> MetricFamily {
    let samples = WorkerState::ALL.map(|state| {
        let count = status
            .workers
            .iter()
            .filter(|worker| worker.state == state)
            .count();
        sample(&names::WORKERS, &[state.as_str()], count as f64)
    });
    family(&names::WORKERS, samples.to_vec())
}

fn worker_generations(status: &Status) -> MetricFamily {
    let serving = status
        .workers
        .iter()
        .filter(|worker| worker.state != WorkerState::Draining);
    let samples = serving.map(|worker| {
        let slot = worker.slot.to_string();
        sample(
            &names::WORKER_GENERATION,
            &[&slot],
            worker.generation as f64,
        )
    });
    family(&names::WORKER_GENERATION, samples.collect())
}

fn certificates(status: &Status) -> MetricFamily {
    let samples = status.certificates.iter().map(|certificate| {
        sample(
            &names::CERTIFICATE_EXPIRY,
            &[&certificate.name],
            seconds(certificate.expires_at),
        )
    });
    family(&names::CERTIFICATE_EXPIRY, samples.collect())
}

fn name_ages(status: &Status) -> MetricFamily {
    let now = Timestamp::now();
    let samples = status.names.iter().filter_map(|name| {
        let age = now.since(name.resolved_at?).as_secs_f64();
        Some(sample(&names::NAME_AGE, &[&name.name], age))
    });
    family(&names::NAME_AGE, samples.collect())
}

fn endpoint_health(scrape: &Scrape<'_>) -> MetricFamily {
    let samples = endpoints(scrape.status, scrape.segment)
        .into_iter()
        .map(|endpoint| {
            let value = f64::from(u8::from(endpoint.health.takes_traffic()));
            sample(
                &names::ENDPOINT_HEALTHY,
                &[endpoint.upstream, &endpoint.address],
                value,
            )
        });
    family(&names::ENDPOINT_HEALTHY, samples.collect())
}
