use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{routes, status, upstreams};
use crate::admin::fixtures;
use crate::admin::status::{CheckState, Status};
use crate::admin::time::Timestamp;
use crate::model::load;
use crate::model::resolved::{Address, Resolved, ResolvedEndpoint, Standing};
use crate::shm::health::{Experience, Millis, Trust};
use crate::shm::layout::{Layout, ShareCell};
use crate::shm::names::{Index, Names};
use crate::shm::recorder::Recorder;
use crate::shm::series::{ConnectionState, Family, Key, method_and_code};
use crate::shm::totals::Totals;
use crate::shm::{RowId, Segment};

const YAML: &str = "\
server:
  listen: 80
  upstreams:
    - id: todos
      servers: [http://10.0.0.1:80, http://10.0.0.2:80]
    - id: dummy
      url: builtin://echo
  rules:
    - name: busy
      path: /busy
      upstreams: [todos]
    - name: idle
      path: /
      upstreams: [dummy, todos]
";

struct Stage {
    segment: Segment,
    recorder: Recorder,
    status: Status,
}

fn stage() -> Stage {
    let loaded = load(YAML, &mut |_| Err("none".to_owned()));
    let config = loaded
        .config
        .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    let segment = Segment::create_sized(Layout { chunks: 16 }).expect("a segment");
    let row = segment.lease(0).expect("a row");
    let recorder = Recorder::open(segment.clone(), row).expect("it opens");
    let mut names = Names::default();
    let index = names.assign(&config, Instant::now(), &HashSet::new());
    let labels = names
        .labels()
        .map(|(id, _, name)| (id, name.to_owned()))
        .collect();
    let (index, labels, config) = (Arc::new(index), Arc::new(labels), Some(Arc::new(config)));
    let status = Status {
        index,
        labels,
        config,
        ..fixtures::status()
    };
    Stage {
        segment,
        recorder,
        status,
    }
}

impl Stage {
    fn request(&self, route: usize, upstream: usize, code: u16) {
        let (route, upstream) = (
            self.status.index.routes[route],
            self.status.index.upstreams[upstream],
        );
        let detail = method_and_code(&http::Method::GET, code);
        self.recorder
            .counter(Key::new(Family::Requests, route, upstream, detail))
            .add(1);
        let key = Key::new(Family::RequestDuration, route, upstream, 0);
        self.recorder
            .histogram(key)
            .record(Duration::from_millis(4));
    }

    fn totals(&self) -> Totals {
        Totals::read(&self.segment)
    }
}

fn json_of(view: &impl serde::Serialize) -> Value {
    serde_json::to_value(view).expect("a view is JSON")
}

#[test]
fn routes_tell_requests_by_class_and_durations_over_all_their_upstreams() {
    let stage = stage();
    stage.request(1, 0, 200);
    stage.request(1, 1, 404);
    stage.request(1, 1, 503);
    let shown = json_of(&routes(&stage.status, &stage.totals(), None));
    assert_eq!(
        (&shown["generation"], &shown["total"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(shown["routes"][0]["name"], "busy");
    assert_eq!(shown["routes"][0]["duration"]["p50Seconds"], Value::Null);
    let idle = &shown["routes"][1];
    assert_eq!(idle["upstreams"], json!(["dummy", "todos"]));
    let expected = json!({"total": 3, "1xx": 0, "2xx": 1, "3xx": 0, "4xx": 1, "5xx": 1});
    assert_eq!(idle["requests"], expected);
    assert_eq!(idle["duration"]["count"], 3);
    assert_eq!(idle["duration"]["buckets"][3], 3);
    assert_eq!(shown["bucketBoundsSeconds"][3], 0.005);
}

#[test]
fn the_busiest_routes_come_first_where_few_are_asked_for() {
    let stage = stage();
    stage.request(1, 0, 200);
    let shown = json_of(&routes(&stage.status, &stage.totals(), Some(1)));
    assert_eq!(shown["total"], 2);
    assert_eq!(shown["routes"].as_array().expect("a list").len(), 1);
    assert_eq!(shown["routes"][0]["name"], "idle");
}

#[test]
fn upstreams_tell_what_the_health_board_says_of_their_endpoints() {
    let mut stage = stage();
    let second = stage.status.index.endpoints[0][1].expect("has a place");
    let board = stage.segment.board(second).expect("on the board");
    let experience = Experience {
        until: Millis(u64::MAX),
        ejections: 1,
        streak: 5,
        trust: Trust::Trial,
    };
    board.learn(|_| Some(experience));
    let share = stage.recorder.share(second, ShareCell::Requests);
    share.expect("has a share").store(3, Relaxed);
    let idle = Key::new(
        Family::UpstreamConnections,
        stage.status.index.upstreams[0],
        ConnectionState::Idle as u32,
        0,
    );
    stage.recorder.counter(idle).set(4);
    stage.request(0, 0, 200);
    let check = CheckState {
        checks: 3,
        checked_at: Some(Timestamp::from_millis(7_000)),
        error: Some("status 503".to_owned()),
    };
    stage.status.checks = Arc::new(HashMap::from([(second, check)]));
    let shown = json_of(&upstreams(&stage.status, &stage.totals(), &stage.segment));
    let mut todos = shown["upstreams"][0].clone();
    let left = todos["endpoints"][1]["ejectedForSeconds"].take();
    assert!(left.as_f64().expect("a number") > 0.0);
    assert_eq!(
        todos["endpoints"],
        json!([
            {"address": "10.0.0.1:80", "server": null, "weight": 1, "health": "unknown",
             "requestsInFlight": 0, "consecutiveErrors": 0,
             "ejectedForSeconds": null, "checkedAt": null, "checkError": null},
            {"address": "10.0.0.2:80", "server": null, "weight": 1, "health": "ejected",
             "requestsInFlight": 3, "consecutiveErrors": 5,
             "ejectedForSeconds": null,
             "checkedAt": "1970-01-01T00:00:07.000Z", "checkError": "status 503"},
        ])
    );
    assert_eq!(
        (&todos["connections"]["idle"], &todos["requests"]["2xx"]),
        (&json!(4), &json!(1))
    );
    assert_eq!(shown["upstreams"][1]["endpoints"], json!([]));
}

#[test]
fn a_name_is_shown_by_its_addresses_once_it_has_some() {
    let mut stage = stage();
    let yaml = YAML.replace(
        "[http://10.0.0.1:80, http://10.0.0.2:80]",
        "[http://todos.example]",
    );
    let loaded = load(&yaml, &mut |_| Err("none".to_owned()));
    stage.status.config = loaded.config.map(Arc::new);
    stage.status.index = Arc::new(Index {
        endpoints: vec![vec![None], vec![]],
        ..Index::clone(&stage.status.index)
    });
    let endpoints = |stage: &Stage| {
        let shown = json_of(&upstreams(&stage.status, &stage.totals(), &stage.segment));
        let endpoints = shown["upstreams"][0]["endpoints"].clone();
        let endpoints = endpoints.as_array().cloned().unwrap_or_default();
        let told = |one: &Value| format!("{} {} {}", one["address"], one["server"], one["health"]);
        endpoints.iter().map(told).collect::<Vec<_>>()
    };
    let name = r#""todos.example:80""#;
    assert_eq!(endpoints(&stage), [format!("{name} {name} \"unresolved\"")]);

    let endpoint = |id, last| ResolvedEndpoint {
        id,
        address: Address::Ip(([10, 0, 0, last], 80).into()),
        weight: 1,
        priority: 0,
    };
    stage.status.resolved = Arc::new(vec![Resolved {
        upstream: "todos".to_owned(),
        server: "todos.example:80".to_owned(),
        standing: Standing::Configured,
        endpoints: vec![endpoint(8, 1), endpoint(9, 2)],
    }]);
    assert_eq!(
        endpoints(&stage),
        [
            format!(r#""10.0.0.1:80" {name} "unknown""#),
            format!(r#""10.0.0.2:80" {name} "unknown""#)
        ]
    );
}

#[test]
fn a_worker_tells_what_its_row_has_counted() {
    let stage = stage();
    stage.request(0, 0, 200);
    stage.request(0, 0, 200);
    let mut told = stage.status.clone();
    told.workers[1].row = RowId(200);
    let shown = json_of(&status(&told, &stage.segment));
    assert_eq!(shown["workers"][0]["requestsTotal"], 2);
    assert_eq!(shown["workers"][1]["requestsTotal"], 0);
    assert_eq!(shown["configHash"], "0123456789abcdef");
}
