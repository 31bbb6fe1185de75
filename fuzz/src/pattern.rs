//! Route patterns: the compiled table takes exactly what the expression takes, anchored at the start of
//! path and query, whatever the table makes of it (literals, prefixes, one automaton for many rules).
//!
//! The input's first line is the pattern, the others are paths.

use http::Method;
use sluice::model::fields::Fields;
use sluice::model::load;
use sluice::model::route::RouteQuery;
use sluice::model::snapshot::Snapshot;

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.lines();
    let pattern = lines.next().unwrap_or_default();
    let Some(snapshot) = snapshot(pattern) else {
        return;
    };
    // A comment of `(?x)` goes on to the end of its line, and would take the bracket with it.
    let anchored = |end| regex::Regex::new(&format!("^(?:{pattern}{end})"));
    let Ok(oracle) = anchored("").or_else(|_| anchored("\n")) else {
        panic!("{pattern:?} is accepted, and is no expression");
    };
    for line in lines.take(16) {
        let path = format!("/{line}");
        if path.bytes().all(|byte| byte.is_ascii_graphic()) {
            check_path(&snapshot, pattern, &oracle, &path);
        }
    }
}

fn snapshot(pattern: &str) -> Option<Snapshot> {
    // JSON's strings are YAML's.
    let quoted = serde_json::to_string(pattern).expect("a string");
    let text = format!(
        "server:\n  listen: 0\n  upstreams: [{{id: a, url: 'builtin://echo'}}]\n  rules:\n    - {{path: {quoted}, upstreams: [a]}}\n"
    );
    let config = load(&text, &mut |_| Err("no secrets".to_owned())).config?;
    Snapshot::build(&config, 1).ok()
}

fn check_path(snapshot: &Snapshot, pattern: &str, oracle: &regex::Regex, path_and_query: &str) {
    let path = path_and_query.split('?').next().unwrap_or(path_and_query);
    let query = RouteQuery {
        host: "a",
        method: &Method::GET,
        path,
        path_and_query,
        headers: &Fields::default(),
    };
    let ours = snapshot.routes.find(&query).is_some();
    assert_eq!(
        ours,
        oracle.is_match(path_and_query),
        "{pattern:?} on {path_and_query:?}"
    );
}
