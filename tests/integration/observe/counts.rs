//! Counters stay true: exact after known traffic, whatever happens to processes and configurations.

use nix::sys::signal::Signal;

use super::{answered, echo, metric, wait_for_answered, wait_until_ready};
use crate::harness::{Sluice, Upstream, eventually, get, process};

fn ask(sluice: &Sluice, count: usize) {
    for _ in 0..count {
        assert_eq!(sluice.get("/").status, 200);
    }
}

#[test]
fn known_traffic_gives_exactly_the_expected_counts() {
    let upstream = Upstream::per_request(|request| {
        let code = if request.head.target() == "/teapot" {
            "418 Teapot"
        } else {
            "200 OK"
        };
        format!("HTTP/1.1 {code}\r\ncontent-length: 5\r\n\r\nhello")
    });
    let sluice = Sluice::start(&format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 2\n  upstreams:\n    - id: app\n      url: {}\n  \
         rules:\n    - name: all\n      path: /\n      upstreams: [app]\n      methods: [GET, POST]\n",
        upstream.url()
    ));
    ask(&sluice, 20);
    for _ in 0..3 {
        assert_eq!(sluice.get("/teapot").status, 418);
    }
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 7\r\n\r\nabcdefg";
    assert_eq!(sluice.request(post).status, 200);
    assert_eq!(
        sluice
            .request("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
            .status,
        404
    );

    let admin = sluice.admin();
    wait_for_answered(admin, 200, 20.0);
    wait_for_answered(admin, 418, 3.0);
    let expect = |series: &str, value: f64| {
        eventually(&format!("{series} is {value}"), || {
            (metric(admin, series) == Some(value)).then_some(())
        });
    };
    expect(
        r#"sluice_http_requests_total{route="all",upstream="app",method="POST",code="200"}"#,
        1.0,
    );
    expect(
        r#"sluice_http_requests_total{route="_none",upstream="_none",method="PUT",code="404"}"#,
        1.0,
    );
    expect(
        r#"sluice_http_request_duration_seconds_count{route="all",upstream="app"}"#,
        24.0,
    );
    expect(
        r#"sluice_http_request_body_bytes_total{route="all",upstream="app"}"#,
        7.0,
    );
    expect(
        r#"sluice_http_response_body_bytes_total{route="all",upstream="app"}"#,
        120.0,
    );
    expect(r#"sluice_errors_total{reason="no_route"}"#, 1.0);
    expect("sluice_http_requests_in_flight", 0.0);
    expect("sluice_processes", 3.0);
}

#[test]
fn counters_survive_a_worker_that_is_killed() {
    let sluice = Sluice::start(&echo(2, ""));
    let admin = sluice.admin();
    ask(&sluice, 10);
    wait_for_answered(admin, 200, 10.0);
    for victim in sluice.workers() {
        process::signal(victim, Signal::SIGKILL);
        eventually("a replacement runs", || {
            let workers = sluice.workers();
            (workers.len() == 2 && !workers.contains(&victim)).then_some(())
        });
    }
    wait_until_ready(&sluice);
    assert_eq!(answered(admin, 200), 10.0);
    ask(&sluice, 10);
    wait_for_answered(admin, 200, 20.0);
    let restarts = metric(admin, r#"sluice_worker_restarts_total{reason="signal"}"#);
    assert_eq!(restarts, Some(2.0));
}

#[test]
fn counters_survive_reloads_and_another_number_of_workers() {
    let sluice = Sluice::start(&echo(2, ""));
    let admin = sluice.admin();
    let mut sent = 0.0;
    for (generation, workers) in [(2, 4), (3, 1), (4, 2)] {
        ask(&sluice, 10);
        sent += 10.0;
        sluice.rewrite(&echo(workers, ""));
        eventually(
            &format!("{workers} workers serve generation {generation}"),
            || {
                let status = get(admin, "/status").json();
                let serving = status["workers"].as_array()?.iter();
                let serving =
                    serving.filter(|w| w["state"] == "serving" && w["generation"] == generation);
                (serving.count() == usize::from(workers) && status["generation"] == generation)
                    .then_some(())
            },
        );
        wait_for_answered(admin, 200, sent);
    }
    assert_eq!(metric(admin, "sluice_config_generation"), Some(4.0));
    assert_eq!(
        metric(admin, r#"sluice_config_reloads_total{result="committed"}"#),
        Some(4.0)
    );
}

#[test]
fn a_worker_that_hangs_holds_no_scrape_up_and_is_replaced() {
    let sluice = Sluice::start(&echo(2, "worker:\n  hangTimeout: 5s\n"));
    let admin = sluice.admin();
    ask(&sluice, 10);
    wait_for_answered(admin, 200, 10.0);
    let victim = sluice.workers()[0];
    process::signal(victim, Signal::SIGSTOP);
    assert_eq!(
        answered(admin, 200),
        10.0,
        "what the hung worker counted is in the sum"
    );
    eventually("the hung worker is replaced", || {
        (metric(admin, r#"sluice_worker_restarts_total{reason="hang"}"#) == Some(1.0)).then_some(())
    });
    wait_until_ready(&sluice);
    assert!(!sluice.workers().contains(&victim));
    ask(&sluice, 10);
    wait_for_answered(admin, 200, 20.0);
}

#[test]
fn series_beyond_the_bound_are_counted_together() {
    let rules: String = (0..200)
        .map(|n| format!("    - name: r{n}\n      path: /r{n}/\n      upstreams: [app]\n"))
        .collect();
    let yaml = format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 1\n  upstreams:\n    - id: app\n      url: \
         builtin://echo\n  rules:\n{rules}metrics:\n  maxSeries: 100\n"
    );
    let sluice = Sluice::start(&yaml);
    let mut client = sluice.connect();
    for n in 0..200 {
        assert_eq!(client.get(&format!("/r{n}/")).status, 200);
    }
    let sum = || {
        let text = get(sluice.admin(), "/metrics").text();
        let lines = text
            .lines()
            .filter(|line| line.starts_with("sluice_http_requests_total{"));
        lines
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            .sum::<f64>()
    };
    eventually("all 200 are counted somewhere", || {
        (sum() == 200.0).then_some(())
    });
    let text = get(sluice.admin(), "/metrics").text();
    let series = text
        .lines()
        .filter(|line| line.starts_with("sluice_http_requests_total{"))
        .count();
    assert!(series <= 101, "{series} series");
    assert!(
        text.contains(r#"sluice_http_requests_total{route="_other","#),
        "{text}"
    );
    assert!(metric(sluice.admin(), "sluice_metrics_dropped_series_total").unwrap() > 0.0);
}
