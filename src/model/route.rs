//! Which rule takes a request: the compiled rules, and the lookup among them.
//!
//! Not here: what happens to the request then (`proxy`), which of a route's upstreams is next
//! (`balance`).

use std::sync::Arc;

use http::Method;
use rustc_hash::FxHashSet;

use self::host::Hosts;
use self::index::build::PathIndexBuilder;
use self::index::{PathIndex, Search};
use super::config;
use super::fields::Fields;
use super::matcher::{CookieMatch, HeaderMatch, MatcherCompiler, MatcherError, QueryMatch};

mod explain;
mod host;
mod index;
mod pattern;
mod regexes;
#[cfg(test)]
mod tests;

pub use explain::{Mismatch, Verdict};
pub use index::build::PathError;

/// More rules than anybody writes, and few enough for their numbers.
const MOST_RULES: usize = 1 << 24;

#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    #[error("rule {rule}: {source}")]
    Condition { rule: String, source: MatcherError },
    #[error("rule {rule}: {source}")]
    Path { rule: String, source: PathError },
    #[error(transparent)]
    Paths(PathError),
    #[error("more than {limit} rules")]
    TooManyRules { limit: usize },
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
    pub headers: &'a Fields,
}

/// A rule, compiled.
#[derive(Debug)]
pub struct Route {
    /// Its place among the rules, from 0.
    pub index: u32,
    pub name: Box<str>,
    /// Never empty, and not all weights are 0.
    pub upstreams: Arc<[WeightedUpstream]>,
    /// gRPC-Web becomes gRPC.
    pub grpc_web: bool,
    pub mirror: Option<Box<config::Mirror>>,
    conditions: Option<Box<Conditions>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightedUpstream {
    /// Index into `Snapshot::upstreams`.
    pub upstream: u32,
    pub weight: u32,
}

/// All rules, compiled. What a lookup costs depends on the request and on how many rules share its
/// host and path, not on how many rules there are.
#[derive(Debug)]
pub struct RouteTable {
    routes: Box<[Route]>,
    hosts: Hosts,
    paths: PathIndex,
}

/// What a rule asks for besides host and path.
#[derive(Debug)]
struct Conditions {
    /// Empty takes all.
    methods: Box<[Method]>,
    headers: Box<[HeaderMatch]>,
    query: Box<[QueryMatch]>,
    cookies: Box<[CookieMatch]>,
}

impl RouteTable {
    pub fn build(rules: &[config::Rule]) -> Result<Self, RouteError> {
        if rules.len() > MOST_RULES {
            return Err(RouteError::TooManyRules { limit: MOST_RULES });
        }
        let mut compiler = RouteCompiler::default();
        let mut hosts = Hosts::default();
        let mut paths = PathIndexBuilder::default();
        let mut routes = Vec::with_capacity(rules.len());
        for (index, rule) in (0..).zip(rules) {
            let in_rule = |source| RouteError::Path {
                rule: rule.name.clone(),
                source,
            };
            paths
                .add(hosts.table(&rule.host), index, &rule.path)
                .map_err(in_rule)?;
            routes.push(compiler.route(index, rule)?);
        }
        let paths = paths.build(hosts.tables()).map_err(RouteError::Paths)?;
        Ok(Self {
            routes: routes.into(),
            hosts,
            paths,
        })
    }

    /// The first rule in order that takes the request.
    pub fn find(&self, query: &RouteQuery<'_>) -> Option<&Route> {
        self.search(query)
            .found()
            .and_then(|index| self.routes.get(index as usize))
    }

    fn search<'q>(&self, query: &'q RouteQuery<'q>) -> Search<'q> {
        let mut search = Search::new(query);
        self.hosts.consult(query.host, |table| {
            self.paths.search(table, &mut search, |rule| {
                self.routes
                    .get(rule as usize)
                    .is_some_and(|route| route.takes(query))
            });
        });
        search
    }

    /// In the order of the rules.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

impl Route {
    /// Whether everything but host and path fits.
    fn takes(&self, query: &RouteQuery<'_>) -> bool {
        self.conditions
            .as_ref()
            .is_none_or(|conditions| conditions.hold(query))
    }
}

impl Conditions {
    fn hold(&self, query: &RouteQuery<'_>) -> bool {
        self.takes_method(query)
            && self
                .headers
                .iter()
                .all(|header| header.matches(query.headers))
            && self
                .query
                .iter()
                .all(|parameter| parameter.matches(query.parameters()))
            && self
                .cookies
                .iter()
                .all(|cookie| cookie.matches(query.headers))
    }

    fn takes_method(&self, query: &RouteQuery<'_>) -> bool {
        self.methods.is_empty() || self.methods.contains(query.method)
    }
}

impl<'a> RouteQuery<'a> {
    /// What stands behind the `?`.
    pub fn parameters(&self) -> &'a str {
        self.path_and_query
            .get(self.path.len() + 1..)
            .unwrap_or_default()
    }
}

/// Compiles rules one by one; what several have in common they share.
#[derive(Debug, Default)]
struct RouteCompiler {
    matchers: MatcherCompiler,
    upstreams: FxHashSet<Arc<[WeightedUpstream]>>,
}

impl RouteCompiler {
    fn route(&mut self, index: u32, rule: &config::Rule) -> Result<Route, RouteError> {
        let in_rule = |source| RouteError::Condition {
            rule: rule.name.clone(),
            source,
        };
        Ok(Route {
            index,
            name: rule.name.as_str().into(),
            upstreams: self.upstreams(&rule.upstreams),
            grpc_web: rule.grpc_web,
            mirror: rule.mirror.map(Box::new),
            conditions: self.conditions(rule).map_err(in_rule)?,
        })
    }

    fn upstreams(&mut self, choices: &[config::WeightedUpstream]) -> Arc<[WeightedUpstream]> {
        let choices: Vec<_> = choices
            .iter()
            .map(|choice| WeightedUpstream {
                upstream: choice.upstream,
                weight: choice.weight,
            })
            .collect();
        if let Some(known) = self.upstreams.get(choices.as_slice()) {
            return Arc::clone(known);
        }
        let new: Arc<[_]> = choices.into();
        self.upstreams.insert(Arc::clone(&new));
        new
    }

    fn conditions(&mut self, rule: &config::Rule) -> Result<Option<Box<Conditions>>, MatcherError> {
        if rule.has_no_conditions() {
            return Ok(None);
        }
        let method = |name: &String| {
            Method::from_bytes(name.as_bytes()).map_err(|_| MatcherError::Method(name.clone()))
        };
        let matchers = &mut self.matchers;
        Ok(Some(Box::new(Conditions {
            methods: rule.methods.iter().map(method).collect::<Result<_, _>>()?,
            headers: rule
                .headers
                .iter()
                .map(|one| matchers.header(one))
                .collect::<Result<_, _>>()?,
            query: rule
                .query
                .iter()
                .map(|one| matchers.query(one))
                .collect::<Result<_, _>>()?,
            cookies: rule
                .cookies
                .iter()
                .map(|one| matchers.cookie(one))
                .collect::<Result<_, _>>()?,
        })))
    }
}
