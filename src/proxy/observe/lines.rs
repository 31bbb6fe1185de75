//! What a line of the access log says: the chosen fields of one request, as JSON or as text. Texts from
//! clients are escaped, so that a line is a line whatever they send, and cut where they are long.
//!
//! Not here: where lines go (`writer`).

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::HeaderName;

use super::writer::Writer;
use super::{Kind, Observation};
use crate::model::config::Config;
use crate::model::config::observe::{AccessLog, AccessLogFormat, LogField};
use crate::model::fields::Fields;
use crate::model::resolved::Address;
use crate::model::secret::{MASK, is_credential};
use crate::model::template::TlsFacts;
use crate::proxy::date::civil;

/// A longer text of a client is cut here, so that a line fits into what a pipe takes as a whole.
const LONGEST: usize = 1024;

/// One generation's log.
#[derive(Debug)]
pub(super) struct Lines {
    settings: AccessLog,
    /// The fields with what stands before each in JSON.
    keys: Box<[(LogField, Box<str>)]>,
    headers: Vec<HeaderName>,
    routes: Box<[Box<str>]>,
    upstreams: Box<[Box<str>]>,
    pub(super) writer: Rc<Writer>,
    /// Requests since the last that was logged.
    skipped: Cell<u32>,
    clock: Clock,
    worker: u16,
}

/// The present second as text, written once.
#[derive(Debug, Default)]
struct Clock {
    second: Cell<u64>,
    text: RefCell<String>,
}

/// A value on its way into a line.
enum Value<'a> {
    None,
    /// Needs no escape.
    Plain(&'a str),
    Text(&'a [u8]),
    Number(u64),
    Millis(Duration),
    Ip(IpAddr),
    Address(&'a Address),
    /// In hexadecimal.
    Id(u128),
    Now(&'a Clock),
}

impl Lines {
    pub(super) fn build(
        config: &Config,
        settings: &AccessLog,
        writer: Rc<Writer>,
        worker: u16,
    ) -> Lines {
        let name = |name: &String| name.parse().ok();
        Lines {
            settings: settings.clone(),
            keys: keys(&settings.fields),
            headers: settings.headers.iter().filter_map(name).collect(),
            routes: config
                .rules
                .iter()
                .map(|rule| rule.name.as_str().into())
                .collect(),
            upstreams: config
                .upstreams
                .iter()
                .map(|up| up.id.as_str().into())
                .collect(),
            writer,
            skipped: Cell::new(0),
            clock: Clock::default(),
            worker,
        }
    }

    /// The headers to log, as they came; credentials only show that they were there.
    pub(super) fn capture(&self, headers: &Fields) -> Vec<Option<Bytes>> {
        let value = |name: &HeaderName| match headers.contains(name) {
            true if is_credential(name.as_str()) => Some(Bytes::from_static(MASK.as_bytes())),
            true => headers.get_shared(name),
            false => None,
        };
        self.headers.iter().map(value).collect()
    }

    pub(super) fn request(&self, seen: &Observation) {
        let skipped = self.skipped.get() + 1;
        if skipped < self.settings.one_of {
            self.skipped.set(skipped);
            return;
        }
        self.skipped.set(0);
        self.writer.line(|line| match self.settings.format {
            AccessLogFormat::Json => self.json(seen, line),
            AccessLogFormat::Text => self.text(seen, line),
        });
    }

    fn json(&self, seen: &Observation, line: &mut Vec<u8>) {
        for (field, key) in &self.keys {
            line.extend_from_slice(key.as_bytes());
            json_value(&self.value(*field, seen), line);
        }
        if !self.headers.is_empty() {
            line.extend_from_slice(b",\"headers\":");
            let mut separator = b'{';
            for (name, value) in self.headers.iter().zip(&seen.headers) {
                line.push(separator);
                separator = b',';
                json_value(&Value::Plain(name.as_str()), line);
                line.push(b':');
                json_value(&header(value), line);
            }
            line.extend_from_slice(if separator == b'{' { b"{}" } else { b"}" });
        }
        line.extend_from_slice(b"}\n");
    }

    fn text(&self, seen: &Observation, line: &mut Vec<u8>) {
        for field in &self.settings.fields {
            text_value(&self.value(*field, seen), line);
            line.push(b' ');
        }
        for value in &seen.headers {
            text_value(&header(value), line);
            line.push(b' ');
        }
        line.pop();
        line.push(b'\n');
    }

    fn value<'a>(&'a self, field: LogField, seen: &'a Observation) -> Value<'a> {
        match field {
            LogField::Time => Value::Now(&self.clock),
            LogField::Client => Value::Ip(seen.client),
            LogField::Method | LogField::Path if seen.kind == Kind::Connection => Value::None,
            LogField::Protocol if seen.kind == Kind::Connection => Value::Plain("TCP"),
            LogField::Method => Value::Text(seen.method.as_str().as_bytes()),
            LogField::Host => header(&seen.host),
            LogField::Path => Value::Text(path(seen).as_bytes()),
            LogField::Protocol => Value::Plain(protocol(seen.version)),
            LogField::Status => some(seen.status, |status| Value::Number(status.as_u16().into())),
            LogField::BytesReceived => Value::Number(seen.request_bytes),
            LogField::BytesSent => Value::Number(seen.response_bytes),
            LogField::DurationMs => Value::Millis(seen.duration),
            LogField::Route => named(&self.routes, seen.route),
            LogField::Upstream => named(&self.upstreams, seen.upstream),
            LogField::Endpoint => some(seen.endpoint.as_ref(), Value::Address),
            LogField::UpstreamStatus => upstream_status(seen),
            LogField::UpstreamConnectMs => some(seen.connect, Value::Millis),
            LogField::UpstreamHeadMs => some(seen.upstream_head, Value::Millis),
            LogField::Attempts => Value::Number(seen.attempts.into()),
            LogField::Reason => some(seen.reason, |reason| Value::Plain(reason.code())),
            LogField::RequestId => some(seen.request_id.as_ref(), |id| Value::Text(id.as_bytes())),
            LogField::TraceId => some(seen.trace.as_ref(), |trace| Value::Id(trace.trace.get())),
            LogField::UserAgent => header(&seen.user_agent),
            LogField::TlsVersion => tls(seen, |facts| facts.version),
            LogField::TlsCipher => tls(seen, |facts| facts.cipher),
            LogField::Sni => tls(seen, |facts| facts.sni),
            LogField::Worker => Value::Number(self.worker.into()),
            LogField::Generation => Value::Number(seen.generation),
        }
    }
}

fn keys(fields: &[LogField]) -> Box<[(LogField, Box<str>)]> {
    let separators = std::iter::once('{').chain(std::iter::repeat(','));
    let key = |(field, separator): (&LogField, char)| {
        let key = format!("{separator}\"{}\":", field.name());
        (*field, key.into())
    };
    fields.iter().zip(separators).map(key).collect()
}

fn some<'a, T>(given: Option<T>, value: impl FnOnce(T) -> Value<'a>) -> Value<'a> {
    given.map_or(Value::None, value)
}

fn path(seen: &Observation) -> &str {
    seen.target
        .path_and_query()
        .map_or("/", |path| path.as_str())
}

fn header(value: &Option<Bytes>) -> Value<'_> {
    some(value.as_ref(), |value| Value::Text(value))
}

fn tls<'a>(seen: &'a Observation, fact: impl Fn(&TlsFacts<'a>) -> &'a str) -> Value<'a> {
    let facts = seen.tls.as_ref().map(|tls| tls.facts());
    match facts.map_or("", |facts| fact(&facts)) {
        "" => Value::None,
        text => Value::Text(text.as_bytes()),
    }
}

fn named(names: &[Box<str>], index: Option<u32>) -> Value<'_> {
    let name = index.and_then(|index| names.get(index as usize));
    name.map_or(Value::None, |name| Value::Text(name.as_bytes()))
}

/// What the upstream answered; where the proxy answered in its place, that was not it.
fn upstream_status(seen: &Observation) -> Value<'static> {
    let ours = seen.reason.map(|reason| reason.status());
    match (seen.upstream_head, seen.status) {
        (Some(_), Some(status)) if ours != Some(status) => Value::Number(status.as_u16().into()),
        _ => Value::None,
    }
}

fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        http::Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

fn json_value(value: &Value<'_>, line: &mut Vec<u8>) {
    match value {
        Value::None => line.extend_from_slice(b"null"),
        Value::Number(_) | Value::Millis(_) => bare(value, line),
        Value::Text(text) => {
            line.push(b'"');
            escape(text, line);
            line.push(b'"');
        }
        _ => {
            line.push(b'"');
            bare(value, line);
            line.push(b'"');
        }
    }
}

/// In quotes where the value has a space or is empty, so that columns can be counted.
fn text_value(value: &Value<'_>, line: &mut Vec<u8>) {
    match value {
        Value::None => line.push(b'-'),
        Value::Text(text)
            if text.is_empty() || text.iter().any(|byte| *byte <= b' ' || *byte == b'"') =>
        {
            line.push(b'"');
            escape(text, line);
            line.push(b'"');
        }
        Value::Text(text) => escape(text, line),
        other => bare(other, line),
    }
}

/// What needs no escape.
fn bare(value: &Value<'_>, line: &mut Vec<u8>) {
    match value {
        Value::Plain(text) => line.extend_from_slice(text.as_bytes()),
        Value::Number(number) => digits(*number, line),
        Value::Millis(duration) => {
            let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            digits(micros / 1000, line);
            line.push(b'.');
            thousandths(micros % 1000, line);
        }
        Value::Ip(ip) => address(*ip, line),
        Value::Address(Address::Ip(SocketAddr::V4(endpoint))) => {
            address(IpAddr::V4(*endpoint.ip()), line);
            line.push(b':');
            digits(endpoint.port().into(), line);
        }
        // Writing into memory does not fail.
        Value::Address(endpoint) => drop(write!(line, "{endpoint}")),
        Value::Id(id) => drop(write!(line, "{id:032x}")),
        Value::Now(clock) => clock.write(line),
        Value::None | Value::Text(_) => {}
    }
}

fn digits(number: u64, line: &mut Vec<u8>) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Three digits.
fn thousandths(number: u64, line: &mut Vec<u8>) {
    let digit = |unit: u64| b'0' + (number / unit % 10) as u8;
    line.extend_from_slice(&[digit(100), digit(10), digit(1)]);
}

fn address(ip: IpAddr, line: &mut Vec<u8>) {
    let IpAddr::V4(ip) = ip else {
        // Writing into memory does not fail.
        return drop(write!(line, "{ip}"));
    };
    let [first, others @ ..] = ip.octets();
    digits(first.into(), line);
    for octet in others {
        line.push(b'.');
        digits(octet.into(), line);
    }
}

/// As JSON has it; bytes that are no UTF-8 become U+FFFD, longer texts end with an ellipsis.
fn escape(text: &[u8], line: &mut Vec<u8>) {
    let (text, cut) = match text.get(..LONGEST) {
        Some(start) if text.len() > LONGEST => (start, true),
        _ => (text, false),
    };
    let harmless = |byte: &u8| (0x20..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\';
    if text.iter().all(harmless) {
        line.extend_from_slice(text);
    } else {
        String::from_utf8_lossy(text)
            .chars()
            .for_each(|char| escape_char(char, line));
    }
    if cut {
        line.extend_from_slice("\u{2026}".as_bytes());
    }
}

/// Also the C1 controls, line separators and those that turn a terminal's text around.
fn escape_char(char: char, line: &mut Vec<u8>) {
    let mut utf8 = [0; 4];
    match char {
        '"' | '\\' => line.extend_from_slice(&[b'\\', char as u8]),
        '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            hex(char, line)
        }
        control if control.is_control() => hex(control, line),
        other => line.extend_from_slice(other.encode_utf8(&mut utf8).as_bytes()),
    }
}

fn hex(char: char, line: &mut Vec<u8>) {
    let _infallible = write!(line, "\\u{:04x}", char as u32);
}

impl Clock {
    fn write(&self, line: &mut Vec<u8>) {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let second = since.as_secs();
        let mut text = self.text.borrow_mut();
        if self.second.replace(second) != second || text.is_empty() {
            *text = start(second);
        }
        line.extend_from_slice(text.as_bytes());
        thousandths(since.subsec_millis().into(), line);
        line.push(b'Z');
    }
}

/// `2026-11-23T23:00:00.`
fn start(second: u64) -> String {
    let (year, month, day) = civil(second / 86_400);
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    format!(
        "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.",
        month + 1
    )
}

#[cfg(test)]
mod tests;
