//! `healthCheck:`: how endpoints are asked whether they are well.

use http::{HeaderName, Method};

use super::{Fault, name};
use crate::model::config::{CheckType, HealthCheck, HttpProbe, Probe, Scheme, Server, Target};
use crate::model::decode::{At, Reader, shortened};
use crate::model::raw::{RawCheckHeader, RawHealthCheck};
use crate::model::secret::{Resolve, Secret};
use crate::model::template::{self, Piece, Template};

const HTTP_ONLY: [&str; 5] = [
    "path",
    "method",
    "headers",
    "expectedStatus",
    "expectedBody",
];

pub(super) fn health_check(
    raw: &At<RawHealthCheck<'_>>,
    reader: &mut Reader<'_>,
    resolve: &mut Resolve<'_>,
) -> Option<HealthCheck> {
    let RawHealthCheck { jitter, port, .. } = &raw.value;
    refuse_strange_keys(raw, reader);
    let check = &raw.value;
    let probe = probe(check, reader, resolve);
    Some(HealthCheck {
        probe: probe?,
        port: port.and_then(|at| u16::try_from(at.value.0).ok()),
        scheme: check.scheme.map(|at| at.value),
        interval: check.interval(),
        jitter: jitter.map_or(check.interval() / 10, |at| at.value.0),
        timeout: check.timeout(),
        healthy_threshold: check.healthy_threshold().0,
        unhealthy_threshold: check.unhealthy_threshold().0,
    })
}

/// How TLS is spoken is known of servers with an `https://` url alone.
pub(super) fn refuse_tls_without_settings(
    raw: &At<RawHealthCheck<'_>>,
    target: &Target,
    reader: &mut Reader<'_>,
) {
    let Some(scheme) = raw.value.scheme else {
        return;
    };
    let without = |servers: &[Server]| servers.iter().any(|one| one.scheme == Scheme::Http);
    if let (Scheme::Https, Target::Servers(servers)) = (scheme.value, target)
        && without(servers)
    {
        let message = "a server has an `http://` url, so nothing says how to speak TLS with it";
        let help = "write `https://` there, or remove `scheme`";
        reader.error(scheme.at, message, help);
    }
}

/// A key that this type of check would not look at is a mistake.
fn refuse_strange_keys(raw: &At<RawHealthCheck<'_>>, reader: &mut Reader<'_>) {
    let (strange, word): (&[&str], _) = match raw.value.kind() {
        CheckType::Http => (&["service"], "http"),
        CheckType::Tcp => (&["service", "host"], "tcp"),
        CheckType::Grpc => (&[], "grpc"),
    };
    let of_http = HTTP_ONLY
        .iter()
        .filter(|_| raw.value.kind() != CheckType::Http);
    for key in strange.iter().chain(of_http) {
        if reader.is_given(raw.at, key) {
            let message = format!("a check of type `{word}` has no `{key}`");
            reader.error(raw.at, message, format!("remove `{key}`, or change `type`"));
        }
    }
}

fn probe(
    raw: &RawHealthCheck<'_>,
    reader: &mut Reader<'_>,
    resolve: &mut Resolve<'_>,
) -> Option<Probe> {
    let host = match raw.host {
        Some(text) => Some(reader.accept(text, host(text.value))?),
        None => None,
    };
    match raw.kind() {
        CheckType::Tcp => Some(Probe::Tcp),
        CheckType::Grpc => {
            let service = match raw.service {
                Some(text) => reader.accept(text, name::check("the service", text.value))?,
                None => String::new(),
            };
            Some(Probe::Grpc { service, host })
        }
        CheckType::Http => http(raw, host, reader, resolve).map(Probe::Http),
    }
}

fn http(
    raw: &RawHealthCheck<'_>,
    host: Option<String>,
    reader: &mut Reader<'_>,
    resolve: &mut Resolve<'_>,
) -> Option<HttpProbe> {
    let path = match raw.path {
        Some(text) => reader.accept(text, path(text.value)),
        None => Some(raw.path().to_owned()),
    };
    let method = match raw.method {
        Some(text) => reader.accept(text, method(text.value)),
        None => Some(raw.method().to_owned()),
    };
    let headers = raw.headers.iter().flat_map(|list| &list.value);
    let headers: Option<Vec<_>> = headers
        .map(|one| header(&one.value, reader, resolve))
        .collect();
    let statuses = statuses(raw, reader);
    Some(HttpProbe {
        method: method?,
        path: path?,
        host,
        headers: headers?,
        statuses: statuses?,
        body: raw.expected_body.map(|at| at.value.to_owned()),
    })
}

fn host(text: &str) -> Result<String, Fault> {
    let valid = !text.is_empty() && text.parse::<http::uri::Authority>().is_ok();
    match valid && !text.contains('@') {
        true => Ok(text.to_owned()),
        false => {
            let message = format!("`{}` cannot be sent as Host", shortened(text));
            Err(Fault::new(message, "write a name like `shop.example.com`"))
        }
    }
}

fn path(text: &str) -> Result<String, Fault> {
    let fits = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    match fits && text.parse::<http::uri::PathAndQuery>().is_ok() {
        true => Ok(text.to_owned()),
        false => {
            let message = format!("`{}` is not a path", shortened(text));
            Err(Fault::new(message, "begin it with `/`, as in `/healthz`"))
        }
    }
}

fn method(text: &str) -> Result<String, Fault> {
    let known = Method::from_bytes(text.as_bytes()).ok();
    let known = known.filter(|_| text.bytes().all(|b| b.is_ascii_uppercase()) && text != "CONNECT");
    known.map(|_| text.to_owned()).ok_or_else(|| {
        let message = format!("`{}` is not a method to check with", shortened(text));
        Fault::new(message, "write one in upper case, like `GET` or `HEAD`")
    })
}

fn header(
    raw: &RawCheckHeader<'_>,
    reader: &mut Reader<'_>,
    resolve: &mut Resolve<'_>,
) -> Option<(String, Secret)> {
    let (key, value) = (raw.key?, raw.value?);
    let name = reader.accept(key, super::header::settable(key.value))?;
    let parsed = template::parse(value.value, resolve).map_err(super::header::fault);
    let parsed = reader.accept(value, parsed)?;
    for unknown in parsed.unknown {
        super::header::warn_unknown(value, unknown, reader);
    }
    let value = reader.accept(value, constant(&parsed.template))?;
    Some((HeaderName::as_str(&name).to_owned(), value))
}

/// There is no request that a variable could be filled in from.
fn constant(template: &Template) -> Result<Secret, Fault> {
    let mut text = String::new();
    for piece in template.pieces() {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Secret(secret) => text.push_str(secret.expose()),
            Piece::Variable(variable) => {
                let message =
                    format!("`${variable}` is of a request, and a check is sent for none");
                let help = "write the value itself, or a secret like `env:NAME`; a dollar sign is written `$$`";
                return Err(Fault::new(message, help));
            }
        }
    }
    Ok(Secret::new(text))
}

fn statuses(raw: &RawHealthCheck<'_>, reader: &mut Reader<'_>) -> Option<Vec<(u16, u16)>> {
    let Some(list) = &raw.expected_status else {
        return Some(vec![(200, 399)]);
    };
    if list.value.0.is_empty() {
        let help = "add one, like `200`, or leave the key out";
        reader.error(list.at, "no status is expected", help);
        return None;
    }
    let written = list.value.0.iter();
    written
        .map(|text| reader.accept(*text, status(text.value)))
        .collect()
}

/// `204`, `200-299`, or `2xx`.
fn status(text: &str) -> Result<(u16, u16), Fault> {
    let code = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|code| (100..600).contains(code))
    };
    let class = text
        .strip_suffix("xx")
        .and_then(|digit| code(&format!("{digit}00")));
    let range = match (class, text.split_once('-')) {
        (Some(first), _) => Some((first, first + 99)),
        (None, Some((first, last))) => code(first.trim()).zip(code(last.trim())),
        (None, None) => code(text).map(|code| (code, code)),
    };
    range.filter(|(first, last)| first <= last).ok_or_else(|| {
        let message = format!("`{}` is not a status or a range of them", shortened(text));
        Fault::new(message, "write one like `200`, `200-299` or `2xx`")
    })
}
