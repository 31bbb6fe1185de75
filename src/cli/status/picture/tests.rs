use std::time::{Duration, Instant};

use serde_json::json;

use super::{Sample, draw};

fn sample(at: Instant, requests: u64) -> Sample {
    let numbers =
        json!({"total": requests, "1xx": 0, "2xx": requests, "3xx": 0, "4xx": 0, "5xx": 0});
    let duration = json!({"count": 1, "sumSeconds": 0.1, "p50Seconds": 0.0012, "p99Seconds": null, "buckets": []});
    let status = json!({
        "version": "0.1.0", "pid": 1, "state": "serving", "generation": 7, "configHash": "abcd",
        "configSource": "/etc/sluice\u{1b}[2J", "sourceKind": "last-good", "pinned": null, "uptimeSeconds": 3_700.5,
        "lastReload": {"at": "2026-11-23T23:00:00.000Z", "result": "rejected", "generation": null,
            "configHash": "ef", "durationMs": 12, "errors": ["server.rules[2]: unknown upstream"], "changes": []},
        "workers": [{"slot": 0, "pid": 42, "state": "serving", "generation": 7, "startedAt": "x",
            "restarts": 1, "uptimeSeconds": 60.0, "requestsTotal": requests, "requestsInFlight": 2, "connections": 3}],
    });
    let routes = json!({"generation": 7, "total": 9, "bucketBoundsSeconds": [], "routes": [
        {"name": "api", "upstreams": ["todos"], "requests": numbers, "duration": duration}]});
    let upstreams = json!({"generation": 7, "bucketBoundsSeconds": [], "upstreams": [
        {"id": "todos", "requests": numbers, "retries": 0, "connections": {"active": 1, "idle": 4},
         "duration": duration, "connect": duration, "endpoints": [
            {"address": "10.0.0.1:80", "weight": 1, "health": "healthy"},
            {"address": "10.0.0.2:80", "weight": 1, "health": "ejected"}]}]});
    Sample {
        at,
        status: serde_json::from_value(status).unwrap(),
        routes: serde_json::from_value(routes).unwrap(),
        upstreams: serde_json::from_value(upstreams).unwrap(),
    }
}

#[test]
fn one_sample_shows_totals() {
    let text = draw(&sample(Instant::now(), 50), None);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "sluice 0.1.0  serving  generation 7  config abcd  up 1h1m"
    );
    assert_eq!(lines[1], "/etc/sluice\u{fffd}[2J");
    assert!(lines[2].starts_with("!! THE FILE IS NOT VALID"), "{text}");
    assert_eq!(
        lines[3],
        "last reload rejected at 2026-11-23T23:00:00.000Z, took 12 ms"
    );
    assert_eq!(lines[4], "  server.rules[2]: unknown upstream");
    assert!(
        text.contains("ROUTE  UPSTREAMS  REQUESTS  2XX  3XX  4XX  5XX  P50    P99\n"),
        "{text}"
    );
    assert!(
        text.contains("api    todos      50        50   0    0    0    1.2ms  -\n"),
        "{text}"
    );
    assert!(text.contains("(the 1 busiest of 9 routes)\n"), "{text}");
    assert!(
        text.contains("todos     1/2") && text.ends_with("10.0.0.2:80\n"),
        "{text}"
    );
}

#[test]
fn two_samples_show_rates() {
    let start = Instant::now();
    let text = draw(
        &sample(start + Duration::from_secs(2), 70),
        Some(&sample(start, 50)),
    );
    assert!(
        text.contains("api    todos      10.0   10.0  0.0"),
        "{text}"
    );
}
