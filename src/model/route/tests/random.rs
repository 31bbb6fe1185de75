//! Random rules and requests over a small alphabet, so that they meet often.

use http::Method;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::super::super::config::{HostPattern, PathPattern, Rule, ValueMatch, ValuePattern};
use super::super::super::fields::Fields;
use super::super::super::fixtures;
use super::super::RouteQuery;

/// A request with everything that a query borrows from.
#[derive(Debug, Clone)]
pub(super) struct Request {
    host: String,
    method: Method,
    path: String,
    query: Option<String>,
    headers: Fields,
}

impl Request {
    /// Calls `ask` with the request as the table sees it.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&RouteQuery<'_>) -> T) -> T {
        let query = self
            .query
            .as_ref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let path_and_query = format!("{}{query}", self.path);
        ask(&RouteQuery {
            host: &self.host,
            method: &self.method,
            path: &self.path,
            path_and_query: &path_and_query,
            headers: &self.headers,
        })
    }
}

/// Rules, and requests of which many are written after the rules' own patterns.
pub(super) fn rules_and_requests() -> impl Strategy<Value = (Vec<Rule>, Vec<Request>)> {
    let requests = prop::collection::vec((request(), any::<Index>(), any::<bool>()), 1..12);
    (prop::collection::vec(rule(), 0..12), requests).prop_map(|(rules, requests)| {
        let aimed = requests
            .into_iter()
            .map(|(request, index, aimed)| match aimed {
                true if !rules.is_empty() => aim(request, index.get(&rules)),
                _ => request,
            });
        let requests = aimed.collect();
        (rules, requests)
    })
}

/// The request, begun as the rule's path is written and continued as it was.
fn aim(mut request: Request, rule: &Rule) -> Request {
    let written = match &rule.path {
        PathPattern::Exact(path) => {
            return Request {
                path: path.replace('?', ""),
                ..request
            };
        }
        PathPattern::Prefix(path) | PathPattern::Regex(path) => path,
    };
    let literal: String = written
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "/=".contains(*c))
        .collect();
    request.path = format!("/{}{}", literal.trim_start_matches('/'), &request.path[1..]);
    request
}

fn rule() -> impl Strategy<Value = Rule> {
    let methods = prop::collection::vec(select(vec!["GET", "POST", "PURGE"]), 0..2);
    let header = (select(vec!["x-a", "x-b"]), value());
    let parameter = (select(vec!["a", "b", "a a"]), value());
    let some = 0..2usize;
    (
        host_pattern(),
        path_pattern(),
        methods,
        prop::collection::vec(header, some.clone()),
        prop::collection::vec(parameter, some),
        0..4u8,
    )
        .prop_map(|(host, path, methods, headers, query, conditions)| {
            let wanted = |all: Vec<(&str, ValuePattern)>| {
                let all = all.into_iter();
                all.map(|(name, value)| ValueMatch {
                    name: name.into(),
                    value,
                })
                .collect()
            };
            let mut rule = Rule {
                host,
                ..fixtures::rule("r", path)
            };
            // Most rules are nothing but host and path.
            if conditions == 0 {
                rule.methods = methods.into_iter().map(str::to_owned).collect();
                rule.headers = wanted(headers);
                rule.query = wanted(query);
            }
            rule
        })
}

fn value() -> impl Strategy<Value = ValuePattern> {
    prop_oneof![
        Just(ValuePattern::Present),
        select(vec!["a", "a a", ""]).prop_map(|value| ValuePattern::Exact(value.into())),
        select(vec!["a|b", "a*", "(?i)A.*", "[^a]+"])
            .prop_map(|value| ValuePattern::Regex(value.into())),
    ]
}

fn host_pattern() -> impl Strategy<Value = HostPattern> {
    let name = || select(vec!["a.b", "b", "x.a.b", "a"]).prop_map(str::to_owned);
    prop_oneof![
        2 => Just(HostPattern::Any),
        2 => name().prop_map(HostPattern::Exact),
        1 => name().prop_map(HostPattern::Wildcard),
    ]
}

fn path_pattern() -> impl Strategy<Value = PathPattern> {
    let path = || prop::collection::vec(select(vec!["/", "a", "b", "B", "ab", "?"]), 0..5);
    let path = || path().prop_map(|parts| format!("/{}", parts.concat()));
    prop_oneof![
        1 => path().prop_map(PathPattern::Exact),
        2 => path().prop_map(PathPattern::Prefix),
        2 => path().prop_map(|path| PathPattern::Regex(regex_syntax::escape(&path))),
        4 => regex().prop_map(PathPattern::Regex),
    ]
}

/// A regular expression that compiles, mostly with a literal beginning.
fn regex() -> impl Strategy<Value = String> {
    let atom = select(vec![
        "a",
        "b",
        "/",
        "ab",
        "A",
        "1",
        r"\?",
        "=",
        "[ab]",
        "[^/]",
        ".",
        r"\d",
        r"\w",
        r"\W",
        "[a-f]",
        r"\x61",
        "^",
        "$",
        r"\b",
        r"\B",
        r"\A",
        r"\z",
        "(?i)",
        "(?i:b)",
        "(?x) a # x\n",
        "[a&&b]",
        "-",
        r"\.",
        r"\p{Greek}",
        "(?m)^",
        "(?m)$",
        r"\b{start}",
        "(?s).",
        "é",
    ]);
    let atom = atom.prop_map(str::to_owned);
    let expression = atom.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 0..4).prop_map(|parts| parts.concat()),
            2 => prop::collection::vec(inner.clone(), 1..4)
                .prop_map(|parts| format!("({})", parts.join("|"))),
            2 => (inner, select(vec!["?", "*", "+", "{2}", "{0,2}", "??", "*?"]))
                .prop_map(|(part, times)| format!("(?:{part}){times}")),
        ]
    });
    let beginning = select(vec!["", "/", "^/", "/a", "^/ab", "/a/"]);
    let end = select(vec!["", "", "$", ".*", ".*$", "/?$", r"(\?.*)?$", "[^/]*$"]);
    (beginning, expression, end)
        .prop_map(|(beginning, expression, end)| format!("{beginning}{expression}{end}"))
        .prop_filter("compiles", |pattern| regex::Regex::new(pattern).is_ok())
}

fn request() -> impl Strategy<Value = Request> {
    let host = select(vec![
        "a.b",
        "A.B",
        "a.b:80",
        "a.b.",
        "x.a.b",
        "y.x.A.b.:8080",
        "b",
        "c.b",
        "a",
        ".b",
        "",
        "z",
    ]);
    let path = prop::collection::vec(
        select(vec!["/", "a", "b", "B", "ab", "1", "-", "%61"]),
        0..5,
    );
    let query = prop::option::of(
        prop::collection::vec(
            select(vec![
                "a", "a=a", "a=a+a", "b=%61", "b", "a+a=A", "a%20a=", "&", "=", "a=1",
            ]),
            0..3,
        )
        .prop_map(|pairs| pairs.join("&")),
    );
    let method = select(vec![
        Method::GET,
        Method::POST,
        Method::from_bytes(b"PURGE").unwrap(),
    ]);
    let lines = prop::collection::vec(
        (
            select(vec!["x-a", "x-b"]),
            select(vec!["a", "b", "a a", "", "Ab"]),
        ),
        0..3,
    );
    (host, path, query, method, lines).prop_map(|(host, path, query, method, lines)| {
        let headers = Fields::of(&lines);
        let path = format!("/{}", path.concat());
        Request {
            host: host.to_owned(),
            method,
            path,
            query,
            headers,
        }
    })
}
