//! What is done to a request's and a response's headers on the way, and how long a snapshot takes to
//! build: `cargo bench --bench headers` prints nanoseconds, medians of short rounds.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on is to end"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use sluice::model::config::Config;
use sluice::model::fields::Fields;
use sluice::model::headers::forwarded::{Origin, Trust};
use sluice::model::headers::{RequestId, Told, Values, forwarded, hop};
use sluice::model::load;
use sluice::model::snapshot::Snapshot;
use sluice::proxy::h1::{HeadLimits, HeadScanner, parse_request, parse_response};

const BROWSER: &[u8] = include_bytes!("../tests/fixtures/http1/requests/accept/none.browser.http");
const NGINX: &[u8] = include_bytes!("../tests/fixtures/http1/responses/accept/length-5.nginx.http");

fn main() {
    let (browser, nginx) = (browser(), nginx());
    let values = Values::default();
    report("clone_browser_headers", &mut || browser.clone());
    report("rewrite_browser_request", &mut || {
        let mut headers = browser.clone();
        rewrite(&mut headers, &values);
        headers
    });
    report("clone_nginx_headers", &mut || nginx.clone());
    report("strip_nginx_response", &mut || {
        let mut headers = nginx.clone();
        hop::strip(&mut headers);
        headers
    });
    for rules in [1, 1000, 20_000] {
        let config = config(rules);
        let name = format!("build_snapshot_of_{rules}_rules");
        report(&name, &mut || {
            Snapshot::build(&config, 1).expect("a snapshot")
        });
    }
}

fn rewrite(headers: &mut Fields, values: &Values) {
    let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 17));
    let origin = Origin {
        ip,
        peer: ip,
        trust: Trust::Untrusted,
    };
    hop::strip(headers);
    let told = Told {
        request_id: RequestId::Made(*b"0123456789abcdef0123456789abcdef"),
        peer: origin.peer,
        scheme: "http",
    };
    black_box(forwarded::tell(headers, told, origin.trust, values));
}

fn browser() -> Fields {
    let head = parse_request(
        &mut BytesMut::from(BROWSER),
        &HeadLimits::default(),
        &mut HeadScanner::default(),
    );
    head.expect("a valid head").expect("a whole one").headers
}

fn nginx() -> Fields {
    let head = parse_response(
        &mut BytesMut::from(NGINX),
        &HeadLimits::default(),
        &mut HeadScanner::default(),
        &http::Method::GET,
    );
    head.expect("a valid head").expect("a whole one").headers
}

fn config(rules: usize) -> Config {
    let rules: String = (0..rules)
        .map(|n| {
            format!(
                "    - {{host: h{}.example.com, path: /p{n}, upstreams: [a]}}\n",
                n / 2
            )
        })
        .collect();
    let text = format!(
        "server:\n  listen: 0\n  upstreams: [{{id: a, url: 'builtin://echo'}}]\n  rules:\n{rules}"
    );
    load(&text, &mut |_| Err("no secrets".to_owned()))
        .config
        .expect("a config")
}

fn report<T>(name: &str, run: &mut dyn FnMut() -> T) {
    let mut rounds: Vec<f64> = (0..21).map(|_| round(run)).collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name:<32} {:>12.1} ns", rounds[rounds.len() / 2]);
}

fn round<T>(run: &mut dyn FnMut() -> T) -> f64 {
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < Duration::from_millis(5) {
        drop(black_box(run()));
        count += 1;
    }
    start.elapsed().as_nanos() as f64 / f64::from(count)
}
