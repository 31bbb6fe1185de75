//! From the tree of a document to typed values, every mistake noted and none of them fatal: what
//! cannot be read is left out, so that the rest is still looked at.
//!
//! `section!` defines a mapping: its keys, their types, defaults and meanings, once. The reader, the
//! JSON schema and the test of the reference page all come from that. Not here: which sections there
//! are (`raw`), and whether their values fit together (`build`).

mod shape;
mod values;

use super::diagnostic::{Diagnostic, Severity};
use super::yaml::{NodeId, Tree, Value};
pub(super) use shape::{Key, Shape};
pub(super) use values::{Bytes, Delay, Number, Shown, Unlimited, decode_word, words};

/// More findings than this are counted, not listed.
const MAX_DIAGNOSTICS: usize = 1_000;

/// A type that can be read from a node.
pub(super) trait Decode<'t>: Sized {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self>;
    fn shape() -> Shape;
}

/// A section that may be written as one text.
pub(super) trait FromText<'t>: Decode<'t> {
    fn from_text(text: At<&'t str>) -> Self;
}

/// A value and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) at: NodeId,
    pub(super) value: T,
}

/// One of them, or a list.
#[derive(Debug, Clone)]
pub(super) struct OneOrMany<T>(pub(super) Vec<At<T>>);

/// A section, or the text that stands for it.
#[derive(Debug, Clone)]
pub(super) struct Short<S>(pub(super) S);

/// A section, or `true` for it with all defaults, or `false` for none.
#[derive(Debug, Clone)]
pub(super) struct Switch<S>(pub(super) Option<S>);

/// Reads one document and collects what is wrong with it.
pub(super) struct Reader<'t> {
    pub(super) tree: &'t Tree<'t>,
    /// The whole configuration's shape, for keys in the wrong place.
    root: fn() -> Shape,
    findings: Vec<Finding>,
}

struct Finding {
    at: NodeId,
    severity: Severity,
    message: String,
    help: String,
}

impl<'t> Reader<'t> {
    pub(super) fn new(tree: &'t Tree<'t>, root: fn() -> Shape) -> Self {
        Self {
            tree,
            root,
            findings: Vec::new(),
        }
    }

    pub(super) fn error(
        &mut self,
        at: NodeId,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.find(Severity::Error, at, message.into(), help.into());
    }

    pub(super) fn warn(&mut self, at: NodeId, message: impl Into<String>, help: impl Into<String>) {
        self.find(Severity::Warning, at, message.into(), help.into());
    }

    fn find(&mut self, severity: Severity, at: NodeId, message: String, help: String) {
        self.findings.push(Finding {
            at,
            severity,
            message,
            help,
        });
    }

    pub(super) fn has_errors(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    }

    /// Everything found, in the order of the text.
    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let Self {
            tree, mut findings, ..
        } = self;
        findings.sort_by_key(|finding| tree.place(finding.at));
        let total = findings.len();
        findings.truncate(MAX_DIAGNOSTICS);
        let mut diagnostics: Vec<_> = findings
            .into_iter()
            .map(|finding| finding.locate(tree))
            .collect();
        if let (true, Some(last)) = (total > MAX_DIAGNOSTICS, diagnostics.last_mut()) {
            let more = total - MAX_DIAGNOSTICS;
            last.help = format!("{}; {more} more findings are not listed", last.help);
        }
        diagnostics
    }

    pub(super) fn mapping(&mut self, at: NodeId) -> Option<&'t [(NodeId, NodeId)]> {
        match self.tree.value(at) {
            Value::Mapping(pairs) => Some(pairs),
            _ => self.expected(at, "keys with values", "write `key: value` lines below it"),
        }
    }

    fn scalar(&mut self, at: NodeId, wanted: &str, help: &str) -> Option<&'t str> {
        match self.tree.value(at) {
            Value::Plain(text) | Value::Quoted(text) => Some(text),
            _ => self.expected(at, wanted, help),
        }
    }

    pub(super) fn expected<T>(&mut self, at: NodeId, wanted: &str, help: &str) -> Option<T> {
        let found = match self.tree.value(at) {
            Value::Null => "nothing".to_owned(),
            Value::Plain(text) | Value::Quoted(text) => format!("`{}`", shortened(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Mapping(_) => "keys with values".to_owned(),
            Value::Alias(_) => "an alias".to_owned(),
        };
        self.error(at, format!("expected {wanted}, found {found}"), help);
        None
    }

    pub(super) fn is_null(&self, at: NodeId) -> bool {
        matches!(self.tree.value(at), Value::Null)
    }

    /// Whether a list has no items, be they valid or not.
    pub(super) fn is_empty_list(&self, at: NodeId) -> bool {
        matches!(self.tree.value(at), Value::List(items) if items.is_empty())
    }

    /// Whether a mapping has the key with a value, be it valid or not.
    pub(super) fn is_given(&self, at: NodeId, name: &str) -> bool {
        let Value::Mapping(pairs) = self.tree.value(at) else {
            return false;
        };
        pairs
            .iter()
            .any(|(key, value)| self.tree.text(*key) == Some(name) && !self.is_null(*value))
    }

    pub(super) fn require(&mut self, at: NodeId, name: &str) {
        if !self.is_given(at, name) {
            self.error(
                at,
                format!("`{name}` is missing"),
                format!("add `{name}: ...` here"),
            );
        }
    }

    pub(super) fn unknown_key(&mut self, key: NodeId, known: &[&str]) {
        let name = self.tree.text(key).unwrap_or_default();
        let help = shape::help_for_unknown(name, known, &(self.root)());
        self.error(key, format!("unknown key `{}`", shortened(name)), help);
    }
}

impl Finding {
    fn locate(self, tree: &Tree<'_>) -> Diagnostic {
        let place = tree.place(self.at);
        Diagnostic {
            severity: self.severity,
            path: tree.path(self.at),
            line: place.line,
            column: place.column,
            message: self.message,
            help: self.help,
        }
    }
}

/// Keeps a message on one readable line whatever the file says.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 80;
    let shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    let shown = shown
        .replace("\\\"", "\"")
        .replace("\\'", "'")
        .replace("\\\\", "\\");
    if text.chars().nth(LONGEST).is_some() {
        format!("{shown}...")
    } else {
        shown
    }
}

/// The known name that was probably meant.
pub(super) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Nobody mistypes so much, and the comparison is quadratic in the length.
    const LONGEST: usize = 128;
    if name.len() > LONGEST {
        return None;
    }
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    let near = |known: &'k str| {
        let distance = strsim::damerau_levenshtein(name, known);
        (distance <= allowed).then_some((distance, known))
    };
    known
        .into_iter()
        .filter_map(near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

impl<'t, T: Decode<'t>> At<T> {
    /// Reads a value that may be left out.
    pub(super) fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        if reader.is_null(at) {
            return None;
        }
        T::decode(at, reader).map(|value| Self { at, value })
    }
}

impl<'t, T: Decode<'t>> Decode<'t> for Vec<At<T>> {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        let Value::List(items) = reader.tree.value(at) else {
            return reader.expected(
                at,
                "a list",
                "write `- item` lines below it, or `[item, item]`",
            );
        };
        let read = |item: &NodeId| T::decode(*item, reader).map(|value| At { at: *item, value });
        // Almost always all of them can be read.
        let mut values = Vec::with_capacity(items.len());
        values.extend(items.iter().filter_map(read));
        Some(values)
    }

    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
}

impl<'t, T: Decode<'t>> Decode<'t> for OneOrMany<T> {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        match reader.tree.value(at) {
            Value::List(_) => Vec::decode(at, reader).map(Self),
            _ => T::decode(at, reader).map(|value| Self(vec![At { at, value }])),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![T::shape(), Shape::List(Box::new(T::shape()))])
    }
}

impl<'t, S: FromText<'t>> Decode<'t> for Short<S> {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        match reader.tree.value(at) {
            Value::Plain(text) | Value::Quoted(text) => Some(Self(S::from_text(At {
                at,
                value: text.as_ref(),
            }))),
            Value::Null => reader.expected(at, "a text", "write a value, or remove the item"),
            _ => S::decode(at, reader).map(Self),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![Shape::Text, S::shape()])
    }
}

impl<'t, S: Decode<'t> + Default> Decode<'t> for Switch<S> {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        match reader.tree.value(at) {
            Value::Mapping(_) => S::decode(at, reader).map(|section| Self(Some(section))),
            _ => bool::decode(at, reader).map(|on| Self(on.then(S::default))),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![Shape::Bool, S::shape()])
    }
}

/// Defines a section of the configuration as written: a struct whose fields are all optional and
/// know their place, its keys with their meanings, and how it is read.
macro_rules! section {
    ($(#[doc = $about:literal])* $name:ident {
        $($(#[doc = $meaning:literal])* $key:literal $field:ident: $type:ty
            $(= $default:expr)? $(; $required:ident)?,)*
    }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Default)]
        pub(in crate::model) struct $name<'t> {
            $($(#[doc = $meaning])* pub(in crate::model) $field: Option<$crate::model::decode::At<$type>>,)*
            _text: std::marker::PhantomData<&'t str>,
        }

        impl<'t> $name<'t> {
            const KEYS: &'static [&'static str] = &[$($key),*];
            $($(
                pub(in crate::model) fn $field(&self) -> $type {
                    self.$field.as_ref().map_or($default, |given| given.value)
                }
            )?)*
        }

        impl<'t> $crate::model::decode::Decode<'t> for $name<'t> {
            fn decode(
                at: $crate::model::yaml::NodeId,
                reader: &mut $crate::model::decode::Reader<'t>,
            ) -> Option<Self> {
                let pairs = reader.mapping(at)?;
                let mut section = Self::default();
                for (key, value) in pairs {
                    match reader.tree.text(*key).unwrap_or_default() {
                        $($key => if section.$field.is_none() {
                            section.$field = $crate::model::decode::At::decode(*value, reader);
                        },)*
                        _ => reader.unknown_key(*key, Self::KEYS),
                    }
                }
                $($(reader.$required(at, $key);)?)*
                Some(section)
            }

            fn shape() -> $crate::model::decode::Shape {
                $crate::model::decode::Shape::Section(vec![$({
                    let default = None::<String>$(.or_else(|| {
                        let value: $type = $default;
                        Some($crate::model::decode::Shown::shown(&value))
                    }))?;
                    let required: &[&str] = &[$(stringify!($required))?];
                    $crate::model::decode::Key {
                        name: $key,
                        meaning: concat!($($meaning),*).trim(),
                        shape: <$type as $crate::model::decode::Decode<'t>>::shape(),
                        default,
                        required: !required.is_empty(),
                    }
                }),*])
            }
        }
    };
}
pub(super) use section;
