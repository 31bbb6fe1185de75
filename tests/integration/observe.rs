//! What operators see: probes, metrics, status, logs, the dashboard.

mod counts;
mod page;
mod port;
mod prometheus;
mod requests;

use std::net::SocketAddr;

use crate::harness::{Sluice, eventually, get};

/// The value of the series whose line starts so, name and labels and all.
fn metric(admin: SocketAddr, series: &str) -> Option<f64> {
    let text = get(admin, "/metrics").with_status(200).text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap_or_else(|_| panic!("{series}: {line}")))
}

/// Answers of the builtin echo or an upstream named `app`, by the rule named `all`.
fn answered(admin: SocketAddr, code: u16) -> f64 {
    let labels = format!(r#"{{route="all",upstream="app",method="GET",code="{code}"}}"#);
    metric(admin, &format!("sluice_http_requests_total{labels}")).unwrap_or_default()
}

/// Counts are written when a request is over, which its client may know a moment earlier.
#[track_caller]
fn wait_for_answered(admin: SocketAddr, code: u16, count: f64) {
    eventually(&format!("{count} answers with {code} are counted"), || {
        let now = answered(admin, code);
        assert!(
            now <= count,
            "{now} are counted, more than the {count} that were sent"
        );
        (now == count).then_some(())
    });
}

#[track_caller]
fn wait_until_ready(sluice: &Sluice) {
    eventually("it is ready", || {
        (get(sluice.admin(), "/readyz").status == 200).then_some(())
    });
}

/// By the builtin echo, with so many workers and more top-level sections.
fn echo(workers: u16, more: &str) -> String {
    format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: {workers}\n  upstreams:\n    - id: app\n      \
         url: builtin://echo\n  rules:\n    - name: all\n      path: /\n      upstreams: [app]\n{more}"
    )
}
