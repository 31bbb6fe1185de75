//! How an upstream's requests are spread: `balance`, `slowStart`, `panicThreshold` and
//! `outlierDetection`. Not here: `sticky`.

use super::process::section;
use super::{cookie, header, name, sticky};
use crate::model::config::balance::{Balancing, ErrorRate, Hash, HashOn, Outliers, Policy};
use crate::model::decode::{At, Reader};
use crate::model::raw::{
    BalanceForm, HashForm, PolicyName, RawBalance, RawHashOn, RawOutliers, RawUpstream, WordOr,
};
use crate::model::secret::Resolve;

pub(super) fn balancing(
    raw: &RawUpstream<'_>,
    reader: &mut Reader<'_>,
    resolve: &mut Resolve<'_>,
) -> Balancing {
    let usual = Balancing::default();
    Balancing {
        policy: match &raw.balance {
            Some(written) => policy(written, reader).unwrap_or(usual.policy),
            None => usual.policy,
        },
        slow_start: raw.slow_start.map(|at| at.value),
        panic_threshold: raw.panic_threshold().0,
        outliers: outliers(&section(&raw.outlier_detection), reader),
        sticky: raw
            .sticky
            .as_ref()
            .and_then(|raw| sticky::sticky(&raw.value, reader, resolve)),
    }
}

fn policy(written: &At<BalanceForm<'_>>, reader: &mut Reader<'_>) -> Option<Policy> {
    let raw = match &written.value {
        WordOr::Word(name) => RawBalance::of(At {
            at: written.at,
            value: *name,
        }),
        WordOr::Section(raw) => raw.clone(),
    };
    if raw.policy() != PolicyName::ConsistentHash {
        refuse_hash_keys(&raw, reader);
    }
    Some(match raw.policy() {
        PolicyName::RoundRobin => Policy::RoundRobin,
        PolicyName::Random => Policy::Random,
        PolicyName::LeastConnections => Policy::LeastConnections,
        PolicyName::PeakEwma => Policy::PeakEwma,
        PolicyName::IpHash => Policy::IpHash,
        PolicyName::ConsistentHash => Policy::ConsistentHash(Hash {
            on: match &raw.hash_on {
                Some(written) => hash_on(written, reader)?,
                None => HashOn::ClientAddress,
            },
            load_bound: raw.load_bound.map(|at| at.value.0),
        }),
    })
}

/// Keys that would have no effect.
fn refuse_hash_keys(raw: &RawBalance<'_>, reader: &mut Reader<'_>) {
    let hash_on = raw.hash_on.as_ref().map(|given| ("hashOn", given.at));
    let load_bound = raw.load_bound.map(|given| ("loadBound", given.at));
    for (key, at) in hash_on.into_iter().chain(load_bound) {
        let message = format!("`{key}` has no effect with this policy");
        reader.error(at, message, "remove it, or write `policy: consistent-hash`");
    }
}

fn hash_on(written: &At<HashForm<'_>>, reader: &mut Reader<'_>) -> Option<HashOn> {
    let WordOr::Section(raw) = &written.value else {
        return Some(HashOn::ClientAddress);
    };
    match raw {
        RawHashOn {
            header: Some(name),
            cookie: None,
            query: None,
            ..
        } => {
            let name = reader.accept(*name, header::name(name.value))?;
            Some(HashOn::Header(name.as_str().to_owned()))
        }
        RawHashOn {
            header: None,
            cookie: Some(name),
            query: None,
            ..
        } => {
            let cookie = reader.accept(*name, cookie::name(name.value))?;
            Some(HashOn::Cookie(cookie))
        }
        RawHashOn {
            header: None,
            cookie: None,
            query: Some(name),
            ..
        } => {
            let parameter = reader.accept(*name, name::parameter(name.value))?;
            Some(HashOn::Query(parameter))
        }
        _ => {
            let help =
                "write one of `header`, `cookie` and `query` with a name, or `client-address`";
            reader.error(written.at, "a request is placed by one thing", help);
            None
        }
    }
}

fn outliers(raw: &RawOutliers<'_>, reader: &mut Reader<'_>) -> Outliers {
    let usual = Outliers::default();
    if let Some(longest) = raw.max_ejection_time
        && longest.value < raw.base_ejection_time()
    {
        let help = "write at least as much as `baseEjectionTime`";
        reader.error(
            longest.at,
            "the longest time is shorter than the first",
            help,
        );
    }
    Outliers {
        consecutive_errors: u16::try_from(raw.consecutive_errors().0)
            .ok()
            .filter(|most| *most > 0),
        error_rate: raw.error_rate.as_ref().and_then(|rate| {
            Some(ErrorRate {
                percent: rate.value.percent?.value.0,
                min_requests: rate.value.min_requests().0,
                interval: rate.value.interval(),
            })
        }),
        statuses: match &raw.statuses {
            Some(list) => statuses(&list.value),
            None => usual.statuses,
        },
        base_time: raw.base_ejection_time(),
        max_time: raw.max_ejection_time().max(raw.base_ejection_time()),
        max_percent: raw.max_ejection_percent().0,
    }
}

fn statuses(list: &[At<crate::model::decode::Number<400, 599>>]) -> Vec<u16> {
    let statuses = list.iter();
    statuses
        .filter_map(|status| u16::try_from(status.value.0).ok())
        .collect()
}
