//! The running config as `/config` shows it: in the file's spelling (camelCase, `5s`), and without
//! anything that a reader of it could use to pass for somebody else.
//!
//! Values from `env:` and `file:` mask themselves. Masked here are those written out in the file under
//! a header whose name says that it is a credential.

use serde_json::{Map, Value};

use crate::model::config::Config;
use crate::model::secret::{MASK, is_credential};

pub(super) fn view(config: &Config) -> Result<Value, serde_json::Error> {
    Ok(spell(serde_json::to_value(config)?))
}

fn spell(value: Value) -> Value {
    match value {
        Value::Object(fields) => duration(&fields).unwrap_or_else(|| object(fields)),
        Value::Array(items) => items.into_iter().map(spell).collect(),
        other => other,
    }
}

fn object(fields: Map<String, Value>) -> Value {
    let name = fields
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let credential = is_credential(&name.to_ascii_lowercase());
    let masked = |key: &str| credential && key == "value";
    let spelled = fields.into_iter().map(|(key, value)| {
        let value = if masked(&key) {
            Value::from(MASK)
        } else {
            spell(value)
        };
        (camel_case(&key), value)
    });
    Value::Object(spelled.collect())
}

/// Serde writes a `Duration` as seconds and nanoseconds.
fn duration(fields: &Map<String, Value>) -> Option<Value> {
    let secs = fields.get("secs")?.as_u64()?;
    let nanos = fields.get("nanos")?.as_u64()?;
    let text = match (secs, nanos) {
        (secs, 0) => format!("{secs}s"),
        (secs, nanos) => format!("{}ms", secs.saturating_mul(1000) + nanos / 1_000_000),
    };
    (fields.len() == 2).then(|| Value::from(text))
}

fn camel_case(key: &str) -> String {
    let mut words = key.split('_');
    let mut spelled = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        spelled.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        spelled.push_str(letters.as_str());
    }
    spelled
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_are_masked_and_the_spelling_is_the_files() {
        let shown = spell(json!({
            "error_header": true,
            "headers": [
                {"name": "Authorization", "value": "Bearer xyz"},
                {"name": "x-plain", "value": "seen"},
            ],
            "drain": {"timeout": {"secs": 30, "nanos": 0}, "delay": {"secs": 1, "nanos": 500_000_000}},
        }));
        assert_eq!(
            shown,
            json!({
                "errorHeader": true,
                "headers": [
                    {"name": "Authorization", "value": "***"},
                    {"name": "x-plain", "value": "seen"},
                ],
                "drain": {"timeout": "30s", "delay": "1500ms"},
            })
        );
    }
}
