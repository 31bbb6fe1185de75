//! `accessLog` and `tracing`: what is looked at, and where it goes.

use http::Uri;

use super::process::section;
use super::{Fault, header};
use crate::model::config::observe::{AccessLog, LogDestination, LogField, Tracing};
use crate::model::decode::{At, Reader, shortened};
use crate::model::raw::{LogMode, RawAccessLog, RawConfig};

/// More would make lines that nobody reads, and that a pipe does not take whole.
const MAX_HEADERS: usize = 16;

pub(super) fn access_log(raw: &RawConfig<'_>, reader: &mut Reader<'_>) -> Option<AccessLog> {
    let raw = section(&raw.access_log);
    // What is written is checked also where the log is off: it will be switched on one day.
    let log = AccessLog {
        destination: destination(&raw, reader)?,
        format: raw.format(),
        fields: fields(&raw, reader),
        headers: headers(&raw, reader),
        one_of: match raw.mode() {
            LogMode::Sampled => raw.sample_every().0,
            LogMode::On | LogMode::Off => 1,
        },
        buffer: raw.buffer().0,
    };
    (raw.mode() != LogMode::Off).then_some(log)
}

fn destination(raw: &RawAccessLog<'_>, reader: &mut Reader<'_>) -> Option<LogDestination> {
    match (raw.path(), raw.path) {
        ("stdout", _) | (_, None) => Some(LogDestination::Stdout),
        (path, Some(_)) if path.starts_with('/') => Some(LogDestination::File(path.to_owned())),
        (path, Some(at)) => {
            let message = format!("`{}` is not an absolute path", shortened(path));
            reader.accept(
                at,
                Err(Fault::new(message, "write `stdout`, or a path from `/` on")),
            )
        }
    }
}

fn fields(raw: &RawAccessLog<'_>, reader: &mut Reader<'_>) -> Vec<LogField> {
    let mut fields: Vec<LogField> = Vec::new();
    for field in raw.fields.iter().flat_map(|list| &list.value) {
        if fields.contains(&field.value) {
            let message = format!("`{}` is listed twice", field.value.name());
            reader.warn(field.at, message, "remove one");
        } else {
            fields.push(field.value);
        }
    }
    if fields.is_empty() {
        fields = LogField::ALL.to_vec();
    }
    fields
}

fn headers(raw: &RawAccessLog<'_>, reader: &mut Reader<'_>) -> Vec<String> {
    let Some(written) = &raw.headers else {
        return Vec::new();
    };
    if written.value.len() > MAX_HEADERS {
        let message = format!("{} headers are more than a line takes", written.value.len());
        reader.error(written.at, message, format!("list at most {MAX_HEADERS}"));
    }
    let names = written.value.iter();
    let names = names.filter_map(|text| reader.accept(*text, header::name(text.value)));
    names.map(|name| name.as_str().to_owned()).collect()
}

pub(super) fn tracing(raw: &RawConfig<'_>, reader: &mut Reader<'_>) -> Option<Tracing> {
    let raw = section(&raw.tracing);
    let endpoint = raw.endpoint?;
    let (authority, path) = reader.accept(endpoint, collector(endpoint))?;
    Some(Tracing {
        authority,
        path,
        service_name: raw.service_name().to_owned(),
        one_of: raw.sample_every().0,
    })
}

/// The collector stands beside the proxy or in its cluster: plain HTTP.
fn collector(written: At<&str>) -> Result<(String, String), Fault> {
    let fault = || {
        let message = format!("`{}` is not a collector's URL", shortened(written.value));
        Fault::new(message, "write it like `http://collector:4318/v1/traces`")
    };
    let uri: Uri = written.value.parse().map_err(|_| fault())?;
    let host = uri
        .host()
        .filter(|host| !host.is_empty())
        .ok_or_else(fault)?;
    if uri.scheme_str() != Some("http") {
        return Err(fault());
    }
    let authority = format!("{host}:{}", uri.port_u16().unwrap_or(4318));
    let path = match uri.path() {
        "/" => "/v1/traces",
        path => path,
    };
    Ok((authority, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::model::config::Config;
    use crate::model::config::observe::{LogDestination, LogField};
    use crate::model::load;

    const SERVER: &str = "server:\n  listen: 80\n  upstreams:\n    - id: a\n      url: builtin://echo\n  \
                          rules:\n    - path: /\n      upstreams: [a]\n";

    fn loaded(more: &str) -> (Option<Config>, Vec<String>) {
        let loaded = load(&format!("{SERVER}{more}"), &mut |_| Err("none".to_owned()));
        (
            loaded.config,
            loaded
                .diagnostics
                .into_iter()
                .map(|found| found.message)
                .collect(),
        )
    }

    fn config(more: &str) -> Config {
        let (config, found) = loaded(more);
        config.unwrap_or_else(|| panic!("{found:?}"))
    }

    #[test]
    fn requests_are_not_logged_unless_told() {
        assert_eq!(config("").access_log, None);
        assert_eq!(config("accessLog:\n  mode: off\n").access_log, None);
        assert_eq!(config("").tracing, None);
    }

    #[test]
    fn a_log_has_all_fields_or_those_listed() {
        let log = config("accessLog:\n  mode: on\n").access_log.unwrap();
        assert_eq!((log.fields.len(), log.one_of), (LogField::ALL.len(), 1));
        assert_eq!(log.destination, LogDestination::Stdout);
        let some = "accessLog:\n  mode: sampled\n  path: /tmp/a.log\n  fields: [status, path]\n  headers: [X-Team]\n";
        let log = config(some).access_log.unwrap();
        assert_eq!(log.fields, [LogField::Status, LogField::Path]);
        assert_eq!((log.one_of, log.headers), (100, vec!["x-team".to_owned()]));
        assert_eq!(
            log.destination,
            LogDestination::File("/tmp/a.log".to_owned())
        );
    }

    #[test]
    fn mistakes_in_a_log_that_is_off_are_found_too() {
        for (more, said) in [
            (
                "accessLog:\n  path: logs/a.log\n",
                "`logs/a.log` is not an absolute path",
            ),
            (
                "accessLog:\n  headers: ['a b']\n",
                "`a b` is not a header name",
            ),
            ("accessLog:\n  fields: [satus]\n", "expected one of"),
            (
                "tracing:\n  endpoint: collector:4318\n",
                "is not a collector's URL",
            ),
            (
                "tracing:\n  endpoint: https://collector\n",
                "is not a collector's URL",
            ),
        ] {
            let (config, found) = loaded(more);
            assert!(
                config.is_none() && found.len() == 1 && found[0].contains(said),
                "{more}: {found:?}"
            );
        }
    }

    #[test]
    fn a_collector_has_a_port_and_a_path() {
        let tracing = config("tracing:\n  endpoint: http://collector\n")
            .tracing
            .unwrap();
        assert_eq!(
            (tracing.authority.as_str(), tracing.path.as_str()),
            ("collector:4318", "/v1/traces")
        );
        let tracing = config("tracing:\n  endpoint: http://[::1]:99/x\n")
            .tracing
            .unwrap();
        assert_eq!(
            (tracing.authority.as_str(), tracing.path.as_str()),
            ("[::1]:99", "/x")
        );
    }

    #[test]
    fn every_field_has_a_word_of_its_own() {
        let names: Vec<_> = LogField::ALL.map(LogField::name).to_vec();
        let all = format!("accessLog:\n  mode: on\n  fields: [{}]\n", names.join(", "));
        assert_eq!(config(&all).access_log.unwrap().fields, LogField::ALL);
    }
}
