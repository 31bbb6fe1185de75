//! Conditions on a request's headers, query parameters and cookies, compiled.
//!
//! Not here: paths and hosts, which are looked up in tables (`route`), never tried one by one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use http::header::{COOKIE, HeaderName};
use regex_automata::meta;
use regex_syntax::hir::{Hir, Look};

use super::config;
use super::fields::Fields;

/// A compiled regular expression of one value may take this much memory.
const REGEX_BYTES: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum MatcherError {
    #[error("{0:?} is not a header name")]
    HeaderName(String),
    #[error("{0:?} is not a method")]
    Method(String),
    #[error("regular expression {pattern:?}: {reason}")]
    Regex { pattern: String, reason: String },
}

/// A request header that must be there; of several lines of one name, any may match.
#[derive(Debug)]
pub struct HeaderMatch {
    name: HeaderName,
    value: ValueMatch,
}

/// A query parameter that must be there; of several of one name, any may match.
#[derive(Debug)]
pub struct QueryMatch {
    name: Box<[u8]>,
    value: ValueMatch,
}

/// A cookie that must be there; of several of one name, any may match.
#[derive(Debug)]
pub struct CookieMatch {
    name: Box<str>,
    value: ValueMatch,
}

#[derive(Debug)]
enum ValueMatch {
    Present,
    Exact(Box<[u8]>),
    Regex(Arc<meta::Regex>),
}

/// Compiles values' patterns, each distinct regular expression once.
#[derive(Debug, Default)]
pub struct MatcherCompiler {
    regexes: HashMap<String, Arc<meta::Regex>>,
}

impl HeaderMatch {
    pub fn matches(&self, headers: &Fields) -> bool {
        headers
            .get_all(&self.name)
            .any(|line| self.value.matches(line))
    }
}

impl QueryMatch {
    /// `query` is what stands behind the `?`, as sent.
    pub fn matches(&self, query: &str) -> bool {
        query_values(query, &self.name).any(|value| self.value.matches(&value))
    }
}

impl CookieMatch {
    pub fn matches(&self, headers: &Fields) -> bool {
        cookies(headers, &self.name).any(|value| self.value.matches(value))
    }
}

/// The values of every cookie of that name, as they were sent.
pub fn cookies<'h>(headers: &'h Fields, name: &str) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(&COOKIE);
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })
}

/// The values of every parameter of that name. Names and values are compared decoded, with `+` as a
/// space, the way forms are written; a parameter without `=` has the empty value.
pub fn query_values<'q>(query: &'q str, name: &[u8]) -> impl Iterator<Item = Cow<'q, [u8]>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(move |(written, _)| *decode(written) == *name)
        .map(|(_, value)| decode(value))
}

impl ValueMatch {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(wanted) => **wanted == *value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

impl MatcherCompiler {
    pub fn header(&mut self, wanted: &config::ValueMatch) -> Result<HeaderMatch, MatcherError> {
        let name = HeaderName::from_bytes(wanted.name.as_bytes())
            .map_err(|_| MatcherError::HeaderName(wanted.name.clone()))?;
        let value = self.value(&wanted.value)?;
        Ok(HeaderMatch { name, value })
    }

    pub fn query(&mut self, wanted: &config::ValueMatch) -> Result<QueryMatch, MatcherError> {
        let value = self.value(&wanted.value)?;
        let name = wanted.name.as_bytes().into();
        Ok(QueryMatch { name, value })
    }

    pub fn cookie(&mut self, wanted: &config::ValueMatch) -> Result<CookieMatch, MatcherError> {
        let value = self.value(&wanted.value)?;
        let name = wanted.name.as_str().into();
        Ok(CookieMatch { name, value })
    }

    fn value(&mut self, pattern: &config::ValuePattern) -> Result<ValueMatch, MatcherError> {
        Ok(match pattern {
            config::ValuePattern::Present => ValueMatch::Present,
            config::ValuePattern::Exact(value) => ValueMatch::Exact(value.as_bytes().into()),
            config::ValuePattern::Regex(pattern) => ValueMatch::Regex(self.regex(pattern)?),
        })
    }

    fn regex(&mut self, pattern: &str) -> Result<Arc<meta::Regex>, MatcherError> {
        if let Some(regex) = self.regexes.get(pattern) {
            return Ok(Arc::clone(regex));
        }
        let regex = Arc::new(compile_whole(pattern)?);
        self.regexes.insert(pattern.to_owned(), Arc::clone(&regex));
        Ok(regex)
    }
}

/// A regular expression that takes the whole value. The anchors are put around the parsed form: put
/// around the text they would end up in the comment of a pattern with `(?x)`.
fn compile_whole(pattern: &str) -> Result<meta::Regex, MatcherError> {
    let invalid = |reason: String| MatcherError::Regex {
        pattern: pattern.to_owned(),
        reason,
    };
    let hir = regex_syntax::parse(pattern).map_err(|error| invalid(error.to_string()))?;
    let whole = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
    meta::Builder::new()
        .configure(
            meta::Config::new()
                .utf8_empty(false)
                .nfa_size_limit(Some(REGEX_BYTES))
                .which_captures(regex_automata::nfa::thompson::WhichCaptures::None),
        )
        .build_from_hir(&whole)
        .map_err(|error| match error.size_limit() {
            Some(limit) => invalid(format!("needs more than {limit} bytes once compiled")),
            None => invalid(error.to_string()),
        })
}

/// Percent-decoded, with `+` as a space. An escape that is none stays as it is written.
fn decode(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if memchr::memchr2(b'%', b'+', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match (byte, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, behind @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = behind;
                    high << 4 | low
                }
                _ => b'%',
            },
            _ => byte,
        });
    }
    Cow::Owned(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
