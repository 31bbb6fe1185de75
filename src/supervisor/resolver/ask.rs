//! Asks name servers for one name: the hosts file first, then each candidate of the search until one
//! has an answer.
//!
//! Not here: when to ask, and what of an answer is kept (`book`).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::lookup::Lookup as Answer;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::book::{Failure, Found, How, Kind, Lookup, Outcome, Part, Question};
use super::system::System;

/// For one lookup with all its questions; those of a service are many.
const WHOLE: Duration = Duration::from_secs(30);
/// How long the addresses of one family wait for those of the other: less than a start waits for both.
const OTHER_FAMILY: Duration = Duration::from_millis(300);
/// Targets of one service; what a name server says beyond that is left out.
const MOST_TARGETS: usize = 256;
/// Targets of one service that are asked for at once.
const AT_ONCE: usize = 8;
/// Answers of the hosts file have none of their own.
const HOSTS_TTL: Duration = Duration::from_secs(5);

/// `last` is the name that answered the last time: when that one fails, no other takes its place.
pub(super) async fn ask(system: Arc<System>, lookup: Lookup, last: Option<String>) -> Vec<Part> {
    let (name, kind) = match &lookup {
        Lookup::Host(name) => (name.clone(), Kind::A),
        Lookup::Service(name) => (name.clone(), Kind::Srv),
    };
    let all = async {
        match lookup {
            Lookup::Host(name) => host(&system, &name, last.as_deref()).await,
            Lookup::Service(name) => service(&system, &name, last.as_deref()).await,
        }
    };
    let late = || {
        let failure = Failure {
            how: How::Silence,
            message: format!("no answer within {WHOLE:?}"),
        };
        vec![part(&name, kind, Outcome::Failed(failure))]
    };
    timeout(WHOLE, all).await.unwrap_or_else(|_| late())
}

async fn host(system: &System, name: &str, last: Option<&str>) -> Vec<Part> {
    let known = from_hosts_file(system, name);
    if !known.is_empty() {
        return known;
    }
    let mut rest = None;
    for candidate in system.search.candidates(name) {
        let parts = both_families(system, &candidate).await;
        match next_after(&parts, &candidate, last) {
            Next::Stop => return parts,
            Next::Remember => rest = rest.or(Some(parts)),
            Next::GoOn => {}
        }
    }
    rest.unwrap_or_else(|| vec![part(name, Kind::A, Outcome::Nothing)])
}

async fn service(system: &Arc<System>, name: &str, last: Option<&str>) -> Vec<Part> {
    let mut rest = None;
    for candidate in system.search.candidates(name) {
        let answer = query(system, &candidate, RecordType::SRV).await;
        let outcome = match &answer {
            Ok(_) => Outcome::Found {
                endpoints: Vec::new(),
                ttl: Duration::ZERO,
            },
            Err(outcome) => outcome.clone(),
        };
        let parts = vec![part(&candidate, Kind::Srv, outcome)];
        match (next_after(&parts, &candidate, last), answer) {
            (_, Ok(answer)) => return targets(system, &answer).await,
            (Next::Stop, _) => return parts,
            (Next::Remember, _) => rest = rest.or(Some(parts)),
            (Next::GoOn, _) => {}
        }
    }
    rest.unwrap_or_else(|| vec![part(name, Kind::Srv, Outcome::Nothing)])
}

enum Next {
    Stop,
    /// It failed; the whole search fails with it unless a later candidate has an answer.
    Remember,
    GoOn,
}

/// A name server that is silent for one candidate will be for the next. One that fails may do so for a
/// domain that is not its own, and that must not hide the others.
fn next_after(parts: &[Part], candidate: &str, last: Option<&str>) -> Next {
    if parts.iter().any(|part| part.outcome.ttl().is_some()) {
        return Next::Stop;
    }
    let failure = parts.iter().find_map(|part| part.outcome.failure());
    match failure.map(|failure| failure.how) {
        Some(How::Server) if last != Some(candidate) => Next::Remember,
        Some(_) => Next::Stop,
        None => Next::GoOn,
    }
}

/// Both at once. Where one has brought addresses, the other is not waited for much longer: name servers
/// that are silent about a family must not keep those addresses from being used.
async fn both_families(system: &System, name: &str) -> Vec<Part> {
    let v4 = addresses_of(system, name, Kind::A, RecordType::A);
    let v6 = addresses_of(system, name, Kind::Aaaa, RecordType::AAAA);
    let (mut v4, mut v6) = (pin!(v4), pin!(v6));
    tokio::select! {
        v4 = &mut v4 => {
            let v6 = beside(&v4, v6, || late(name, Kind::Aaaa)).await;
            vec![v4, v6]
        }
        v6 = &mut v6 => {
            let v4 = beside(&v6, v4, || late(name, Kind::A)).await;
            vec![v4, v6]
        }
    }
}

async fn addresses_of(system: &System, name: &str, kind: Kind, record: RecordType) -> Part {
    let answer = query(system, name, record).await;
    let outcome = answer.map_or_else(|outcome| outcome, |answer| addresses(answer.answers()));
    part(name, kind, outcome)
}

async fn beside(
    first: &Part,
    second: impl Future<Output = Part>,
    late: impl FnOnce() -> Part,
) -> Part {
    match first.outcome.ttl() {
        Some(_) => timeout(OTHER_FAMILY, second)
            .await
            .unwrap_or_else(|_| late()),
        None => second.await,
    }
}

fn late(name: &str, kind: Kind) -> Part {
    let failure = Failure {
        how: How::Silence,
        message: format!("{kind:?} {name} no answer within {OTHER_FAMILY:?} of the other family's"),
    };
    part(name, kind, Outcome::Failed(failure))
}

/// Each target with its addresses, those of its own port, weight and priority.
async fn targets(system: &Arc<System>, answer: &Answer) -> Vec<Part> {
    let ttl = lowest_ttl(answer.answers());
    let services = answer
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(service) if !service.target.is_root() => Some(service.clone()),
            _ => None,
        });
    let services: Vec<SRV> = services.take(MOST_TARGETS).collect();
    let mut names: BTreeSet<String> = services.iter().map(target_name).collect();
    let (mut asking, mut parts) = (JoinSet::new(), Vec::new());
    loop {
        while asking.len() < AT_ONCE
            && let Some(name) = names.pop_first()
        {
            let system = Arc::clone(system);
            asking.spawn(async move { both_families(&system, &name).await });
        }
        match asking.join_next().await {
            Some(Ok(some)) => parts.extend(some),
            Some(Err(error)) => tracing::error!(%error, "a name lookup broke"),
            None => break,
        }
    }
    parts.sort_by(|one, other| one.question.name.cmp(&other.question.name));
    parts
        .into_iter()
        .map(|part| of_service(part, &services, ttl))
        .collect()
}

fn of_service(mut part: Part, services: &[SRV], ttl: Duration) -> Part {
    if let Outcome::Found {
        endpoints,
        ttl: own,
    } = &mut part.outcome
    {
        *own = ttl.min(*own);
        let addresses = std::mem::take(endpoints);
        let here = services
            .iter()
            .filter(|service| target_name(service) == part.question.name);
        for service in here {
            endpoints.extend(addresses.iter().map(|found| Found {
                ip: found.ip,
                port: Some(service.port),
                // RFC 2782 gives a weight of 0 next to nothing; nothing at all would be a server less.
                weight: u32::from(service.weight).max(1),
                priority: service.priority,
            }));
        }
    }
    part
}

fn target_name(service: &SRV) -> String {
    let mut name = service.target.to_lowercase();
    name.set_fqdn(true);
    name.to_ascii()
}

fn addresses(records: &[Record]) -> Outcome {
    let ips = records.iter().filter_map(|record| match &record.data {
        RData::A(v4) => Some(IpAddr::V4(v4.0)),
        RData::AAAA(v6) => Some(IpAddr::V6(v6.0)),
        _ => None,
    });
    let endpoints: Vec<Found> = ips
        .map(|ip| Found {
            ip,
            port: None,
            weight: 1,
            priority: 0,
        })
        .collect();
    let ttl = lowest_ttl(records);
    match endpoints.is_empty() {
        true => Outcome::Nothing,
        false => Outcome::Found { endpoints, ttl },
    }
}

fn lowest_ttl(records: &[Record]) -> Duration {
    let ttl = records.iter().map(|record| record.ttl).min();
    Duration::from_secs(u64::from(ttl.unwrap_or_default()))
}

fn from_hosts_file(system: &System, name: &str) -> Vec<Part> {
    let Ok(parsed) = Name::from_ascii(name) else {
        return Vec::new();
    };
    let families = [(Kind::A, RecordType::A), (Kind::Aaaa, RecordType::AAAA)];
    let found = families.into_iter().filter_map(|(kind, record)| {
        let query = Query::query(parsed.clone(), record);
        let known = system.hosts.lookup_static_host(&query)?;
        let outcome = match addresses(known.answers()) {
            Outcome::Found { endpoints, .. } => Outcome::Found {
                endpoints,
                ttl: HOSTS_TTL,
            },
            other => other,
        };
        Some(part(name, kind, outcome))
    });
    found.collect()
}

async fn query(system: &System, name: &str, kind: RecordType) -> Result<Answer, Outcome> {
    let failed = |how, message: String| Outcome::Failed(Failure { how, message });
    let resolvers = match &system.resolvers {
        Ok(resolvers) => resolvers,
        Err(error) => return Err(failed(How::Other, error.clone())),
    };
    let parsed =
        Name::from_ascii(name).map_err(|error| failed(How::Other, format!("{name}: {error}")))?;
    let answer = match lookup(&resolvers.extended, &parsed, kind).await {
        Err(error) if is_misunderstanding(&error) => lookup(&resolvers.plain, &parsed, kind).await,
        answer => answer,
    };
    answer.map_err(|error| match &error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain | ResponseCode::NoError => Outcome::Nothing,
            code => failed(How::Server, format!("{kind} {name} {code}")),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => {
            failed(How::Server, format!("{kind} {name} {code}"))
        }
        NetError::Timeout => failed(How::Silence, format!("{kind} {name} no answer in time")),
        other => failed(How::Other, format!("{kind} {name} {other}")),
    })
}

async fn lookup(
    resolver: &TokioResolver,
    name: &Name,
    kind: RecordType,
) -> Result<Answer, NetError> {
    // The book remembers, by its own bounds.
    resolver.clear_cache();
    resolver.lookup(name.clone(), kind).await
}

/// Simple servers refuse a question with EDNS, or send a part of it back as an answer.
fn is_misunderstanding(error: &NetError) -> bool {
    let code = match error {
        NetError::Proto(_) => return true,
        NetError::Dns(DnsError::NoRecordsFound(none)) => none.response_code,
        NetError::Dns(DnsError::ResponseCode(code)) => *code,
        _ => return false,
    };
    matches!(code, ResponseCode::FormErr | ResponseCode::NotImp)
}

fn part(name: &str, kind: Kind, outcome: Outcome) -> Part {
    let name = name.to_owned();
    let question = Question { name, kind };
    Part { question, outcome }
}
