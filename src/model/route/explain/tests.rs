use http::Method;

use super::*;
use crate::model::config::{HostPattern, PathPattern, Rule, ValueMatch, ValuePattern};
use crate::model::fields::Fields;
use crate::model::fixtures;

fn rule(host: HostPattern, path: PathPattern) -> Rule {
    Rule {
        host,
        ..fixtures::rule("r", path)
    }
}

fn any(path: PathPattern) -> Rule {
    rule(HostPattern::Any, path)
}

fn wanted(name: &str, value: ValuePattern) -> Vec<ValueMatch> {
    vec![ValueMatch {
        name: name.to_owned(),
        value,
    }]
}

fn root() -> PathPattern {
    PathPattern::Prefix("/".to_owned())
}

/// The verdict of a single rule on a request that has a bit of everything, in words.
fn said(rule: Rule) -> String {
    let headers = Fields::of(&[
        ("X-Env", "blue"),
        ("x-env", "red"),
        ("Authorization", "Bearer xyz"),
    ]);
    let query = RouteQuery {
        host: "Shop.example:80",
        method: &Method::GET,
        path: "/cart",
        path_and_query: "/cart?debug=1&name=a+b",
        headers: &headers,
    };
    let table = RouteTable::build(std::slice::from_ref(&rule)).unwrap();
    match table.explain(&query)[..] {
        [Verdict::Taken] => "taken".to_owned(),
        [Verdict::Left(mismatch)] => {
            let words = mismatch.describe(&rule, &query);
            assert!(words.starts_with(mismatch.subject()), "{words}");
            words
        }
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn every_mismatch_says_what_is_there_and_what_is_asked_for() {
    let exact = |path: &str| PathPattern::Exact(path.to_owned());
    let regex = |path: &str| PathPattern::Regex(path.to_owned());
    let value = |value: &str| ValuePattern::Exact(value.to_owned());
    let like = |pattern: &str| ValuePattern::Regex(pattern.to_owned());
    let methods = vec!["POST".to_owned(), "PUT".to_owned()];
    for (rule, words) in [
        (any(root()), "taken"),
        (
            rule(HostPattern::Exact("shop.example".into()), root()),
            "taken",
        ),
        (
            rule(HostPattern::Exact("a.b".into()), root()),
            "host: `Shop.example:80` is not `a.b`",
        ),
        (
            rule(HostPattern::Wildcard("shop.example".into()), root()),
            "host: `Shop.example:80` is not `*.shop.example`",
        ),
        (any(exact("/car")), "path: `/cart` is not `/car`"),
        (
            any(PathPattern::Prefix("/car".into())),
            "path: `/cart` is not `/car` or below it",
        ),
        (
            any(regex("/cart$")),
            "path: `/cart?debug=1&name=a+b` does not begin with a match of `/cart$`",
        ),
        (
            Rule {
                methods,
                ..any(root())
            },
            "method: GET is not POST or PUT",
        ),
        (
            Rule {
                headers: wanted("x-env", value("green")),
                ..any(root())
            },
            "header x-env: `blue` and `red` is not `green`",
        ),
        (
            Rule {
                headers: wanted("x-env", like("g.*")),
                ..any(root())
            },
            "header x-env: `blue` and `red` does not match `g.*`",
        ),
        (
            Rule {
                headers: wanted("x-absent", ValuePattern::Present),
                ..any(root())
            },
            "header x-absent: is not there",
        ),
        (
            Rule {
                headers: wanted("authorization", value("Bearer abc")),
                ..any(root())
            },
            "header authorization: its value is not the one that is asked for",
        ),
        (
            Rule {
                query: wanted("name", value("c")),
                ..any(root())
            },
            "query name: `a b` is not `c`",
        ),
        (
            Rule {
                query: wanted("page", value("2")),
                ..any(root())
            },
            "query page: is not there",
        ),
    ] {
        assert_eq!(said(rule.clone()), words, "{rule:?}");
    }
}

#[test]
fn what_a_client_sends_is_repeated_in_part_and_without_controls() {
    let long = format!("/\u{1b}{}", "x".repeat(200));
    let headers = Fields::default();
    let query = RouteQuery {
        host: "",
        method: &Method::GET,
        path: &long,
        path_and_query: &long,
        headers: &headers,
    };
    let words = Mismatch::Path.describe(&any(PathPattern::Exact("/".into())), &query);
    assert!(!words.contains('\u{1b}') && words.len() < 130, "{words}");
}

#[test]
fn rules_behind_the_one_that_takes_it_are_not_tried() {
    let rules = [
        rule(HostPattern::Exact("a".into()), root()),
        any(PathPattern::Exact("/x".into())),
        any(root()),
        any(root()),
    ];
    let table = RouteTable::build(&rules).unwrap();
    let headers = Fields::default();
    let query = RouteQuery {
        host: "b",
        method: &Method::GET,
        path: "/",
        path_and_query: "/",
        headers: &headers,
    };
    let verdicts = table.explain(&query);
    let left = [Mismatch::Host, Mismatch::Path].map(Verdict::Left);
    assert_eq!(verdicts, [left[0], left[1], Verdict::Taken]);
}
