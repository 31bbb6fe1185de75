//! Regular expressions: whether they compile, and what can be said about them without running them.
//!
//! Not here: the programs that match them (`matcher`).

use rustc_hash::FxHashMap;
use std::rc::Rc;

use regex_syntax::hir::{Hir, HirKind, Look};

use super::Fault;

/// Longer ones are programs, not patterns.
const LONGEST: usize = 8 * 1024;

/// What a pattern, anchored at the start, takes: everything with the prefix (`whole`), or some of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reach {
    /// Every match begins with it.
    pub(super) prefix: String,
    pub(super) whole: bool,
}

/// Patterns that were looked at already: many rules repeat one.
#[derive(Default)]
pub(super) struct Patterns<'t> {
    known: FxHashMap<&'t str, Result<Rc<Reach>, Fault>>,
}

impl<'t> Patterns<'t> {
    /// `None` is a pattern in which every character stands for itself: it takes whatever begins so.
    pub(super) fn reach(&mut self, pattern: &'t str) -> Result<Option<Rc<Reach>>, Fault> {
        if is_literal(pattern) {
            return Ok(None);
        }
        let known = self
            .known
            .entry(pattern)
            .or_insert_with(|| analyse(pattern).map(Rc::new));
        known.clone().map(Some)
    }
}

fn is_literal(pattern: &str) -> bool {
    !pattern.contains([
        '\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$',
    ]) && pattern.len() <= LONGEST
}

fn analyse(pattern: &str) -> Result<Reach, Fault> {
    if pattern.len() > LONGEST {
        let message = format!("the regular expression is longer than {LONGEST} bytes");
        return Err(Fault::new(message, "split it over several rules"));
    }
    let hir = regex_syntax::parse(pattern).map_err(|error| refuse(pattern, &error))?;
    Ok(reach(&hir))
}

/// Walks from the start over what is fixed.
fn reach(hir: &Hir) -> Reach {
    let parts = match hir.kind() {
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    let mut prefix = Vec::new();
    let mut rest = parts.iter().peekable();
    while rest
        .next_if(|part| matches!(part.kind(), HirKind::Look(Look::Start)))
        .is_some()
    {}
    while let Some(part) = rest.peek() {
        let HirKind::Literal(literal) = part.kind() else {
            break;
        };
        prefix.extend_from_slice(&literal.0);
        rest.next();
    }
    // Nothing is anchored at the end, so what may be empty there changes nothing.
    let whole = rest.all(may_be_left_out);
    match String::from_utf8(prefix) {
        Ok(prefix) => Reach { prefix, whole },
        Err(_) => Reach {
            prefix: String::new(),
            whole: false,
        },
    }
}

fn may_be_left_out(part: &Hir) -> bool {
    match part.kind() {
        HirKind::Empty => true,
        HirKind::Repetition(repetition) => repetition.min == 0,
        HirKind::Capture(capture) => may_be_left_out(&capture.sub),
        _ => false,
    }
}

fn refuse(pattern: &str, error: &regex_syntax::Error) -> Fault {
    let (what, offset) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.offset),
        regex_syntax::Error::Translate(error) => {
            (error.kind().to_string(), error.span().start.offset)
        }
        other => (other.to_string(), 0),
    };
    let before = pattern
        .get(..offset)
        .map_or(0, |before| before.chars().count());
    let message = format!(
        "the regular expression does not compile: {what}, at its character {}",
        before + 1
    );
    Fault::new(message, help_for(&what))
}

fn help_for(what: &str) -> &'static str {
    if what.contains("look-around") || what.contains("backreference") {
        return "these take unbounded time and are not supported; use several rules in order";
    }
    "put a `\\` before a character that stands for itself, or say `pathType: prefix` or `exact`"
}
