//! A mismatch in words: what the request has, and what the rule asks for.

use std::borrow::Cow;

use super::{Mismatch, RouteQuery};
use crate::model::config::{HostPattern, PathPattern, Rule, ValueMatch, ValuePattern};
use crate::model::matcher;
use crate::model::secret;

/// Of what a client sends, no more characters than this are repeated.
const CHARACTERS: usize = 80;

impl Mismatch {
    /// What it is about, in one word.
    pub fn subject(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Path => "path",
            Self::Method => "method",
            Self::Header(_) => "header",
            Self::Query(_) => "query",
            Self::Cookie(_) => "cookie",
        }
    }

    /// `rule` is the one that the route was compiled from.
    pub fn describe(self, rule: &Rule, query: &RouteQuery<'_>) -> String {
        match self {
            Self::Host => format!("host: {} is not {}", quoted(query.host), host(&rule.host)),
            Self::Path => path(&rule.path, query),
            Self::Method => {
                format!(
                    "method: {} is not {}",
                    query.method,
                    rule.methods.join(" or ")
                )
            }
            Self::Header(place) => rule
                .headers
                .get(place)
                .map_or_else(String::new, |wanted| header(wanted, query)),
            Self::Query(place) => rule
                .query
                .get(place)
                .map_or_else(String::new, |wanted| parameter(wanted, query)),
            Self::Cookie(place) => rule
                .cookies
                .get(place)
                .map_or_else(String::new, |wanted| cookie(wanted, query)),
        }
    }
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Any => "any".to_owned(),
        HostPattern::Exact(name) => quoted(name),
        HostPattern::Wildcard(name) => quoted(&format!("*.{name}")),
    }
}

fn path(pattern: &PathPattern, query: &RouteQuery<'_>) -> String {
    match pattern {
        PathPattern::Exact(path) => {
            format!("path: {} is not {}", quoted(query.path), quoted(path))
        }
        PathPattern::Prefix(path) => {
            format!(
                "path: {} is not {} or below it",
                quoted(query.path),
                quoted(path)
            )
        }
        PathPattern::Regex(pattern) => format!(
            "path: {} does not begin with a match of {}",
            quoted(query.path_and_query),
            quoted(pattern)
        ),
    }
}

fn header(wanted: &ValueMatch, query: &RouteQuery<'_>) -> String {
    if secret::is_credential(&wanted.name) && lines(wanted, query).next().is_some() {
        return format!(
            "header {}: its value is not the one that is asked for",
            wanted.name
        );
    }
    let values = lines(wanted, query).map(String::from_utf8_lossy);
    value(&format!("header {}", wanted.name), &wanted.value, values)
}

fn lines<'q>(wanted: &ValueMatch, query: &RouteQuery<'q>) -> impl Iterator<Item = &'q [u8]> {
    let headers = query.headers.iter();
    let same = headers.filter(|(name, _)| name.eq_ignore_ascii_case(wanted.name.as_bytes()));
    same.map(|(_, value)| value)
}

fn parameter(wanted: &ValueMatch, query: &RouteQuery<'_>) -> String {
    let values = matcher::query_values(query.parameters(), wanted.name.as_bytes());
    let values = values.map(|value| Cow::Owned(String::from_utf8_lossy(&value).into_owned()));
    value(&format!("query {}", wanted.name), &wanted.value, values)
}

/// What is in a cookie may let its bearer pass for somebody.
fn cookie(wanted: &ValueMatch, query: &RouteQuery<'_>) -> String {
    match matcher::cookies(query.headers, &wanted.name).next() {
        Some(_) => format!(
            "cookie {}: its value is not the one that is asked for",
            wanted.name
        ),
        None => format!("cookie {}: is not there", wanted.name),
    }
}

fn value<'a>(
    subject: &str,
    pattern: &ValuePattern,
    values: impl Iterator<Item = Cow<'a, str>>,
) -> String {
    let values: Vec<String> = values.map(|value| quoted(&value)).collect();
    let values = values.join(" and ");
    match pattern {
        _ if values.is_empty() => format!("{subject}: is not there"),
        // With a value there, the rule asks for more than its presence.
        ValuePattern::Present => format!("{subject}: is {values}"),
        ValuePattern::Exact(wanted) => format!("{subject}: {values} is not {}", quoted(wanted)),
        ValuePattern::Regex(wanted) => {
            format!("{subject}: {values} does not match {}", quoted(wanted))
        }
    }
}

/// Fit for a terminal.
fn quoted(text: &str) -> String {
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(CHARACTERS).map(printable).collect();
    if text.chars().nth(CHARACTERS).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}
