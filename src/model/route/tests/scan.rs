//! What the table must answer, the plain way: rule after rule, with nothing shared with it.

use regex::Regex;

use super::super::super::config::{HostPattern, PathPattern, Rule, ValueMatch, ValuePattern};
use super::super::super::fields::Fields;
use super::super::RouteQuery;

pub(super) fn find(rules: &[Rule], query: &RouteQuery<'_>) -> Option<usize> {
    rules.iter().position(|rule| {
        takes_host(&rule.host, query.host)
            && takes_path(&rule.path, query)
            && (rule.methods.is_empty()
                || rule.methods.iter().any(|one| query.method == one.as_str()))
            && rule
                .headers
                .iter()
                .all(|wanted| takes_header(wanted, query.headers))
            && rule
                .query
                .iter()
                .all(|wanted| takes_query(wanted, query.path_and_query))
    })
}

fn takes_host(pattern: &HostPattern, host: &str) -> bool {
    let host = host.to_lowercase();
    let host = Regex::new(r"\.?(:\d*)?$").unwrap().replace(&host, "");
    match pattern {
        HostPattern::Any => true,
        HostPattern::Exact(name) => *name == host,
        HostPattern::Wildcard(name) => {
            host.len() > name.len() + 1 && host.ends_with(&format!(".{name}"))
        }
    }
}

fn takes_path(pattern: &PathPattern, query: &RouteQuery<'_>) -> bool {
    match pattern {
        PathPattern::Exact(path) => path == query.path,
        PathPattern::Prefix(path) => {
            let path = path.trim_end_matches('/');
            query.path == path || query.path.starts_with(&format!("{path}/"))
        }
        PathPattern::Regex(pattern) => Regex::new(pattern)
            .unwrap()
            .find(query.path_and_query)
            .is_some_and(|found| found.start() == 0),
    }
}

fn takes_header(wanted: &ValueMatch, headers: &Fields) -> bool {
    headers
        .iter()
        .filter(|(name, _)| *name == wanted.name.as_bytes())
        .any(|(_, value)| takes_value(&wanted.value, str::from_utf8(value).unwrap()))
}

fn takes_query(wanted: &ValueMatch, path_and_query: &str) -> bool {
    let (_, text) = path_and_query.split_once('?').unwrap_or(("", ""));
    text.split('&').filter(|pair| !pair.is_empty()).any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        decode(name) == wanted.name && takes_value(&wanted.value, &decode(value))
    })
}

fn takes_value(pattern: &ValuePattern, value: &str) -> bool {
    match pattern {
        ValuePattern::Present => true,
        ValuePattern::Exact(wanted) => wanted == value,
        ValuePattern::Regex(pattern) => Regex::new(&format!("^(?:{pattern})$"))
            .unwrap()
            .is_match(value),
    }
}

/// Only what the random requests are made of.
fn decode(text: &str) -> String {
    text.replace('+', " ")
        .replace("%61", "a")
        .replace("%20", " ")
}
