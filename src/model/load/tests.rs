//! Each kind of error and warning, with its place, what it says and what it advises: the path in the
//! file, the line, the column, the message and the help stand in one line as a person would see them.

mod balance;
mod document;
mod health;
mod properties;
mod rules;
mod server;
mod shadow;

use super::*;

const DESIGN: &str = include_str!("../../../config/example.yaml");

fn secrets(reference: &SecretRef) -> Result<String, String> {
    match reference {
        SecretRef::Env(name) if name == "TOKEN" => Ok("t0k3n".to_owned()),
        SecretRef::Env(name) if name == "LINES" => Ok("a\nb".to_owned()),
        _ => Err("it is not there".to_owned()),
    }
}

/// Loads each text and compares what is found, finding by finding.
fn check(cases: &[(String, &[&str])]) {
    assert!(!cases.is_empty());
    for (yaml, expected) in cases {
        let loaded = load(yaml, &mut secrets);
        let found: Vec<_> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(found, *expected, "in:\n{yaml}");
        assert_eq!(
            loaded.config.is_some(),
            loaded.errors().count() == 0,
            "in:\n{yaml}"
        );
    }
}

const UPSTREAM: &str = "server:\n  upstreams:\n    - id: a\n      url: a.example.com\n";
const RULE: &str = "  rules:\n    - upstreams: [a]\n";

fn in_server(line: &str) -> String {
    format!("{UPSTREAM}{RULE}  {line}\n")
}

fn beside_server(line: &str) -> String {
    format!("{UPSTREAM}{RULE}{line}\n")
}

fn upstreams(list: &str) -> String {
    format!("server:\n  upstreams:\n{list}{RULE}")
}

fn rule(keys: &str) -> String {
    format!(
        "{UPSTREAM}  rules:\n    - {}\n",
        keys.replace('\n', "\n      ")
    )
}

fn header(keys: &str) -> String {
    format!(
        "{UPSTREAM}{RULE}  headers:\n    - {}\n",
        keys.replace('\n', "\n      ")
    )
}

#[test]
fn the_first_config_loads_without_a_remark() {
    let loaded = load(DESIGN, &mut secrets);
    assert_eq!(loaded.diagnostics, []);
    let config = loaded.config.unwrap();
    assert_eq!(config.listeners[0].address.to_string(), "0.0.0.0:8080");
    assert_eq!(config.upstreams[1].id, "dummy");
    assert_eq!(config.headers[0].value.to_string(), "${ip}");
    assert_eq!(config.rules[0].upstreams[0].upstream, 1);
}

#[test]
fn bounds_hold() {
    let large = "#".repeat(crate::model::MAX_BYTES + 1);
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    let bomb: String = (1..30)
        .map(|n| {
            format!(
                "k{n}: &a{n} [{}]\n",
                vec![format!("*a{}", n - 1); 10].join(", ")
            )
        })
        .collect();
    let bomb = format!("k0: &a0 [x]\n{bomb}");
    for (yaml, message) in [
        (large, "the file has 16777217 bytes; the limit is 16 MiB"),
        (deep, "lists and mappings are nested deeper than 64"),
        (
            bomb,
            "with its aliases written out the file has more than 8388608 values",
        ),
    ] {
        let loaded = load(&yaml, &mut secrets);
        assert_eq!(loaded.config, None);
        assert_eq!(loaded.diagnostics[0].message, message);
    }
}

#[test]
fn a_flood_of_mistakes_is_counted_not_listed() {
    let rules = "    - upstreams: [nobody]\n".repeat(3_000);
    let loaded = load(&format!("{UPSTREAM}  rules:\n{rules}"), &mut secrets);
    assert_eq!(loaded.diagnostics.len(), 1_000);
    assert!(
        loaded.diagnostics[999]
            .help
            .ends_with("2000 more findings are not listed")
    );
}

#[test]
fn an_alias_is_read_where_it_is_used() {
    let yaml = "server:\n  upstreams:\n    - {id: a, url: a, timeouts: &slow {connect: 9s}}\n    \
                - {id: b, url: b, timeouts: *slow}\n  rules: [{upstreams: &both [a, b]}]\n";
    let config = load(yaml, &mut secrets).config.unwrap();
    assert_eq!(config.upstreams[1].traffic.timeouts.connect.as_secs(), 9);
}

#[test]
fn texts_that_yaml_takes_for_numbers_stay_as_written() {
    let config = load(
        &rule("query: [{name: v, value: 1.10}]\nupstreams: [a]"),
        &mut secrets,
    );
    let rule = config.config.unwrap().rules.remove(0);
    assert_eq!(
        rule.query[0].value,
        crate::model::config::ValuePattern::Exact("1.10".to_owned())
    );
}

#[test]
fn names_are_made_where_none_is_written() {
    let yaml = format!(
        "{UPSTREAM}  rules:\n    - {{path: /a, methods: [GET], upstreams: [a]}}\n    \
         - {{path: /a, upstreams: [a]}}\n    - {{name: /b, path: /x, upstreams: [a]}}\n    \
         - {{path: /b, upstreams: [a]}}\n    - {{host: '*.x.y', upstreams: [a]}}\n"
    );
    let loaded = load(&yaml, &mut secrets);
    let names: Vec<_> = loaded
        .config
        .unwrap()
        .rules
        .into_iter()
        .map(|rule| rule.name)
        .collect();
    assert_eq!(names, ["/a", "/a #2", "/b", "/b #2", "*.x.y/"]);
}

#[test]
fn secrets_are_resolved_and_travel_to_workers() {
    let yaml = beside_server("admin: {token: 'env:TOKEN'}");
    let config = load(&yaml, &mut secrets).config.unwrap();
    assert!(!serde_json::to_string(&config).unwrap().contains("t0k3n"));
    let sent = postcard::to_stdvec(&config).unwrap();
    let received: Config = postcard::from_bytes(&sent).unwrap();
    assert_eq!(received, config);
    assert_eq!(received.admin.token.unwrap().expose(), "t0k3n");
}
