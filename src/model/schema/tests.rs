use std::collections::BTreeMap;

use super::*;

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// How the reference page names a shape.
fn named(shape: &Shape) -> String {
    match shape {
        Shape::Text => "text".to_owned(),
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::Number { min, max } => format!("number, {min} to {max}"),
        Shape::Bytes { min: 0, .. } => "size".to_owned(),
        Shape::Bytes { min, max } => format!("size, {min} to {max} bytes"),
        Shape::Duration => "duration".to_owned(),
        Shape::Words(words) => format!("`{}`", words.join("`, `")),
        Shape::List(item) => format!("list of {}", named(item)),
        Shape::Either(forms) => forms.iter().map(named).collect::<Vec<_>>().join(", or "),
        Shape::Section(_) => "section".to_owned(),
    }
}

fn row(path: &str, key: &Key) -> String {
    let default = key
        .default
        .as_ref()
        .map(|default| format!("`{default}`"))
        .unwrap_or_default();
    let default = if key.required {
        "required".to_owned()
    } else {
        default
    };
    format!(
        "| `{path}` | {} | {default} | {} |",
        named(&key.shape),
        key.meaning
    )
}

/// The rows of the program, by their keys.
fn declared() -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    RawConfig::shape().walk("", &mut |path, key| {
        rows.insert(path.clone(), row(&path, key));
    });
    rows
}

/// The rows of the page, by their keys, and what they say about errors.
fn documented() -> BTreeMap<String, (String, String)> {
    let rows = PAGE
        .lines()
        .filter(|line| line.starts_with("| `") && line.split(" | ").count() == 5);
    let split = |line: &str| {
        let (row, error) = line.rsplit_once(" | ").unwrap();
        let key = row.split('`').nth(1).unwrap().to_owned();
        (
            key,
            (
                format!("{row} |"),
                error.trim_end_matches(['|', ' ']).to_owned(),
            ),
        )
    };
    rows.map(split).collect()
}

#[test]
fn the_reference_page_says_what_is_read() {
    let (declared, documented) = (declared(), documented());
    assert!(declared.len() > 40, "{}", declared.len());
    let differs = |(path, row): &(&String, &String)| {
        documented
            .get(*path)
            .is_none_or(|(documented, _)| documented != *row)
    };
    let missing: String = declared
        .iter()
        .filter(differs)
        .map(|(_, row)| format!("{row} error |\n"))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/configuration.md needs these rows:\n{missing}"
    );
    for (path, (_, error)) in &documented {
        assert!(
            declared.contains_key(path),
            "docs/configuration.md explains `{path}`, which is no key"
        );
        assert!(
            !error.is_empty(),
            "docs/configuration.md says no error for `{path}`"
        );
    }
}

/// A value as the schema sees it.
fn from_yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// As much of JSON Schema as the schema uses; an unknown keyword fails the test.
fn accepts(schema: &Value, value: &Value) -> bool {
    let keywords = schema.as_object().unwrap();
    keywords
        .iter()
        .all(|(keyword, wanted)| match keyword.as_str() {
            "$schema" | "title" | "description" | "default" => true,
            "type" => is_type(wanted, value),
            "enum" => wanted.as_array().unwrap().contains(value),
            "minimum" => value
                .as_u64()
                .is_none_or(|number| number >= wanted.as_u64().unwrap()),
            "maximum" => value
                .as_u64()
                .is_none_or(|number| number <= wanted.as_u64().unwrap()),
            "pattern" => {
                let pattern = regex::Regex::new(wanted.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "anyOf" => wanted
                .as_array()
                .unwrap()
                .iter()
                .any(|form| accepts(form, value)),
            "items" => value
                .as_array()
                .is_none_or(|items| items.iter().all(|item| accepts(wanted, item))),
            "properties" => value.as_object().is_none_or(|object| {
                object
                    .iter()
                    .all(|(key, value)| wanted.get(key).is_none_or(|schema| accepts(schema, value)))
            }),
            "required" => value.as_object().is_none_or(|object| {
                wanted
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|key| object.contains_key(key.as_str().unwrap()))
            }),
            "additionalProperties" => value.as_object().is_none_or(|object| {
                let known = schema["properties"].as_object().unwrap();
                assert_eq!(wanted, &json!(false));
                object.keys().all(|key| known.contains_key(key))
            }),
            unknown => panic!("the schema uses `{unknown}`, which this test does not know"),
        })
}

fn is_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        unknown => panic!("unknown type {unknown}"),
    };
    match wanted {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
        other => panic!("unknown type {other}"),
    }
}

#[test]
fn the_schema_accepts_the_examples() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    let files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    let files: Vec<_> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(accepts(&schema(), &from_yaml(&text)), "{}", file.display());
        let loaded = crate::model::load(&text, &mut |_| Err("no secrets".to_owned()));
        assert_eq!(loaded.diagnostics, [], "{}", file.display());
    }
}

#[test]
fn the_schema_refuses_what_check_refuses() {
    let valid = "server: {upstreams: [{id: a, url: a}], rules: [{upstreams: [a]}]}";
    assert!(accepts(&schema(), &from_yaml(valid)));
    for (from, to) in [
        ("server:", "servers:"),
        ("id: a,", "id: a, colour: red,"),
        ("id: a,", ""),
        ("upstreams: [a]", "upstreams: a"),
        ("server: {", "server: {workers: 0, "),
        ("server: {", "server: {limits: {idleTimeout: 5}, "),
        ("server: {", "server: {limits: {headerBytes: 64kb}, "),
        ("server: {", "server: {hostHeader: client, "),
    ] {
        let invalid = valid.replacen(from, to, 1);
        assert_ne!(invalid, valid);
        assert!(!accepts(&schema(), &from_yaml(&invalid)), "{invalid}");
        let loaded = crate::model::load(&invalid, &mut |_| Err("no secrets".to_owned()));
        assert_eq!(loaded.config, None, "{invalid}");
    }
}
