//! Which rule takes a request: the compiled rules, and the lookup among them.
//!
//! Not here: what happens to the request then (`proxy`), which of a route's upstreams is next
//! (`balance`).

use http::{HeaderMap, Method};

use super::config;
use super::matcher::{HeaderMatch, MatcherCompiler, MatcherError, QueryMatch};

#[derive(Debug, thiserror::Error)]
#[error("rule {rule}: {source}")]
pub struct RouteError {
    pub rule: String,
    #[source]
    pub source: MatcherError,
}

/// What of a request decides its route.
#[derive(Debug, Clone, Copy)]
pub struct RouteQuery<'a> {
    /// As the client sent it: any case, with or without a port or a trailing dot.
    pub host: &'a str,
    pub method: &'a Method,
    /// Without the query.
    pub path: &'a str,
    pub path_and_query: &'a str,
    pub headers: &'a HeaderMap,
}

/// A rule, compiled.
#[derive(Debug)]
pub struct Route {
    /// Its place among the rules, from 0.
    pub index: u32,
    pub name: Box<str>,
    /// Never empty, and not all weights are 0.
    pub upstreams: Box<[WeightedUpstream]>,
    methods: Box<[Method]>,
    headers: Box<[HeaderMatch]>,
    query: Box<[QueryMatch]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightedUpstream {
    /// Index into `Snapshot::upstreams`.
    pub upstream: u32,
    pub weight: u32,
}

#[derive(Debug)]
pub struct RouteTable {
    routes: Vec<Route>,
    places: Vec<(config::HostPattern, Path)>,
}

#[derive(Debug)]
enum Path {
    Exact(String),
    Prefix(String),
    Regex(regex::Regex),
}

impl RouteTable {
    pub fn build(rules: &[config::Rule]) -> Result<Self, RouteError> {
        let mut compiler = MatcherCompiler::default();
        let mut routes = Vec::with_capacity(rules.len());
        let mut places = Vec::with_capacity(rules.len());
        for (index, rule) in (0..).zip(rules) {
            let in_rule = |source| RouteError {
                rule: rule.name.clone(),
                source,
            };
            routes.push(compile(index, rule, &mut compiler).map_err(in_rule)?);
            places.push((
                rule.host.clone(),
                compile_path(&rule.path).map_err(in_rule)?,
            ));
        }
        Ok(Self { routes, places })
    }

    /// The first rule in order that takes the request.
    pub fn find(&self, query: &RouteQuery<'_>) -> Option<&Route> {
        let host = host_name(query.host).to_ascii_lowercase();
        self.routes
            .iter()
            .zip(&self.places)
            .find(|(route, (host_pattern, path))| {
                takes_host(host_pattern, &host) && path.takes(query) && route.takes(query)
            })
            .map(|(route, _)| route)
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

impl Route {
    /// Whether everything but host and path fits.
    fn takes(&self, query: &RouteQuery<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(query.method))
            && self
                .headers
                .iter()
                .all(|header| header.matches(query.headers))
            && (self.query.is_empty() || {
                let text = query
                    .path_and_query
                    .split_once('?')
                    .map_or("", |(_, text)| text);
                self.query.iter().all(|parameter| parameter.matches(text))
            })
    }
}

impl Path {
    fn takes(&self, query: &RouteQuery<'_>) -> bool {
        match self {
            Self::Exact(path) => query.path == path,
            Self::Prefix(prefix) => query
                .path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Regex(regex) => regex
                .find(query.path_and_query)
                .is_some_and(|m| m.start() == 0),
        }
    }
}

fn compile(
    index: u32,
    rule: &config::Rule,
    compiler: &mut MatcherCompiler,
) -> Result<Route, MatcherError> {
    let method = |name: &String| {
        Method::from_bytes(name.as_bytes()).map_err(|_| MatcherError::Method(name.clone()))
    };
    Ok(Route {
        index,
        name: rule.name.as_str().into(),
        upstreams: rule
            .upstreams
            .iter()
            .map(|choice| WeightedUpstream {
                upstream: choice.upstream,
                weight: choice.weight,
            })
            .collect(),
        methods: rule.methods.iter().map(method).collect::<Result<_, _>>()?,
        headers: rule
            .headers
            .iter()
            .map(|h| compiler.header(h))
            .collect::<Result<_, _>>()?,
        query: rule
            .query
            .iter()
            .map(|q| compiler.query(q))
            .collect::<Result<_, _>>()?,
    })
}

fn compile_path(pattern: &config::PathPattern) -> Result<Path, MatcherError> {
    Ok(match pattern {
        config::PathPattern::Exact(path) => Path::Exact(path.clone()),
        config::PathPattern::Prefix(path) => Path::Prefix(path.trim_end_matches('/').to_owned()),
        config::PathPattern::Regex(pattern) => Path::Regex(
            regex::Regex::new(&format!("\\A(?:{pattern})")).map_err(|error| {
                MatcherError::Regex {
                    pattern: pattern.clone(),
                    reason: error.to_string(),
                }
            })?,
        ),
    })
}

/// The name without port and trailing dot; an IPv6 literal keeps its brackets.
fn host_name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

fn takes_host(pattern: &config::HostPattern, host: &str) -> bool {
    match pattern {
        config::HostPattern::Any => true,
        config::HostPattern::Exact(name) => name == host,
        config::HostPattern::Wildcard(suffix) => host
            .strip_suffix(suffix.as_str())
            .and_then(|below| below.strip_suffix('.'))
            .is_some_and(|below| !below.is_empty()),
    }
}
