//! The crates that we stand on: each from the public registry, under a licence that deny.toml allows, none that
//! it bans, and each direct one explained. Advisories need a network and are not looked at here.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::sources::root;

#[test]
fn crates_have_licences_that_we_allow() {
    let allowed = quoted_after("allow = [");
    assert!(!allowed.is_empty(), "no licence in deny.toml");
    let wrong: Vec<String> = foreign_crates()
        .iter()
        .filter(|krate| !is_allowed(krate["license"].as_str().unwrap_or_default(), &allowed))
        .map(|krate| format!("{}: {}", krate["name"], krate["license"]))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_come_from_the_registry() {
    let crates = foreign_crates();
    let is_foreign = |krate: &&Value| {
        let source = krate["source"].as_str().unwrap_or_default();
        !source.starts_with("registry+")
    };
    let others = crates.iter().filter(is_foreign);
    let others: Vec<&Value> = others.map(|krate| &krate["id"]).collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn banned_crates_are_not_among_them() {
    let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
    let names = deny
        .split("{ name = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    let banned: Vec<&str> = names.collect();
    assert!(!banned.is_empty(), "no ban in deny.toml");
    let crates = foreign_crates();
    let here = |name: &&str| crates.iter().any(|krate| krate["name"] == *name);
    let found: Vec<&str> = banned.into_iter().filter(here).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn direct_dependencies_are_explained() {
    let page = fs::read_to_string(root().join("docs/adr/0002-dependencies.md")).unwrap();
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let own = packages
        .iter()
        .find(|package| package["source"].is_null())
        .unwrap();
    let direct = own["dependencies"].as_array().unwrap();
    assert!(!direct.is_empty());
    let names = direct
        .iter()
        .filter_map(|dependency| dependency["name"].as_str());
    let missing: Vec<&str> = names
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "not in docs/adr/0002-dependencies.md: {missing:?}"
    );
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    for fine in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "(GPL-3.0 OR MIT) AND ISC",
        "MIT AND ISC",
    ] {
        assert!(is_allowed(fine, &allowed), "{fine}");
    }
    for wrong in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(GPL-3.0 OR MIT) AND X",
        "GPL-3.0 OR (X AND MIT)",
    ] {
        assert!(!is_allowed(wrong, &allowed), "{wrong}");
    }
}

/// Whether an SPDX expression can be satisfied by what is allowed: OR binds weaker than AND.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    let either = split(&expression, " OR ");
    either.iter().any(|part| {
        split(part, " AND ").iter().all(|term| {
            let term = term.trim();
            match term
                .strip_prefix('(')
                .and_then(|inner| inner.strip_suffix(')'))
            {
                Some(inner) => is_allowed(inner, allowed),
                None => allowed.iter().any(|licence| licence == term),
            }
        })
    })
}

/// Splits outside of brackets.
fn split<'a>(text: &'a str, by: &str) -> Vec<&'a str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && at >= start && text[at..].starts_with(by) => {
                parts.push(&text[start..at]);
                start = at + by.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The strings of a list in deny.toml.
fn quoted_after(start: &str) -> Vec<String> {
    let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = deny.split_once(start).unwrap().1.split(']').next().unwrap();
    list.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn foreign_crates() -> Vec<Value> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let foreign: Vec<Value> = packages
        .filter(|p| !p["source"].is_null())
        .cloned()
        .collect();
    assert!(foreign.len() > 20, "only {} crates", foreign.len());
    foreign
}

/// What cargo knows of the crates for this machine; those for others need not be here.
fn metadata() -> Value {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .args(["--filter-platform", &host, "--manifest-path", manifest])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
