//! The configuration as a JSON Schema, made from the same declarations that read it.

use serde_json::{Map, Value, json};

use super::decode::{Decode, Key, Shape};
use super::raw::RawConfig;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What may be written, for editors and other tools.
pub fn schema() -> Value {
    let mut schema = of(&RawConfig::shape());
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".to_owned(), json!(DIALECT));
        object.insert("title".to_owned(), json!("The configuration of Sluice"));
    }
    schema
}

fn of(shape: &Shape) -> Value {
    match shape {
        // YAML takes some texts for numbers or booleans; the reader takes them as written.
        Shape::Text => json!({"type": ["string", "number", "boolean"]}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Number { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Bytes { min, max } => json!({"anyOf": [
            {"type": "integer", "minimum": min, "maximum": max},
            {"type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)?$"},
        ]}),
        Shape::Duration => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}),
        Shape::Words(words) => json!({"type": "string", "enum": words}),
        Shape::List(item) => json!({"type": "array", "items": of(item)}),
        Shape::Either(forms) => json!({"anyOf": forms.iter().map(of).collect::<Vec<_>>()}),
        Shape::Section(keys) => section(keys),
    }
}

fn section(keys: &[Key]) -> Value {
    let properties: Map<_, _> = keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: Vec<_> = keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// A key that is there without a value counts as left out.
fn property(key: &Key) -> Value {
    let shape = of(&key.shape);
    let mut property = match key.required {
        true => shape,
        false => json!({"anyOf": [shape, {"type": "null"}]}),
    };
    if let Some(object) = property.as_object_mut() {
        object.insert("description".to_owned(), json!(key.meaning));
        if let Some(default) = &key.default {
            object.insert("default".to_owned(), default_value(default));
        }
    }
    property
}

/// A default as JSON has it: numbers and booleans are not texts.
fn default_value(written: &str) -> Value {
    serde_json::from_str(written).unwrap_or_else(|_| json!(written))
}

#[cfg(test)]
mod tests;
