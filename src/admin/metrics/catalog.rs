//! Every metric by name, with its labels, kind and help: the list that `/metrics` is written from and
//! that docs/observability.md is held to.

use prometheus::proto::MetricType;

/// One family as Prometheus knows it.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricType,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: MetricType::COUNTER,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric {
        name,
        kind: MetricType::GAUGE,
        labels,
        help,
    }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: MetricType::HISTOGRAM,
        labels,
        help,
    }
}

pub const BUILD_INFO: Metric = gauge(
    "sluice_build_info",
    &["version"],
    "Always 1; the label tells the version.",
);
pub const POD_INFO: Metric = gauge(
    "sluice_pod_info",
    &["namespace", "pod"],
    "Always 1, where POD_NAME is set; the labels tell the pod.",
);
pub const CONFIG_INFO: Metric = gauge(
    "sluice_config_info",
    &["hash", "generation"],
    "Always 1; the labels tell the hash of the serving configuration and its generation.",
);
pub const CONFIG_GENERATION: Metric = gauge(
    "sluice_config_generation",
    &[],
    "The generation that is committed.",
);
pub const RELOADS: Metric = counter(
    "sluice_config_reloads_total",
    &["result"],
    "Reloads by how they ended.",
);
pub const CONFIG_SOURCE: Metric = gauge(
    "sluice_config_source",
    &["source"],
    "1 for where the serving configuration comes from, 0 for the others.",
);
pub const LAST_RELOAD_SUCCESSFUL: Metric = gauge(
    "sluice_config_last_reload_successful",
    &[],
    "1 when the last configuration seen was committed, 0 when it was rejected.",
);
pub const LAST_RELOAD_SUCCESS: Metric = gauge(
    "sluice_config_last_reload_success_timestamp_seconds",
    &[],
    "When a configuration was last committed.",
);
pub const APPLY_DURATION: Metric = histogram(
    "sluice_config_apply_duration_seconds",
    &[],
    "From the event that a configuration changed to the last worker's commit.",
);
pub const WORKER_GENERATION: Metric = gauge(
    "sluice_worker_config_generation",
    &["worker"],
    "The generation a worker serves.",
);
pub const WORKERS: Metric = gauge("sluice_workers", &["state"], "Workers by state.");
pub const RESTARTS: Metric = counter(
    "sluice_worker_restarts_total",
    &["reason"],
    "Workers replaced, by why.",
);
pub const REQUESTS: Metric = counter(
    "sluice_http_requests_total",
    &["route", "upstream", "method", "code"],
    "Requests answered.",
);
pub const REQUEST_DURATION: Metric = histogram(
    "sluice_http_request_duration_seconds",
    &["route", "upstream"],
    "From a request's head to the last byte of its answer.",
);
pub const IN_FLIGHT: Metric = gauge(
    "sluice_http_requests_in_flight",
    &[],
    "Requests that are not answered yet.",
);
pub const REQUEST_BYTES: Metric = counter(
    "sluice_http_request_body_bytes_total",
    &["route", "upstream"],
    "Bytes of request bodies read from clients.",
);
pub const RESPONSE_BYTES: Metric = counter(
    "sluice_http_response_body_bytes_total",
    &["route", "upstream"],
    "Bytes of response bodies written to clients.",
);
pub const CONNECTIONS: Metric = gauge(
    "sluice_connections",
    &["listener", "state"],
    "Client connections that are open, by whether a request is on them.",
);
pub const ACCEPTED: Metric = counter(
    "sluice_connections_accepted_total",
    &["listener"],
    "Client connections accepted.",
);
pub const HANDSHAKES: Metric = counter(
    "sluice_tls_handshakes_total",
    &["listener", "result"],
    "TLS handshakes with clients, by how they ended.",
);
pub const TUNNELS: Metric = gauge(
    "sluice_tunnels",
    &["upstream"],
    "Upgraded connections (WebSocket and others) that are open.",
);
pub const TUNNELS_OPENED: Metric = counter(
    "sluice_tunnels_opened_total",
    &["upstream"],
    "Connections that were upgraded.",
);
pub const TUNNEL_BYTES: Metric = counter(
    "sluice_tunnel_bytes_total",
    &["upstream", "direction"],
    "Bytes carried over upgraded connections, counted as they pass.",
);
pub const TCP_CONNECTIONS: Metric = gauge(
    "sluice_tcp_connections",
    &["listener", "upstream"],
    "Connections of TCP listeners that are open to an upstream.",
);
pub const TCP_OPENED: Metric = counter(
    "sluice_tcp_connections_total",
    &["listener", "upstream"],
    "Connections of TCP listeners that reached an upstream.",
);
pub const TCP_BYTES: Metric = counter(
    "sluice_tcp_bytes_total",
    &["listener", "upstream", "direction"],
    "Bytes carried over connections of TCP listeners, counted as they pass.",
);
pub const TCP_DURATION: Metric = histogram(
    "sluice_tcp_connection_duration_seconds",
    &["listener", "upstream"],
    "How long connections of TCP listeners were open to an upstream.",
);
pub const UPSTREAM_DURATION: Metric = histogram(
    "sluice_upstream_request_duration_seconds",
    &["upstream"],
    "From a request's head to the head of the upstream's response.",
);
pub const UPSTREAM_CONNECT: Metric = histogram(
    "sluice_upstream_connect_duration_seconds",
    &["upstream"],
    "How long new connections to an upstream took to open.",
);
pub const UPSTREAM_CONNECTIONS: Metric = gauge(
    "sluice_upstream_connections",
    &["upstream", "state"],
    "Connections to upstreams that are open, by whether a request is on them.",
);
pub const RETRIES: Metric = counter(
    "sluice_upstream_retries_total",
    &["upstream"],
    "Requests sent to an upstream once more.",
);
pub const EJECTIONS: Metric = counter(
    "sluice_upstream_ejections_total",
    &["upstream"],
    "Endpoints left out for a while for what live traffic showed of them.",
);
pub const MIRRORED: Metric = counter(
    "sluice_mirror_requests_total",
    &["upstream", "outcome"],
    "Copies of requests for an upstream: answered, failed, or dropped before they were sent.",
);
pub const ENDPOINT_HEALTHY: Metric = gauge(
    "sluice_upstream_endpoint_healthy",
    &["upstream", "endpoint"],
    "1 when the endpoint gets requests, 0 when it is kept out.",
);
pub const ERRORS: Metric = counter(
    "sluice_errors_total",
    &["reason"],
    "Answers and broken exchanges that the proxy itself is the author of, by reason code.",
);
pub const CERTIFICATE_EXPIRY: Metric = gauge(
    "sluice_tls_certificate_expiry_timestamp_seconds",
    &["certificate"],
    "When a certificate that is served ends to be valid.",
);
pub const ACCESS_LOG: Metric = counter(
    "sluice_access_log_lines_total",
    &["outcome"],
    "Access log lines written, and dropped because the log did not keep up.",
);
pub const SPANS: Metric = counter(
    "sluice_tracing_spans_total",
    &["outcome"],
    "Tracing spans exported, and dropped because the collector did not keep up.",
);
pub const DROPPED_SERIES: Metric = counter(
    "sluice_metrics_dropped_series_total",
    &[],
    "Series that found no room below metrics.maxSeries and are counted under _other.",
);
pub const PROCESSES: Metric = gauge(
    "sluice_processes",
    &[],
    "Processes that the process_ metrics are summed over.",
);
pub const CPU: Metric = counter(
    "process_cpu_seconds_total",
    &[],
    "User and system CPU time of the supervisor and all workers in seconds.",
);
pub const RESIDENT: Metric = gauge(
    "process_resident_memory_bytes",
    &[],
    "Resident memory of the supervisor and all workers in bytes; shared pages count in each.",
);
pub const VIRTUAL: Metric = gauge(
    "process_virtual_memory_bytes",
    &[],
    "Virtual memory of the supervisor and all workers in bytes.",
);
pub const OPEN_FDS: Metric = gauge(
    "process_open_fds",
    &[],
    "Open file descriptors of the supervisor and all workers.",
);
pub const MAX_FDS: Metric = gauge(
    "process_max_fds",
    &[],
    "Maximum number of open file descriptors of one process.",
);
pub const START_TIME: Metric = gauge(
    "process_start_time_seconds",
    &[],
    "Start time of the supervisor since unix epoch in seconds.",
);

pub const DNS_LOOKUPS: Metric = counter(
    "sluice_dns_lookups_total",
    &["result"],
    "Lookups of upstreams' names, each with all its questions to name servers.",
);
pub const HEALTH_CHECKS: Metric = counter(
    "sluice_health_checks_total",
    &["upstream", "result"],
    "Active health checks of an upstream's endpoints.",
);
pub const HEALTH_CHANGES: Metric = counter(
    "sluice_health_check_changes_total",
    &["upstream", "to"],
    "Endpoints that active checks took out, or found well.",
);
pub const NAME_AGE: Metric = gauge(
    "sluice_dns_answer_age_seconds",
    &["name"],
    "How long ago a name was last resolved; only names that have been.",
);

/// All of them.
pub const ALL: [&Metric; 50] = [
    &BUILD_INFO,
    &POD_INFO,
    &CONFIG_INFO,
    &CONFIG_GENERATION,
    &RELOADS,
    &CONFIG_SOURCE,
    &LAST_RELOAD_SUCCESSFUL,
    &LAST_RELOAD_SUCCESS,
    &APPLY_DURATION,
    &WORKER_GENERATION,
    &WORKERS,
    &RESTARTS,
    &REQUESTS,
    &REQUEST_DURATION,
    &IN_FLIGHT,
    &REQUEST_BYTES,
    &RESPONSE_BYTES,
    &CONNECTIONS,
    &ACCEPTED,
    &HANDSHAKES,
    &TUNNELS,
    &TUNNELS_OPENED,
    &TUNNEL_BYTES,
    &TCP_CONNECTIONS,
    &TCP_OPENED,
    &TCP_BYTES,
    &TCP_DURATION,
    &UPSTREAM_DURATION,
    &UPSTREAM_CONNECT,
    &UPSTREAM_CONNECTIONS,
    &RETRIES,
    &EJECTIONS,
    &MIRRORED,
    &ENDPOINT_HEALTHY,
    &ERRORS,
    &CERTIFICATE_EXPIRY,
    &ACCESS_LOG,
    &SPANS,
    &DROPPED_SERIES,
    &PROCESSES,
    &CPU,
    &RESIDENT,
    &VIRTUAL,
    &OPEN_FDS,
    &MAX_FDS,
    &START_TIME,
    &DNS_LOOKUPS,
    &NAME_AGE,
    &HEALTH_CHECKS,
    &HEALTH_CHANGES,
];
