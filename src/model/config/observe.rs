//! What a configuration says about looking on: the access log and tracing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One line for each request, or for some of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    pub destination: LogDestination,
    pub format: AccessLogFormat,
    /// In the order that a line has them; never empty, none twice.
    pub fields: Vec<LogField>,
    /// Request headers that are logged too, in lower case.
    pub headers: Vec<String>,
    /// Of so many requests one is logged; at least 1.
    pub one_of: u32,
    /// How many bytes of lines may wait to be written, per worker; what is over is dropped.
    pub buffer: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LogDestination {
    Stdout,
    /// A path; made where it is missing, written at its end.
    File(String),
}

impl fmt::Display for LogDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => f.write_str(path),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessLogFormat {
    /// One object per line.
    Json,
    /// The values alone, with spaces between.
    Text,
}

/// What a line can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LogField {
    Time,
    Client,
    Method,
    Host,
    Path,
    Protocol,
    Status,
    BytesReceived,
    BytesSent,
    DurationMs,
    Route,
    Upstream,
    Endpoint,
    UpstreamStatus,
    UpstreamConnectMs,
    UpstreamHeadMs,
    Attempts,
    Reason,
    RequestId,
    TraceId,
    UserAgent,
    TlsVersion,
    TlsCipher,
    Sni,
    Worker,
    Generation,
}

impl LogField {
    pub const ALL: [LogField; 26] = [
        LogField::Time,
        LogField::Client,
        LogField::Method,
        LogField::Host,
        LogField::Path,
        LogField::Protocol,
        LogField::Status,
        LogField::BytesReceived,
        LogField::BytesSent,
        LogField::DurationMs,
        LogField::Route,
        LogField::Upstream,
        LogField::Endpoint,
        LogField::UpstreamStatus,
        LogField::UpstreamConnectMs,
        LogField::UpstreamHeadMs,
        LogField::Attempts,
        LogField::Reason,
        LogField::RequestId,
        LogField::TraceId,
        LogField::UserAgent,
        LogField::TlsVersion,
        LogField::TlsCipher,
        LogField::Sni,
        LogField::Worker,
        LogField::Generation,
    ];

    /// As the configuration and a line's JSON name it.
    pub fn name(self) -> &'static str {
        match self {
            LogField::Time => "time",
            LogField::Client => "client",
            LogField::Method => "method",
            LogField::Host => "host",
            LogField::Path => "path",
            LogField::Protocol => "protocol",
            LogField::Status => "status",
            LogField::BytesReceived => "bytes_received",
            LogField::BytesSent => "bytes_sent",
            LogField::DurationMs => "duration_ms",
            LogField::Route => "route",
            LogField::Upstream => "upstream",
            LogField::Endpoint => "endpoint",
            LogField::UpstreamStatus => "upstream_status",
            LogField::UpstreamConnectMs => "upstream_connect_ms",
            LogField::UpstreamHeadMs => "upstream_head_ms",
            LogField::Attempts => "attempts",
            LogField::Reason => "reason",
            LogField::RequestId => "request_id",
            LogField::TraceId => "trace_id",
            LogField::UserAgent => "user_agent",
            LogField::TlsVersion => "tls_version",
            LogField::TlsCipher => "tls_cipher",
            LogField::Sni => "sni",
            LogField::Worker => "worker",
            LogField::Generation => "generation",
        }
    }
}

/// Spans of requests, sent to a collector by OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracing {
    /// The collector's host and port, as `Host` and for the connection.
    pub authority: String,
    pub path: String,
    pub service_name: String,
    /// Of so many requests that carry no decision one is sampled; at least 1.
    pub one_of: u32,
}
