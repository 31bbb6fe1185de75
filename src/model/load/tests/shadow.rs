//! Which rules are said never to match. Each case names the rules that are covered, by index.

use std::collections::HashMap;

use http::Method;
use proptest::prelude::*;

use super::{UPSTREAM, load, secrets};
use crate::model::fields::Fields;
use crate::model::route::{RouteQuery, RouteTable};

fn covered(rules: &[&str]) -> Vec<usize> {
    let rules: String = rules
        .iter()
        .map(|rule| format!("    - {{{rule}, upstreams: [a]}}\n"))
        .collect();
    let loaded = load(&format!("{UPSTREAM}  rules:\n{rules}"), &mut secrets);
    assert!(loaded.config.is_some(), "{:#?}", loaded.diagnostics);
    let index = |path: &str| {
        path.strip_prefix("server.rules[")?
            .strip_suffix("]")?
            .parse()
            .ok()
    };
    let never = loaded
        .warnings()
        .filter(|found| found.message.contains("takes all of it first"));
    never.filter_map(|found| index(&found.path)).collect()
}

#[test]
fn a_warning_names_both_rules() {
    let yaml = format!(
        "{UPSTREAM}  rules:\n    - {{name: all, upstreams: [a]}}\n    - {{path: /b, upstreams: [a]}}\n"
    );
    let loaded = load(&yaml, &mut secrets);
    let found: Vec<_> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "warning at server.rules[1] (line 7, column 7): this rule can never match: \
        `all` takes all of it first; remove it, or move it above server.rules[0] on line 6"
        ]
    );
}

#[test]
fn rules_that_an_earlier_one_covers() {
    for (rules, expected) in [
        // Paths.
        (&["path: /a", "path: /a/b"][..], &[1][..]),
        (&["path: /a/b", "path: /a"], &[]),
        (&["path: /", "path: '/x[0-9]+'"], &[1]),
        (&["path: '/.*'", "path: /b"], &[1]),
        (&["path: /a.*", "path: /ab"], &[1]),
        (&["path: /a.+", "path: /ab"], &[]),
        (&["path: /a$", "path: /a"], &[]),
        (&["path: '/[ab]'", "path: '/[ab]'"], &[1]),
        (&["path: ^/a", "path: '/a\\.b'"], &[1]),
        (&["path: /a", "path: /abc, pathType: exact"], &[1]),
        (
            &["path: /a, pathType: exact", "path: /a, pathType: exact"],
            &[1],
        ),
        (&["path: /a, pathType: exact", "path: /a"], &[]),
        (
            &["path: /a, pathType: prefix", "path: /a/b, pathType: exact"],
            &[1],
        ),
        (
            &["path: /a, pathType: prefix", "path: /a, pathType: exact"],
            &[1],
        ),
        (
            &["path: /a, pathType: prefix", "path: /ab, pathType: exact"],
            &[],
        ),
        (
            &["path: /a, pathType: prefix", "path: /a/b, pathType: prefix"],
            &[1],
        ),
        (&["path: /a, pathType: prefix", "path: /a"], &[]),
        (&["path: /a, pathType: prefix", "path: /a/"], &[1]),
        (&["path: /a, pathType: prefix", "path: '/a/b[0-9]'"], &[1]),
        (&["path: /, pathType: prefix", "path: /a"], &[1]),
        (&["path: '/a|/b'", "path: /a"], &[]),
        // Hosts.
        (&["host: x.y", "path: /a"], &[]),
        (&["path: /", "host: x.y"], &[1]),
        (&["host: x.y", "host: X.Y."], &[1]),
        (&["host: '*.y'", "host: x.y"], &[1]),
        (&["host: '*.y'", "host: a.x.y"], &[1]),
        (&["host: '*.y'", "host: '*.x.y'"], &[1]),
        (&["host: '*.x.y'", "host: '*.y'"], &[]),
        (&["host: '*.y'", "host: y"], &[]),
        (&["host: '*.y'", "host: xy"], &[]),
        // Methods.
        (&["methods: [GET]", "path: /"], &[]),
        (&["methods: [GET, PUT]", "methods: [PUT]"], &[1]),
        (&["methods: [GET]", "methods: [GET, PUT]"], &[]),
        (&["path: /", "methods: [GET]"], &[1]),
        // Headers and query.
        (&["headers: [{name: x, value: y}]", "path: /a"], &[]),
        (
            &[
                "headers: [{name: x, value: y}]",
                "headers: [{name: X, value: y}, {name: z, present: true}]",
            ],
            &[1],
        ),
        (
            &[
                "headers: [{name: x, present: true}]",
                "headers: [{name: x, regex: y}]",
            ],
            &[1],
        ),
        (
            &[
                "headers: [{name: x, regex: y}]",
                "headers: [{name: x, present: true}]",
            ],
            &[],
        ),
        (
            &[
                "query: [{name: x, value: y}]",
                "query: [{name: X, value: y}]",
            ],
            &[],
        ),
        (
            &[
                "query: [{name: x, value: y}]",
                "query: [{name: x, value: y}]",
            ],
            &[1],
        ),
        // A rule that is covered covers nothing that was not covered before.
        (&["path: /", "path: /a", "path: /a/b"], &[1, 2]),
    ] {
        assert_eq!(covered(rules), expected, "{rules:?}");
    }
}

/// Small alphabets, so that rules meet.
fn any_rule() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec![
        "/", "/a", "/a/", "/a/b", "/ab", "/a.*", "/a$", "/[ab]", "/a/?b", "/a|/b", "/(a|b)/a",
        "/a(/b)?", "/b+", "^/a",
    ]);
    let path = (path, prop::sample::select(vec!["regex", "exact", "prefix"]))
        .prop_filter("no pattern", |(path, kind)| {
            *kind == "regex" || !path.contains(['?', '^'])
        });
    let host = prop::sample::select(vec![
        "",
        "host: x.y, ",
        "host: '*.y', ",
        "host: '*.x.y', ",
        "host: y, ",
    ]);
    let more = prop::sample::select(vec![
        "",
        "",
        "methods: [GET], ",
        "methods: [GET, PUT], ",
        "headers: [{name: h, value: v}], ",
        "headers: [{name: h, present: true}], ",
        "query: [{name: q, regex: 'v.*'}], ",
        "query: [{name: q, present: true}], ",
    ]);
    (path, host, more).prop_map(|((path, kind), host, more)| {
        format!("{host}{more}path: '{path}', pathType: {kind}")
    })
}

proptest! {
    /// Never a warning without reason: no request reaches a rule that is said never to match.
    #[test]
    fn a_covered_rule_takes_no_request(
        rules in prop::collection::vec(any_rule(), 1..8),
        requests in prop::collection::vec(
            (
                prop::sample::select(vec!["y", "x.y", "a.x.y", "z"]),
                "/[ab]{0,2}(/[ab]?){0,2}",
                prop::sample::select(vec!["", "?q=v", "?q=w", "?"]),
                prop::sample::select(vec!["GET", "PUT"]),
                prop::sample::select(vec![None, Some("v"), Some("w")]),
            ),
            40,
        ),
    ) {
        let texts: Vec<_> = rules.iter().map(String::as_str).collect();
        let never = covered(&texts);
        let yaml: String = rules.iter().map(|rule| format!("    - {{{rule}, upstreams: [a]}}\n")).collect();
        let config = load(&format!("{UPSTREAM}  rules:\n{yaml}"), &mut secrets).config.unwrap();
        let table = RouteTable::build(&config.rules).unwrap();
        let mut taken: HashMap<u32, String> = HashMap::new();
        for (host, path, query, method, header) in requests {
            let header: Vec<_> = header.iter().map(|value| ("h", *value)).collect();
            let headers = Fields::of(&header);
            let method: Method = method.parse().unwrap();
            let path_and_query = format!("{path}{query}");
            let query = RouteQuery { host, method: &method, path: &path, path_and_query: &path_and_query, headers: &headers };
            if let Some(route) = table.find(&query) {
                taken.insert(route.index, format!("{host} {path_and_query}"));
            }
        }
        for index in never {
            let request = taken.get(&u32::try_from(index).unwrap());
            prop_assert!(request.is_none(), "rule {index} of {rules:#?} takes {request:?}");
        }
    }
}
