//! What the policies of balancing do to response times, and what a choice costs: `cargo bench --bench
//! balance`. The servers are simulated with a seed, so the times are the same on every machine; the
//! nanoseconds are this one's.
//!
//! Each server has eight places to work in and a queue before them. Requests come by chance at 60 % of
//! what servers alike could do, half of them through each of two workers, which share what is in flight
//! and not what they have learnt.

#![expect(
    clippy::indexing_slicing,
    reason = "places are those of the tables that were just made"
)]

use std::cell::Cell;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Instant;

use sluice::model::balance::latency::{Faults, Latency, Times};
use sluice::model::balance::{Among, Candidate, Moment, pick};
use sluice::model::config::balance::Policy;
use sluice::model::health::Millis;
use sluice::model::random::Random;

const REQUESTS: usize = 200_000;
const PLACES: usize = 8;
const MEAN: f64 = 10.0;

/// How one of the servers is: so many times slower than the others, or failing at once.
#[derive(Clone, Copy)]
enum Kind {
    Slower(f64),
    FailsAtOnce,
}

struct One {
    in_flight: Rc<Cell<u64>>,
    credit: Cell<i64>,
    latency: Cell<Latency>,
    faults: Cell<Faults>,
}

impl Candidate for One {
    fn weight(&self, _moment: Moment) -> u64 {
        1
    }

    fn credit(&self) -> &Cell<i64> {
        &self.credit
    }

    fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    fn faults(&self, moment: Moment) -> f64 {
        self.faults.get().count(|| Millis(0), moment.now)
    }

    fn latency(&self, moment: Moment) -> Times {
        self.latency.get().seen(|| Millis(0), moment.now)
    }

    fn identity(&self) -> u64 {
        0
    }
}

fn main() {
    let policies = [
        Policy::RoundRobin,
        Policy::Random,
        Policy::LeastConnections,
        Policy::PeakEwma,
    ];
    let scenarios: [(&str, Vec<Kind>); 5] = [
        ("3 alike", vec![Kind::Slower(1.0); 3]),
        ("3, one 3 times slower", with(3, Kind::Slower(3.0))),
        ("10, one 10 times slower", with(10, Kind::Slower(10.0))),
        ("10, one hangs for 10 s", with(10, Kind::Slower(1_000.0))),
        ("3, one fails at once", with(3, Kind::FailsAtOnce)),
    ];
    println!("milliseconds; the share that the odd one (the last) got; errors");
    for (name, servers) in &scenarios {
        println!("\n{name}");
        for policy in &policies {
            let seen = simulate(policy, servers);
            println!(
                "  {:<18} p50 {:>7.1}  p99 {:>8.1}  p99.9 {:>8.1}  odd {:>5.1} %  errors {:>5.1} %",
                format!("{policy:?}"),
                seen.quantile(0.5),
                seen.quantile(0.99),
                seen.quantile(0.999),
                seen.odd * 100.0,
                seen.errors * 100.0
            );
        }
    }
    println!("\nnanoseconds per choice, among 3, 10 and 50");
    for policy in &policies {
        let costs: Vec<String> = [3, 10, 50]
            .map(|servers| format!("{:>6.0}", cost(policy, servers)))
            .into();
        println!("  {:<18} {}", format!("{policy:?}"), costs.concat());
    }
}

fn with(servers: usize, odd: Kind) -> Vec<Kind> {
    let mut all = vec![Kind::Slower(1.0); servers];
    all[servers - 1] = odd;
    all
}

struct Seen {
    times: Vec<f64>,
    odd: f64,
    errors: f64,
}

impl Seen {
    fn quantile(&self, share: f64) -> f64 {
        self.times[((self.times.len() - 1) as f64 * share) as usize]
    }
}

/// A worker's view of the servers.
fn view(shared: &[Rc<Cell<u64>>]) -> Vec<One> {
    let one = |in_flight: &Rc<Cell<u64>>| One {
        in_flight: Rc::clone(in_flight),
        credit: Cell::new(0),
        latency: Cell::default(),
        faults: Cell::default(),
    };
    shared.iter().map(one).collect()
}

/// In microseconds, so that it can be ordered; the soonest is the greatest.
type Ending = std::cmp::Reverse<(u64, usize, usize, u64)>;

fn simulate(policy: &Policy, servers: &[Kind]) -> Seen {
    let random = Random::new(11);
    let chance = || (random.bits() >> 11) as f64 / (1_u64 << 53) as f64;
    let shared: Vec<Rc<Cell<u64>>> = servers.iter().map(|_| Rc::default()).collect();
    let workers = [view(&shared), view(&shared)];
    let places: Vec<u32> = (0..).take(servers.len()).collect();
    let mut free_at = vec![[0.0_f64; PLACES]; servers.len()];
    let mut endings: BinaryHeap<Ending> = BinaryHeap::new();
    let gap = MEAN / (PLACES * servers.len()) as f64 / 0.6;
    let (mut now, mut times, mut odd, mut errors) = (0.0, Vec::new(), 0, 0);
    for number in 0..REQUESTS {
        now += -(1.0 - chance()).ln() * gap;
        while let Some(std::cmp::Reverse((end, at, worker, took))) = endings.peek().copied()
            && end as f64 / 1e3 <= now
        {
            endings.pop();
            let one = &workers[worker][at];
            one.in_flight.set(one.in_flight() - 1);
            let now = Millis(end / 1_000 + 1);
            match servers[at] {
                Kind::FailsAtOnce => {
                    one.faults.set(one.faults.get().with_one(|| Millis(0), now));
                }
                Kind::Slower(_) => {
                    one.latency
                        .set(one.latency.get().with(took as f64 / 1e3, now));
                }
            }
        }
        let worker = number % 2;
        let among = Among {
            all: &workers[worker],
            places: &places,
            moment: moment(now),
        };
        let Some(picked) = pick(policy, &among, None, &random) else {
            continue;
        };
        let at = places
            .iter()
            .position(|at| std::ptr::eq(&workers[worker][*at as usize], picked));
        let at = at.unwrap_or_default();
        picked.in_flight.set(picked.in_flight() + 1);
        odd += usize::from(at == servers.len() - 1);
        let place = (0..PLACES).min_by(|a, b| free_at[at][*a].total_cmp(&free_at[at][*b]));
        let place = &mut free_at[at][place.unwrap_or_default()];
        let end = match servers[at] {
            Kind::FailsAtOnce => now + 0.2,
            Kind::Slower(factor) => {
                let end = place.max(now) - (1.0 - chance()).ln() * MEAN * factor;
                *place = end;
                end
            }
        };
        match servers[at] {
            Kind::FailsAtOnce => errors += 1,
            Kind::Slower(_) => times.push(end - now),
        }
        let micros = |millis: f64| (millis * 1e3) as u64;
        endings.push(std::cmp::Reverse((
            micros(end),
            at,
            worker,
            micros(end - now),
        )));
    }
    times.sort_by(f64::total_cmp);
    Seen {
        times,
        odd: odd as f64 / REQUESTS as f64,
        errors: f64::from(errors) / REQUESTS as f64,
    }
}

fn moment(now: f64) -> Moment {
    Moment {
        now: Millis(now as u64 + 1),
        slow_start: None,
    }
}

fn cost(policy: &Policy, servers: usize) -> f64 {
    const ROUNDS: u32 = 200_000;
    let shared: Vec<Rc<Cell<u64>>> = (0..servers).map(|_| Rc::default()).collect();
    let all = view(&shared);
    let places: Vec<u32> = (0..).take(servers).collect();
    let (random, began) = (Random::new(3), Instant::now());
    for _ in 0..ROUNDS {
        let among = Among {
            all: &all,
            places: &places,
            moment: moment(1.0),
        };
        std::hint::black_box(pick(policy, &among, None, &random));
    }
    began.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
}
