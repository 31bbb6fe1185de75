//! Spans in OTLP's protobuf, written by hand: the few messages that a span needs are easier to read
//! here than a generated library, and cost no dependency. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Observation;
use super::trace::Trace;

/// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
/// `SPAN_KIND_SERVER` and `STATUS_CODE_ERROR`.
const SERVER: u64 = 2;
const ERROR: u64 = 2;

/// What a span tells beside its times.
pub(super) struct Names<'a> {
    pub(super) route: Option<&'a str>,
    pub(super) upstream: Option<&'a str>,
}

/// One `Span`, ready to be put into a request.
pub(super) fn span(seen: &Observation, trace: &Trace, names: &Names<'_>) -> Vec<u8> {
    let end = SystemTime::now();
    let begin = end.checked_sub(seen.duration).unwrap_or(UNIX_EPOCH);
    let mut span = Vec::with_capacity(512);
    bytes(&mut span, 1, &trace.trace.get().to_be_bytes());
    bytes(&mut span, 2, &trace.span.get().to_be_bytes());
    if let Some(state) = &trace.state {
        bytes(&mut span, 3, String::from_utf8_lossy(state).as_bytes());
    }
    if let Some(parent) = trace.parent {
        bytes(&mut span, 4, &parent.get().to_be_bytes());
    }
    let name = match names.route {
        Some(route) => format!("{} {route}", seen.method),
        None => seen.method.to_string(),
    };
    bytes(&mut span, 5, name.as_bytes());
    number(&mut span, 6, SERVER);
    fixed(&mut span, 7, nanos(begin));
    fixed(&mut span, 8, nanos(end));
    attributes(&mut span, seen, names);
    let failed = seen.status.is_none_or(|status| status.is_server_error());
    if failed {
        let mut status = Vec::new();
        if let Some(reason) = seen.reason {
            bytes(&mut status, 2, reason.code().as_bytes());
        }
        number(&mut status, 3, ERROR);
        bytes(&mut span, 15, &status);
    }
    span
}

/// The names are those of OpenTelemetry's conventions for HTTP servers, and ours under `sluice.`.
fn attributes(span: &mut Vec<u8>, seen: &Observation, names: &Names<'_>) {
    let mut text =
        |key: &str, value: &str| attribute(span, key, |any| bytes(any, 1, value.as_bytes()));
    text("http.request.method", seen.method.as_str());
    text("url.path", seen.target.path());
    text("client.address", &seen.client.to_string());
    if let Some(host) = seen
        .host
        .as_ref()
        .and_then(|host| str::from_utf8(host).ok())
    {
        text("server.address", host);
    }
    for (key, value) in [
        ("http.route", names.route),
        ("sluice.upstream", names.upstream),
    ] {
        value.into_iter().for_each(|value| text(key, value));
    }
    if let Some(endpoint) = &seen.endpoint {
        text("sluice.endpoint", &endpoint.to_string());
    }
    if let Some(reason) = seen.reason {
        text("sluice.reason", reason.code());
        text("error.type", reason.code());
    }
    let mut count = |key: &str, value: u64| attribute(span, key, |any| number(any, 3, value));
    if let Some(status) = seen.status {
        count("http.response.status_code", status.as_u16().into());
    }
    count("sluice.attempts", seen.attempts.into());
    count("sluice.generation", seen.generation);
}

fn attribute(span: &mut Vec<u8>, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    let mut pair = Vec::with_capacity(64);
    bytes(&mut pair, 1, key.as_bytes());
    let mut any = Vec::with_capacity(32);
    value(&mut any);
    bytes(&mut pair, 2, &any);
    bytes(span, 9, &pair);
}

/// An `ExportTraceServiceRequest` of these spans.
pub(super) fn request(spans: &[Vec<u8>], service: &str, worker: u16) -> Vec<u8> {
    let mut resource = Vec::new();
    let mut text = |key: &str, value: &str| {
        let mut pair = Vec::new();
        bytes(&mut pair, 1, key.as_bytes());
        let mut any = Vec::new();
        bytes(&mut any, 1, value.as_bytes());
        bytes(&mut pair, 2, &any);
        bytes(&mut resource, 1, &pair);
    };
    text("service.name", service);
    text("service.version", env!("CARGO_PKG_VERSION"));
    text("service.instance.id", &format!("worker-{worker}"));
    let mut scope = Vec::new();
    bytes(&mut scope, 1, b"sluice");
    let mut scoped = Vec::new();
    bytes(&mut scoped, 1, &scope);
    spans.iter().for_each(|span| bytes(&mut scoped, 2, span));
    let mut resourced = Vec::new();
    bytes(&mut resourced, 1, &resource);
    bytes(&mut resourced, 2, &scoped);
    let mut request = Vec::new();
    bytes(&mut request, 1, &resourced);
    request
}

fn nanos(time: SystemTime) -> u64 {
    let since: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn bytes(into: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(into, field << 3 | BYTES);
    varint(into, value.len() as u64);
    into.extend_from_slice(value);
}

fn number(into: &mut Vec<u8>, field: u64, value: u64) {
    varint(into, field << 3 | VARINT);
    varint(into, value);
}

fn fixed(into: &mut Vec<u8>, field: u64, value: u64) {
    varint(into, field << 3 | FIXED64);
    into.extend_from_slice(&value.to_le_bytes());
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_protobuf_has_them() {
        let mut out = Vec::new();
        number(&mut out, 6, 300);
        bytes(&mut out, 1, b"ab");
        fixed(&mut out, 7, 1);
        assert_eq!(
            out,
            [
                0x30, 0xac, 0x02, 0x0a, 2, b'a', b'b', 0x39, 1, 0, 0, 0, 0, 0, 0, 0
            ]
        );
    }
}
