//! `accessLog` and `tracing`, as written.

use crate::model::config::observe::{AccessLogFormat, LogField};
use crate::model::decode::{At, Bytes, Number, section, words};

/// Whether requests are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum LogMode {
    Off,
    On,
    Sampled,
}

words!(LogMode {
    "off" => Self::Off,
    "on" => Self::On,
    "sampled" => Self::Sampled,
});

words!(AccessLogFormat {
    "json" => Self::Json,
    "text" => Self::Text,
});

words!(LogField {
    "time" => Self::Time,
    "client" => Self::Client,
    "method" => Self::Method,
    "host" => Self::Host,
    "path" => Self::Path,
    "protocol" => Self::Protocol,
    "status" => Self::Status,
    "bytes_received" => Self::BytesReceived,
    "bytes_sent" => Self::BytesSent,
    "duration_ms" => Self::DurationMs,
    "route" => Self::Route,
    "upstream" => Self::Upstream,
    "endpoint" => Self::Endpoint,
    "upstream_status" => Self::UpstreamStatus,
    "upstream_connect_ms" => Self::UpstreamConnectMs,
    "upstream_head_ms" => Self::UpstreamHeadMs,
    "attempts" => Self::Attempts,
    "reason" => Self::Reason,
    "request_id" => Self::RequestId,
    "trace_id" => Self::TraceId,
    "user_agent" => Self::UserAgent,
    "tls_version" => Self::TlsVersion,
    "tls_cipher" => Self::TlsCipher,
    "sni" => Self::Sni,
    "worker" => Self::Worker,
    "generation" => Self::Generation,
});

section! {
    /// `accessLog:`
    RawAccessLog {
        /// `on` logs every request, `sampled` one of `sampleEvery`.
        "mode" mode: LogMode = LogMode::Off,
        /// With `sampled`: of so many requests one is logged.
        "sampleEvery" sample_every: Number<1, 1_000_000> = Number(100),
        /// `stdout`, or the path of a file; opened again on SIGUSR1.
        "path" path: &'t str = "stdout",
        /// `json` writes an object per line, `text` the values alone.
        "format" format: AccessLogFormat = AccessLogFormat::Json,
        /// What a line tells, in this order; all fields without it.
        "fields" fields: Vec<At<LogField>>,
        /// Request headers to log too, under `headers`; credentials are masked.
        "headers" headers: Vec<At<&'t str>>,
        /// How many bytes of lines may wait to be written, per worker; what is over is dropped and counted.
        "buffer" buffer: Bytes<16_384, 67_108_864> = Bytes(1_048_576),
    }
}

section! {
    /// `tracing:`
    RawTracing {
        /// Where a collector takes OTLP over HTTP, such as `http://collector:4318/v1/traces`;
        /// without it nothing is traced.
        "endpoint" endpoint: &'t str,
        /// The name that the spans carry.
        "serviceName" service_name: &'t str = "sluice",
        /// Of so many requests one is traced, where the client has not decided.
        "sampleEvery" sample_every: Number<1, 1_000_000> = Number(100),
    }
}
