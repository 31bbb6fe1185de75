use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{routes, status, upstreams};
use crate::admin::fixtures;
use crate::admin::status::Status;
use crate::model::load;
use crate::shm::health::Health;
use crate::shm::layout::Layout;
use crate::shm::names::Names;
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
    let stage = stage();
    let second = stage.status.index.endpoints[0][1];
    let word = stage.segment.board(second).expect("on the board");
    word.store(Health::Ejected.word(), Relaxed);
    let idle = Key::new(
        Family::UpstreamConnections,
        stage.status.index.upstreams[0],
        ConnectionState::Idle as u32,
        0,
    );
    stage.recorder.counter(idle).set(4);
    stage.request(0, 0, 200);
    let shown = json_of(&upstreams(&stage.status, &stage.totals(), &stage.segment));
    let todos = &shown["upstreams"][0];
    assert_eq!(
        todos["endpoints"],
        json!([
            {"address": "10.0.0.1:80", "weight": 1, "health": "unknown"},
            {"address": "10.0.0.2:80", "weight": 1, "health": "ejected"},
        ])
    );
    assert_eq!(
        (&todos["connections"]["idle"], &todos["requests"]["2xx"]),
        (&json!(4), &json!(1))
    );
    assert_eq!(shown["upstreams"][1]["endpoints"], json!([]));
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
