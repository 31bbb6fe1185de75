//! A real Prometheus scrapes the real program and answers queries; alert rules and the Grafana dashboard
//! are held to it.

use std::net::SocketAddr;
use std::process::{Child, Stdio};

use serde_json::Value;

use super::{echo, wait_for_answered};
use crate::harness::{Sluice, eventually, foreign, get, port};

const REQUESTS: usize = 200;

struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn scraping(admin: SocketAddr) -> Option<Prometheus> {
        let mut program = foreign::find("prometheus")?;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let yaml = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: sluice\n    \
             static_configs:\n      - targets: ['{admin}']\n"
        );
        std::fs::write(&config, yaml).unwrap();
        let address = port::free_address();
        let child = program
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Prometheus {
            child,
            address,
            _folder: folder,
        })
    }

    /// The result of a query; `None` while the server is not there yet.
    fn try_query(&self, query: &str) -> Option<Vec<Value>> {
        std::net::TcpStream::connect(self.address).ok()?;
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = get(self.address, &format!("/api/v1/query?query={encoded}"));
        if answer.status == 503 {
            return None;
        }
        let body = answer.json();
        assert_eq!(body["status"], "success", "{query}: {body}");
        Some(body["data"]["result"].as_array().unwrap().clone())
    }

    fn number(&self, query: &str) -> Option<f64> {
        let result = self.try_query(query)?;
        result.first()?["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn prometheus_scrapes_and_answers_with_the_right_figures() {
    let sluice = Sluice::start(&echo(2, ""));
    let Some(prometheus) = Prometheus::scraping(sluice.admin()) else {
        return;
    };
    eventually("it was scraped before the traffic", || {
        (prometheus.number("sluice_config_generation") == Some(1.0)).then_some(())
    });
    let mut client = sluice.connect();
    for _ in 0..REQUESTS {
        assert_eq!(client.get("/").status, 200);
    }
    wait_for_answered(sluice.admin(), 200, REQUESTS as f64);
    eventually("the sum is what was sent", || {
        let sum = prometheus.number(r#"sum(sluice_http_requests_total{route="all",code="200"})"#);
        (sum == Some(REQUESTS as f64)).then_some(())
    });
    eventually("the counter has a rate", || {
        // A rate needs two points; more traffic makes the second.
        assert_eq!(client.get("/").status, 200);
        let rate = prometheus.number("sum(rate(sluice_http_requests_total[1m]))")?;
        (rate > 0.0).then_some(())
    });
    eventually("the histogram has quantiles", || {
        let quantile =
            "histogram_quantile(0.5, sum by (le) (sluice_http_request_duration_seconds_bucket))";
        let median = prometheus.number(quantile)?;
        assert!(median > 0.0 && median < 30.0, "{median}");
        Some(())
    });
    dashboard_expressions_are_answered(&prometheus);
}

/// Every expression of the dashboard is valid, and most have data without upstream trouble.
fn dashboard_expressions_are_answered(prometheus: &Prometheus) {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/deploy/grafana/sluice.json"
    ));
    let dashboard: Value = serde_json::from_str(&text.unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let expressions: Vec<String> = targets
        .map(|target| target["expr"].as_str().unwrap())
        .map(|expr| expr.replace("$__rate_interval", "1m").replace("$job", ".*"))
        .map(|expr| expr.replace("$instance", ".*").replace("$route", ".*"))
        .collect();
    assert!(expressions.len() > 20, "{expressions:?}");
    let answered = |expr: &&String| !prometheus.try_query(expr).expect("it is there").is_empty();
    let with_data = expressions.iter().filter(answered).count();
    assert!(
        with_data * 4 > expressions.len() * 3,
        "{with_data} of {}",
        expressions.len()
    );
}

#[test]
fn alert_rules_pass_their_own_tests() {
    for (command, file) in [("check", "rules.yaml"), ("test", "rules.test.yaml")] {
        let Some(mut promtool) = foreign::find("promtool") else {
            return;
        };
        let file = format!("{}/deploy/prometheus/{file}", env!("CARGO_MANIFEST_DIR"));
        foreign::run(promtool.args([command, "rules", &file]));
    }
}
