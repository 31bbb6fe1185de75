//! The one way from a text to a `Config`: YAML, keys and types, then what ties them together.

use super::config::Config;
use super::decode::{Decode, Reader};
use super::diagnostic::{Diagnostic, Severity};
use super::parse::{self, Parsed};
use super::raw::RawConfig;
use super::route::{RouteError, RouteTable};
use super::secret::{ReadFile, Resolve, SecretRef};
use super::snapshot::{Snapshot, SnapshotError};
use super::yaml::{self, NodeId, Place, SyntaxError, Tree, Value};

mod dates;
mod located;
#[cfg(test)]
mod tests;

use dates::Dated;
pub use dates::Today;
pub use located::Address;
use located::Located;

/// What became of a text. A configuration is there if and only if no diagnostic is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub config: Option<Config>,
    /// In the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// Certificates and stapled responses, for whoever has a clock (`dated`).
    pub(super) certificates: Vec<Dated>,
    /// Those to listen on, for whoever does.
    pub addresses: Vec<Address>,
}

impl Loaded {
    /// What could not be read at all.
    pub fn refused(diagnostics: Vec<Diagnostic>) -> Loaded {
        Loaded {
            config: None,
            diagnostics,
            certificates: Vec::new(),
            addresses: Vec::new(),
        }
    }

    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics
            .iter()
            .filter(|found| found.severity == Severity::Error)
    }

    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics
            .iter()
            .filter(|found| found.severity == Severity::Warning)
    }
}

/// Reads a configuration that names no certificates; `secrets` says what an `env:` or `file:`
/// reference stands for.
pub fn load(text: &str, secrets: &mut dyn FnMut(&SecretRef) -> Result<String, String>) -> Loaded {
    load_with(text, secrets, &mut |_| {
        Err("no file is read here".to_owned())
    })
}

/// Reads a configuration; `files` gives the contents of the files that it names.
pub fn load_with(text: &str, secrets: &mut Resolve<'_>, files: &mut ReadFile<'_>) -> Loaded {
    let parsed = yaml::parse(text);
    let mut diagnostics: Vec<_> = parsed.errors.into_iter().map(diagnostic).collect();
    let Some(tree) = parsed.tree.filter(|tree| !is_empty(tree)) else {
        if diagnostics.is_empty() {
            diagnostics.push(diagnostic(empty()));
        }
        return Loaded::refused(diagnostics);
    };
    let mut loaded = read(&tree, secrets, files);
    loaded.config = loaded.config.filter(|_| diagnostics.is_empty());
    loaded.diagnostics.extend(diagnostics);
    loaded
        .diagnostics
        .sort_by_key(|found| (found.line, found.column));
    loaded
}

fn read(tree: &Tree<'_>, secrets: &mut Resolve<'_>, files: &mut ReadFile<'_>) -> Loaded {
    let mut reader = Reader::new(tree, RawConfig::shape);
    let mut loaded = Loaded::refused(Vec::new());
    if let Some(mut parsed) = parse::config(&mut reader, secrets, files) {
        loaded.certificates = located(tree, std::mem::take(&mut parsed.timed));
        loaded.addresses = located(tree, std::mem::take(&mut parsed.addresses));
        loaded.config = compile(parsed, &mut reader);
    }
    loaded.diagnostics = reader.into_diagnostics();
    loaded
}

fn located<T>(tree: &Tree<'_>, found: Vec<(NodeId, T)>) -> Vec<Located<T>> {
    let at = |(at, value)| Located::at(tree, at, value);
    found.into_iter().map(at).collect()
}

/// Compiles once, as every worker will, so that what is loaded can be served.
fn compile(parsed: Parsed, reader: &mut Reader<'_>) -> Option<Config> {
    let Parsed { config, rules, .. } = parsed;
    let Err(error) = Snapshot::build(&config, 0) else {
        return Some(config);
    };
    let rule = rule_at_fault(&config, &error).and_then(|index| rules.get(index));
    let at = rule.copied().unwrap_or(Tree::ROOT);
    let help =
        "make its regular expressions smaller: `pathType: prefix`, or fewer counted repetitions";
    reader.error(at, error.to_string(), help);
    None
}

/// The rule that does not compile even alone, if it is not all of them together that do not.
fn rule_at_fault(config: &Config, error: &SnapshotError) -> Option<usize> {
    match error {
        SnapshotError::Route(
            RouteError::Condition { rule, .. } | RouteError::Path { rule, .. },
        ) => config.rules.iter().position(|other| other.name == *rule),
        SnapshotError::Route(RouteError::Paths(_)) => config
            .rules
            .iter()
            .position(|rule| RouteTable::build(std::slice::from_ref(rule)).is_err()),
        _ => None,
    }
}

fn is_empty(tree: &Tree<'_>) -> bool {
    matches!(tree.value(Tree::ROOT), Value::Null)
}

fn empty() -> SyntaxError {
    SyntaxError {
        place: Place::START,
        path: String::new(),
        message: "the configuration is empty".to_owned(),
        help: "begin with `server:`, and under it `upstreams` and `rules`".to_owned(),
    }
}

fn diagnostic(error: SyntaxError) -> Diagnostic {
    let SyntaxError {
        place,
        path,
        message,
        help,
    } = error;
    let severity = Severity::Error;
    Diagnostic {
        severity,
        path,
        line: place.line,
        column: place.column,
        message,
        help,
    }
}
