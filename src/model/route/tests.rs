use http::Method;
use proptest::prelude::*;

use super::super::config::{HostPattern, PathPattern, Rule};
use super::super::fixtures;
use super::*;

mod random;
mod scan;

fn regex(pattern: &str) -> PathPattern {
    PathPattern::Regex(pattern.to_owned())
}

fn exact(path: &str) -> PathPattern {
    PathPattern::Exact(path.to_owned())
}

fn prefix(path: &str) -> PathPattern {
    PathPattern::Prefix(path.to_owned())
}

fn table(paths: impl IntoIterator<Item = PathPattern>) -> RouteTable {
    let rules: Vec<Rule> = paths
        .into_iter()
        .map(|path| fixtures::rule("r", path))
        .collect();
    RouteTable::build(&rules).unwrap()
}

/// The search for a `GET` of a target on some host.
fn search<T>(host: &str, target: &str, ask: impl FnOnce(&RouteQuery<'_>) -> T) -> T {
    ask(&RouteQuery {
        host,
        method: &Method::GET,
        path: target.split('?').next().unwrap(),
        path_and_query: target,
        headers: &Fields::default(),
    })
}

fn found(table: &RouteTable, target: &str) -> Option<u32> {
    search("example.com", target, |query| {
        table.find(query).map(|route| route.index)
    })
}

#[test]
fn pattern_takes_what_it_says() {
    for (pattern, takes, leaves) in [
        (
            regex("/test"),
            &["/test", "/testing", "/test/x", "/test?a=1"][..],
            &["/tes", "/x/test"][..],
        ),
        (regex("^/test"), &["/test", "/testing"], &["/", "/x/test"]),
        (
            regex("/test$"),
            &["/test"],
            &["/test/", "/test?a", "/testing"],
        ),
        (regex("/test.*"), &["/test", "/test/x?y"], &["/tes"]),
        (regex("/test.*$"), &["/test", "/test/x?y"], &["/tes"]),
        (
            regex(r"/test\?a=1"),
            &["/test?a=1", "/test?a=12", "/test?a=1&b"],
            &["/test", "/test?b"],
        ),
        (regex("/test?a=1"), &["/tesa=1", "/testa=1"], &["/test?a=1"]),
        (regex(""), &["/", "/x", "*"], &[]),
        (regex(".*"), &["/", "/x", "*"], &[]),
        (regex("$"), &[], &["/", "/x"]),
        (regex("[a&&b]"), &[], &["/", "/a", "/b"]),
        (
            regex("/(a|b)/c"),
            &["/a/c", "/b/cd"],
            &["/c/c", "/a", "/a/b"],
        ),
        (regex("/a|/b"), &["/a", "/bx"], &["/c"]),
        (regex("/a$|/b"), &["/a", "/bx"], &["/ax", "/c"]),
        (regex("/(?i)Abc"), &["/abc", "/ABCd"], &["/ab"]),
        (
            regex("(?i)/abcdefgh$"),
            &["/abcdefgh", "/ABCDEFGH"],
            &["/abcdefghi", "/abcdefg"],
        ),
        (regex(r"/a\.b"), &["/a.b"], &["/axb"]),
        (regex("/a.b"), &["/a.b", "/axb", "/a/b"], &["/ab"]),
        (regex(r"/\d+/x"), &["/1/x", "/22/xy"], &["//x", "/a/x"]),
        (
            regex("/users/[^/]+$"),
            &["/users/ann", "/users/ann?x"],
            &["/users/", "/users/ann/x"],
        ),
        (regex("/a/?$"), &["/a", "/a/"], &["/a/b", "/a?x", "/ab"]),
        (
            regex(r"/a(/.*)?$"),
            &["/a", "/a/", "/a/b?c"],
            &["/ab", "/a?c"],
        ),
        (
            regex(r"/a(\?.*)?$"),
            &["/a", "/a?", "/a?b"],
            &["/ab", "/a/"],
        ),
        (
            regex(r"/a\b"),
            &["/a", "/a/b", "/a-b", "/a?b"],
            &["/ab", "/a_"],
        ),
        (
            regex("(?x) /a  # the first\n /b"),
            &["/a/b"],
            &["/a /b", "/a"],
        ),
        (regex("/a{2}$"), &["/aa"], &["/a", "/aaa"]),
        // Two spellings of each letter, and at the end one that no target has: all must not be tried.
        (
            regex("(?i)/a-register-of-all-the-streets-in-köln|/b"),
            &["/b", "/B"],
            &["/a-register-of-all-the-streets-in-koln"],
        ),
        (
            exact("/a"),
            &["/a", "/a?b", "/a?"],
            &["/", "/a/", "/ab", "/A"],
        ),
        (exact("/"), &["/", "/?x"], &["/a", "*"]),
        (exact("/a?b"), &[], &["/a?b", "/a"]),
        (exact("/a.b$"), &["/a.b$"], &["/axb", "/a.b"]),
        (
            prefix("/api"),
            &["/api", "/api/", "/api/x", "/api?x", "/api/?x"],
            &["/apix", "/ap", "/"],
        ),
        (prefix("/api/"), &["/api", "/api/x"], &["/apix"]),
        (prefix("/"), &["/", "/x", "/?x"], &["*"]),
        (prefix("/a?b"), &[], &["/a?b", "/a?b/c"]),
        (prefix("/a.b"), &["/a.b/c"], &["/axb"]),
    ] {
        let table = table([pattern.clone()]);
        for target in takes {
            assert_eq!(found(&table, target), Some(0), "{pattern:?} takes {target}");
        }
        for target in leaves {
            assert_eq!(found(&table, target), None, "{pattern:?} leaves {target}");
        }
    }
}

#[test]
fn first_rule_wins_whatever_its_kind() {
    let table = table([
        exact("/a/b"),
        regex("/a/[0-9]+"),
        prefix("/a"),
        regex("/a/b/c"),
        regex("/[a-z]/x$"),
        regex("/"),
        exact("/z"),
    ]);
    for (target, rule) in [
        ("/a/b", 0),
        ("/a/7", 1),
        ("/a/b/c", 2),
        ("/a/x", 2),
        ("/b/x", 4),
        ("/b/x?", 5),
        ("/z", 5),
    ] {
        assert_eq!(found(&table, target), Some(rule), "{target}");
    }
    assert_eq!(found(&table, "*"), None);
}

#[test]
fn first_rule_wins_over_the_more_specific_host() {
    let at = |host, path| Rule {
        host,
        ..fixtures::rule("r", regex(path))
    };
    let table = RouteTable::build(&[
        at(HostPattern::Wildcard("b".into()), "/x"),
        at(HostPattern::Any, "/y"),
        at(HostPattern::Exact("a.b".into()), "/"),
        at(HostPattern::Any, "/"),
    ])
    .unwrap();
    for (host, target, rule) in [
        ("a.b", "/x", 0),
        ("A.B.:80", "/y", 1),
        ("a.b", "/z", 2),
        ("c.b", "/z", 3),
        ("", "/x", 3),
    ] {
        let found = search(host, target, |query| {
            table.find(query).map(|route| route.index)
        });
        assert_eq!(found, Some(rule), "{host}{target}");
    }
}

#[test]
fn no_rules_take_nothing() {
    assert_eq!(found(&table([]), "/"), None);
}

#[test]
fn monstrous_regexes_are_refused_by_name() {
    let build = |pattern: &str| {
        RouteTable::build(&[fixtures::rule("big", regex(pattern))])
            .map(|_| ())
            .unwrap_err()
    };
    let error = build("/x(a{1000}){1000}y[a-z]").to_string();
    assert!(
        error.contains("bytes once compiled") && error.contains("a{1000}"),
        "{error}"
    );
    let error = build("/x(").to_string();
    assert!(
        error.starts_with("rule big: regular expression \"/x(\""),
        "{error}"
    );
}

/// However many choices a pattern has, the number of its keys is bounded.
#[test]
fn patterns_with_many_choices_are_still_found() {
    let optional = "(a|b|)".repeat(500);
    let branches: Vec<String> = (0..1000).map(|n| format!("/{n}/x")).collect();
    let table = table([regex(&format!("/o{optional}z")), regex(&branches.join("|"))]);
    assert_eq!(found(&table, "/oabbaz"), Some(0));
    assert_eq!(found(&table, "/oabbacz"), None);
    assert_eq!(found(&table, "/999/x"), Some(1));
    assert_eq!(found(&table, "/1000/x"), None);
}

/// Looked at per lookup: no more among twenty thousand rules than among two.
#[test]
fn work_does_not_grow_with_the_number_of_rules() {
    let visited = |hosts: u32, query: &RouteQuery<'_>| {
        let rules: Vec<Rule> = (0..hosts)
            .flat_map(|n| {
                let host = HostPattern::Exact(format!("h{n}.example.com"));
                [regex("/api"), regex("/")].map(|path| Rule {
                    host: host.clone(),
                    ..fixtures::rule("r", path)
                })
            })
            .collect();
        let table = RouteTable::build(&rules).unwrap();
        let search = table.search(query);
        (search.found().map(|rule| rule % 2), search.visited())
    };
    for target in ["/api/x", "/other"] {
        search("h0.example.com", target, |query| {
            assert_eq!(visited(10_000, query), visited(1, query), "{target}");
        });
    }
}

#[test]
fn work_does_not_grow_with_the_number_of_paths() {
    for (kind, suffix) in [("literal", ""), ("regex", "/[0-9]+/x")] {
        let rules = (0..5_000).map(|n| regex(&format!("/service-{n}/api{suffix}")));
        let table = table(rules.chain([regex("/")]));
        for (target, rule) in [("/service-4321/api/7/x", 4321), ("/other", 5_000)] {
            search("example.com", target, |query| {
                let search = table.search(query);
                assert_eq!(search.found(), Some(rule), "{kind} {target}");
                assert!(
                    search.visited() <= 2,
                    "{kind} {target}: {}",
                    search.visited()
                );
            });
        }
    }
}

proptest! {
    #[test]
    fn table_answers_what_an_ordered_scan_answers(
        (rules, requests) in random::rules_and_requests(),
    ) {
        let table = RouteTable::build(&rules).unwrap();
        for request in &requests {
            let (found, explained, expected) = request.ask(|query| {
                let found = table.find(query).map(|route| route.index as usize);
                let verdicts = table.explain(query);
                let explained = verdicts.iter().position(|one| *one == Verdict::Taken);
                (found, explained, scan::find(&rules, query))
            });
            prop_assert_eq!(found, expected, "{:?}", request);
            prop_assert_eq!(explained, expected, "{:?}", request);
        }
    }
}

/// The property above means something only if random requests meet random rules of every kind.
#[test]
fn random_requests_hit_and_miss() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut hits, mut misses, mut regexes) = (0, 0, 0);
    for _ in 0..200 {
        let (rules, requests) = random::rules_and_requests()
            .new_tree(&mut runner)
            .unwrap()
            .current();
        for request in requests {
            match request.ask(|query| scan::find(&rules, query)) {
                None => misses += 1,
                Some(rule) => {
                    hits += 1;
                    regexes += usize::from(matches!(rules[rule].path, PathPattern::Regex(_)));
                }
            }
        }
    }
    assert!(
        hits > 300 && misses > 200 && regexes > 100,
        "{hits} {misses} {regexes}"
    );
}
