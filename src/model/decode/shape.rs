//! What may be written where, as data: for the JSON schema, for the reference page, and for help
//! with a key that is unknown or stands in the wrong place.

use super::nearest;

/// What a value may look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model) enum Shape {
    Text,
    Bool,
    Number { min: u64, max: u64 },
    Bytes { min: u64, max: u64 },
    Duration,
    Words(Vec<&'static str>),
    List(Box<Shape>),
    Either(Vec<Shape>),
    Section(Vec<Key>),
}

/// One key of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model) struct Key {
    pub(in crate::model) name: &'static str,
    pub(in crate::model) meaning: &'static str,
    pub(in crate::model) shape: Shape,
    pub(in crate::model) default: Option<String>,
    pub(in crate::model) required: bool,
}

impl Shape {
    /// Every key below, as `server.rules[].path`, with what it says.
    pub(in crate::model) fn walk<'s>(
        &'s self,
        under: &str,
        visit: &mut dyn FnMut(String, &'s Key),
    ) {
        match self {
            Self::Section(keys) => {
                for key in keys {
                    let dot = if under.is_empty() { "" } else { "." };
                    let path = format!("{under}{dot}{}", key.name);
                    visit(path.clone(), key);
                    key.shape.walk(&path, visit);
                }
            }
            Self::List(item) => item.walk(&format!("{under}[]"), visit),
            // A single item may stand for a list of them: the list is the form to name.
            Self::Either(forms) => match forms.iter().find(|form| matches!(form, Self::List(_))) {
                Some(list) => list.walk(under, visit),
                None => forms.iter().for_each(|form| form.walk(under, visit)),
            },
            _ => {}
        }
    }
}

/// What to write instead of a key that a section does not have.
pub(super) fn help_for_unknown(name: &str, known: &[&str], root: &Shape) -> String {
    if name == "<<" {
        return "YAML 1.2 has no merge keys: write the keys out, or use an alias for a whole value"
            .to_owned();
    }
    if let Some(known) = known.iter().find(|known| plain(known) == plain(name)) {
        return format!("write `{known}`");
    }
    match (nearest(name, known.iter().copied()), parents(name, root)) {
        (Some(near), Some(parents)) => {
            format!("did you mean `{near}`? `{name}` itself belongs {parents}")
        }
        (None, Some(parents)) => format!("`{name}` belongs {parents}"),
        (Some(near), None) => format!("did you mean `{near}`?"),
        (None, None) => format!("known here: {}", known.join(", ")),
    }
}

/// A key without the marks that other programs write words with: `path_type`, `Path-Type`.
fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// The sections that have such a key.
fn parents(name: &str, root: &Shape) -> Option<String> {
    let mut found = Vec::new();
    root.walk("", &mut |path, key| {
        if key.name == name {
            let parent = path
                .strip_suffix(name)
                .unwrap_or_default()
                .trim_end_matches('.');
            found.push(match parent {
                "" => "at the top level".to_owned(),
                parent => format!("under `{parent}`"),
            });
        }
    });
    (!found.is_empty()).then(|| found.join(" or "))
}
