use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::{Admission, Scrape, catalog, render};
use crate::admin::fixtures::status;
use crate::admin::status::{Certificate, ReloadResult, RestartReason, Status};
use crate::admin::{Counts, Timestamp};
use crate::shm::layout::Layout;
use crate::shm::names::Labels;
use crate::shm::recorder::Recorder;
use crate::shm::series::{ConnectionState, Family, Key, method_and_code};
use crate::shm::totals::Totals;
use crate::shm::{SUPERVISOR, Segment};

const REASONS: &[&str] = &["connect-refused", "route-not-found"];

fn segment() -> Segment {
    Segment::create_sized(Layout { chunks: 2_048 }).expect("a segment")
}

fn recorder(segment: &Segment, slot: u16) -> Recorder {
    let row = segment.lease(slot).expect("a free row");
    Recorder::open(segment.clone(), row).expect("the row opens")
}

fn requests(route: u32, upstream: u32, code: u16) -> Key {
    Key::new(
        Family::Requests,
        route,
        upstream,
        method_and_code(&http::Method::GET, code),
    )
}

/// One of every family.
fn count_everything(recorder: &Recorder) {
    for family in Family::ALL {
        let key = match family {
            Family::Requests => requests(2, 3, 200),
            Family::Connections => Key::new(family, 4, ConnectionState::Active as u32, 0),
            Family::UpstreamConnections => Key::new(family, 3, ConnectionState::Idle as u32, 0),
            Family::RequestDuration | Family::RequestBytes | Family::ResponseBytes => {
                Key::new(family, 2, 3, 0)
            }
            Family::UpstreamDuration | Family::UpstreamConnect | Family::Retries => {
                Key::new(family, 3, 0, 0)
            }
            Family::Accepted => Key::new(family, 4, 0, 0),
            _ => Key::new(family, 0, 0, 0),
        };
        match family.nature() {
            crate::shm::series::Nature::Histogram => {
                recorder.histogram(key).record(Duration::from_millis(3));
            }
            _ => recorder.counter(key).add(1),
        }
    }
}

fn told() -> Status {
    let labels = [(2, "api"), (3, "todos"), (4, "0.0.0.0:8080")];
    let labels: Labels = labels
        .into_iter()
        .map(|(id, name)| (id, name.to_owned()))
        .collect();
    let expires_at = Timestamp::now();
    Status {
        labels: Arc::new(labels),
        certificates: vec![Certificate {
            name: "example.com".to_owned(),
            hosts: vec!["example.com".to_owned()],
            issuer: "CN=authority".to_owned(),
            serial: "01".to_owned(),
            fingerprint: "ab".repeat(32),
            expires_at,
        }],
        ..status()
    }
}

fn scraped(status: &Status, segment: &Segment) -> String {
    let totals = Totals::read(segment);
    let scrape = Scrape {
        status,
        totals: &totals,
        segment,
        reasons: REASONS,
    };
    render(&scrape, &mut Admission::default())
}

#[test]
fn counts_appear_under_their_names_summed_over_rows() {
    let segment = segment();
    let (one, two) = (recorder(&segment, 0), recorder(&segment, 1));
    count_everything(&one);
    two.counter(requests(2, 3, 200)).add(4);
    two.counter(requests(0, 0, 404)).add(2);
    let text = scraped(&told(), &segment);
    for line in [
        r#"sluice_http_requests_total{route="api",upstream="todos",method="GET",code="200"} 5"#,
        r#"sluice_http_requests_total{route="_none",upstream="_none",method="GET",code="404"} 2"#,
        r#"sluice_http_request_duration_seconds_bucket{route="api",upstream="todos",le="0.0025"} 0"#,
        r#"sluice_http_request_duration_seconds_bucket{route="api",upstream="todos",le="0.005"} 1"#,
        r#"sluice_http_request_duration_seconds_bucket{route="api",upstream="todos",le="+Inf"} 1"#,
        r#"sluice_http_request_duration_seconds_sum{route="api",upstream="todos"} 0.003"#,
        r#"sluice_pod_info{namespace="shop",pod="web-0"} 1"#,
        r#"sluice_connections{listener="0.0.0.0:8080",state="active"} 1"#,
        r#"sluice_upstream_connections{upstream="todos",state="idle"} 1"#,
        r#"sluice_errors_total{reason="connect-refused"} 1"#,
        r#"sluice_errors_total{reason="route-not-found"} 0"#,
        r#"sluice_config_info{hash="0123456789abcdef",generation="3"} 1"#,
        r#"sluice_worker_config_generation{worker="1"} 3"#,
        r#"sluice_workers{state="serving"} 2"#,
        r#"sluice_workers{state="backing-off"} 0"#,
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line} in\n{text}"
        );
    }
}

#[test]
fn the_supervisors_own_counts_start_at_zero() {
    let segment = segment();
    let counts = Counts::new(recorder(&segment, SUPERVISOR));
    counts.reload(ReloadResult::Committed, Duration::from_millis(7));
    counts.restart(RestartReason::Hang);
    let text = scraped(&told(), &segment);
    for line in [
        r#"sluice_config_reloads_total{result="committed"} 1"#,
        r#"sluice_config_reloads_total{result="rejected"} 0"#,
        r#"sluice_config_reloads_total{result="rolled-back"} 0"#,
        r#"sluice_config_apply_duration_seconds_count 1"#,
        r#"sluice_worker_restarts_total{reason="hang"} 1"#,
        r#"sluice_worker_restarts_total{reason="exit"} 0"#,
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line} in\n{text}"
        );
    }
}

#[test]
fn series_of_forgotten_names_are_left_out() {
    let segment = segment();
    recorder(&segment, 0).counter(requests(77, 3, 200)).add(1);
    let text = scraped(&told(), &segment);
    assert!(!text.contains("sluice_http_requests_total{"), "{text}");
}

#[test]
fn series_beyond_the_rows_limit_are_shown_as_other() {
    let segment = segment();
    let full = recorder(&segment, 0);
    full.set_limit(0);
    full.counter(requests(2, 3, 200)).add(3);
    let text = scraped(&told(), &segment);
    let other = r#"{route="_other",upstream="_other",method="_other",code="_other"} 3"#;
    assert!(
        text.contains(&format!("sluice_http_requests_total{other}")),
        "{text}"
    );
    assert!(
        text.contains("sluice_metrics_dropped_series_total 1\n"),
        "{text}"
    );
}

/// What is in the catalog can be scraped, and nothing else can.
#[test]
fn the_catalog_is_what_is_scraped() {
    let segment = segment();
    count_everything(&recorder(&segment, 0));
    let mut told = told();
    told.names = std::sync::Arc::new(vec![crate::admin::fixtures::name()]);
    told.history = vec![crate::admin::fixtures::reload(ReloadResult::Committed)];
    let text = scraped(&told, &segment);
    let mut found: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let mut listed: Vec<&str> = catalog::ALL.iter().map(|metric| metric.name).collect();
    found.sort_unstable();
    listed.sort_unstable();
    // Endpoints are told by the configuration, which this status lacks.
    listed.retain(|name| *name != catalog::ENDPOINT_HEALTHY.name);
    assert_eq!(found, listed);
}

#[test]
fn promtool_has_no_remark() {
    let segment = segment();
    count_everything(&recorder(&segment, 0));
    let text = scraped(&told(), &segment);
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Ok(promtool) => promtool,
        Err(error) => {
            println!("skipped: promtool cannot be run ({error}); Debian has it in `prometheus`");
            return;
        }
    };
    let mut stdin = promtool.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(
        output.status.success() && said.iter().all(String::is_empty),
        "{said:?}\n{text}"
    );
}
