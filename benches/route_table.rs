//! What the table of routes costs: CPU time and memory to build it, CPU time per lookup, from one rule to
//! twenty thousand. `cargo bench --bench route_table`; every scenario runs in a process of its own,
//! so that memory is its own.

use std::error::Error;
use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use http::Method;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use sluice::model::config::{HostPattern, PathPattern, Rule, WeightedUpstream};
use sluice::model::fields::Fields;
use sluice::model::route::{RouteQuery, RouteTable};

const LOOKUPS: usize = 1_000_000;

struct Scenario {
    name: &'static str,
    rules: fn() -> Vec<Rule>,
    /// Host and target of the n-th lookup.
    request: fn(usize) -> (String, String),
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "1 rule",
        rules: || vec![rule(0, HostPattern::Any, "/")],
        request: |_| ("example.com".into(), "/api/items?page=2".into()),
    },
    Scenario {
        name: "2 rules, 1 host",
        rules: || on_hosts(1, |_| ["/api".into(), "/".into()]),
        request: |_| (host(0), "/api/items?page=2".into()),
    },
    Scenario {
        name: "20,000 rules, 10,000 hosts",
        rules: || on_hosts(10_000, |_| ["/api".into(), "/".into()]),
        request: |n| (host(n * 7919 % 10_000), "/api/items?page=2".into()),
    },
    Scenario {
        name: "20,000 rules, any host",
        rules: || {
            let paths = (0..20_000).map(|n| format!("/service-{n}/api"));
            paths
                .zip(0..)
                .map(|(path, n)| rule(n, HostPattern::Any, &path))
                .collect()
        },
        request: |n| {
            (
                "example.com".into(),
                format!("/service-{}/api/items", n * 7919 % 20_000),
            )
        },
    },
    Scenario {
        name: "1 regex",
        rules: || vec![rule(0, HostPattern::Any, r"/users/[^/]+/orders/\d+$")],
        request: |_| ("example.com".into(), "/users/ann/orders/4711".into()),
    },
    Scenario {
        name: "10,000 hosts, the same regexes",
        rules: || {
            on_hosts(10_000, |_| {
                [r"/users/[^/]+/orders/\d+$".into(), r"/\w+\.js".into()]
            })
        },
        request: |n| (host(n * 7919 % 10_000), "/users/ann/orders/4711".into()),
    },
    Scenario {
        name: "10,000 hosts, regexes of their own",
        rules: || {
            on_hosts(10_000, |n| {
                [
                    format!(r"/users/[^/]+/orders/\d+/{n}$"),
                    format!(r"/\w+\.{n}"),
                ]
            })
        },
        request: |n| {
            let n = n * 7919 % 10_000;
            (host(n), format!("/users/ann/orders/4711/{n}"))
        },
    },
    Scenario {
        name: "the same, 100 hosts in use",
        rules: || {
            on_hosts(10_000, |n| {
                [
                    format!(r"/users/[^/]+/orders/\d+/{n}$"),
                    format!(r"/\w+\.{n}"),
                ]
            })
        },
        request: |n| {
            let n = n % 100;
            (host(n), format!("/users/ann/orders/4711/{n}"))
        },
    },
    Scenario {
        name: "1,000 regexes, any host, no common beginning",
        rules: || {
            let paths = (0..1_000).map(|n| format!(r"/[a-z]+/item-{n}/\d+"));
            paths
                .zip(0..)
                .map(|(path, n)| rule(n, HostPattern::Any, &path))
                .collect()
        },
        request: |n| ("example.com".into(), format!("/shop/item-{}/42", n % 1_000)),
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::var("ROUTE_TABLE_SCENARIO") {
        Ok(name) => SCENARIOS
            .iter()
            .filter(|one| one.name == name)
            .try_for_each(measure),
        Err(_) => SCENARIOS.iter().try_for_each(|scenario| {
            let itself = std::env::current_exe()?;
            Command::new(itself)
                .env("ROUTE_TABLE_SCENARIO", scenario.name)
                .status()?;
            Ok(())
        }),
    }
}

fn measure(scenario: &Scenario) -> Result<(), Box<dyn Error>> {
    let rules = (scenario.rules)();
    let (memory, cpu) = (resident_bytes()?, cpu_time()?);
    let table = RouteTable::build(&rules)?;
    let (built, memory) = (cpu_time()? - cpu, resident_bytes()?.saturating_sub(memory));
    let first = lookups(&table, scenario, 20_000)?;
    let lookup = lookups(&table, scenario, LOOKUPS)?;
    println!(
        "{:<46} build {:>8.2} ms CPU {:>7.2} MiB   lookup {:>6} ns   first 20,000: {:>6} ns",
        scenario.name,
        built.as_secs_f64() * 1e3,
        memory as f64 / f64::from(1 << 20),
        lookup.as_nanos(),
        first.as_nanos(),
    );
    Ok(())
}

/// CPU time per lookup, which a busy machine changes little. The requests are made beforehand, a bounded number of them.
fn lookups(
    table: &RouteTable,
    scenario: &Scenario,
    count: usize,
) -> Result<Duration, Box<dyn Error>> {
    let requests: Vec<_> = (0..count.min(20_000)).map(scenario.request).collect();
    let headers = Fields::default();
    let mut missed = 0;
    let start = cpu_time()?;
    for (host, target) in requests.iter().cycle().take(count) {
        let path = target
            .split_once('?')
            .map_or(target.as_str(), |(path, _)| path);
        let query = RouteQuery {
            host,
            method: &Method::GET,
            path,
            path_and_query: target,
            headers: &headers,
        };
        missed += usize::from(black_box(table.find(black_box(&query))).is_none());
    }
    let elapsed = cpu_time()?.saturating_sub(start);
    if missed > 0 {
        return Err(format!("{}: {missed} lookups found nothing", scenario.name).into());
    }
    Ok(elapsed / u32::try_from(count).unwrap_or(u32::MAX))
}

fn on_hosts(hosts: usize, paths: impl Fn(usize) -> [String; 2]) -> Vec<Rule> {
    let rules = (0..hosts).flat_map(|n| paths(n).map(|path| (host(n), path)));
    (0..)
        .zip(rules)
        .map(|(n, (host, path))| rule(n, HostPattern::Exact(host), &path))
        .collect()
}

fn host(n: usize) -> String {
    format!("host-{n}.apps.example.com")
}

fn rule(n: usize, host: HostPattern, path: &str) -> Rule {
    Rule {
        name: format!("rule-{n}"),
        host,
        path: PathPattern::Regex(path.to_owned()),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        cookies: Vec::new(),
        mirror: None,
        upstreams: vec![WeightedUpstream {
            upstream: 0,
            weight: 1,
        }],
        traffic: None,
        grpc_web: false,
    }
}

fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.try_into()?))
}

fn resident_bytes() -> Result<usize, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm
        .split(' ')
        .nth(1)
        .ok_or("no resident pages in statm")?
        .parse()?;
    Ok(pages * 4096)
}
