//! Building the index of paths: patterns become keys, keys are sorted into nodes, nodes are linked.

use std::borrow::Cow;

use regex_syntax::hir::Hir;
use rustc_hash::FxHashMap;

use super::super::pattern::{self, Key, Simplified, Tail};
use super::super::regexes::{self, InvalidSet, RegexSetsBuilder};
use super::{Candidate, NONE, Node, PathIndex};
use crate::model::config::PathPattern;

/// Why the paths cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    #[error("regular expression {pattern:?}: {reason}")]
    Regex { pattern: String, reason: String },
    #[error("regular expression {pattern:?} needs more than {limit} bytes once compiled")]
    RegexTooLarge { pattern: String, limit: usize },
    #[error("the regular expressions need more than {limit} bytes once compiled")]
    RegexesTooLarge { limit: usize },
    #[error("the paths are more than {limit} bytes together")]
    TooLarge { limit: usize },
}

#[derive(Debug, Default)]
pub(in super::super) struct PathIndexBuilder<'c> {
    entries: Vec<Entry<'c>>,
    /// Patterns that need more than a look, by their text.
    known: FxHashMap<&'c str, u32>,
    regexes: Vec<Regex<'c>>,
}

#[derive(Debug)]
struct Regex<'c> {
    pattern: &'c str,
    simplified: Simplified,
}

#[derive(Debug)]
struct Entry<'c> {
    table: u32,
    literal: Cow<'c, [u8]>,
    rule: u32,
    tail: Tail,
    /// Index into the builder's regexes, if the tail asks for it.
    regex: u32,
}

impl<'c> PathIndexBuilder<'c> {
    pub(in super::super) fn add(
        &mut self,
        table: u32,
        rule: u32,
        path: &'c PathPattern,
    ) -> Result<(), PathError> {
        let key = match path {
            PathPattern::Exact(path) => pattern::exact(path),
            PathPattern::Prefix(path) => pattern::prefix(path),
            PathPattern::Regex(text) => match pattern::plain(text) {
                Some(key) => Some(key),
                None => return self.add_regex(table, rule, text),
            },
        };
        let entry = |Key { literal, tail }| Entry {
            table,
            literal,
            rule,
            tail,
            regex: NONE,
        };
        self.entries.extend(key.map(entry));
        Ok(())
    }

    fn add_regex(&mut self, table: u32, rule: u32, text: &'c str) -> Result<(), PathError> {
        let number = self.simplified(text)?;
        let Some(Regex { simplified, .. }) = self.regexes.get(number as usize) else {
            return Ok(());
        };
        let entries = simplified.keys.iter().map(|key| Entry {
            table,
            literal: key.literal.clone(),
            rule,
            tail: key.tail,
            regex: if key.tail == Tail::Regex {
                number
            } else {
                NONE
            },
        });
        self.entries.extend(entries);
        Ok(())
    }

    fn simplified(&mut self, pattern: &'c str) -> Result<u32, PathError> {
        if let Some(&number) = self.known.get(pattern) {
            return Ok(number);
        }
        let hir = regex_syntax::parse(pattern).map_err(|error| PathError::Regex {
            pattern: pattern.to_owned(),
            reason: error.to_string(),
        })?;
        let number = self.regexes.len() as u32;
        self.regexes.push(Regex {
            pattern,
            simplified: pattern::simplify(hir),
        });
        self.known.insert(pattern, number);
        Ok(number)
    }

    pub(in super::super) fn build(mut self, tables: u32) -> Result<PathIndex, PathError> {
        let bytes: usize = self.entries.iter().map(|entry| entry.literal.len()).sum();
        let limit = NONE as usize - 1;
        if bytes.max(self.entries.len()) > limit {
            return Err(PathError::TooLarge { limit });
        }
        self.entries
            .sort_unstable_by(|a, b| a.order().cmp(&b.order()));
        let mut layout = Layout::new(self.entries.len(), bytes, tables);
        for node in self.entries.chunk_by(|a, b| a.node() == b.node()) {
            layout.push(node, &self.regexes)?;
        }
        Ok(layout.finish())
    }
}

impl Entry<'_> {
    fn order(&self) -> (u32, &[u8], u32, Tail) {
        (self.table, &self.literal, self.rule, self.tail)
    }

    fn node(&self) -> (u32, &[u8]) {
        (self.table, &self.literal)
    }
}

/// The index while it is written, node after node in order.
struct Layout {
    tables: Vec<(u32, u32)>,
    nodes: Vec<Node>,
    candidates: Vec<Candidate>,
    text: Vec<u8>,
    sets: RegexSetsBuilder,
    /// The last node and all it begins with, the shortest first.
    path: Vec<u32>,
}

impl Layout {
    fn new(entries: usize, bytes: usize, tables: u32) -> Self {
        Self {
            tables: vec![(0, 0); tables as usize],
            nodes: Vec::with_capacity(entries),
            candidates: Vec::with_capacity(entries),
            text: Vec::with_capacity(bytes),
            sets: RegexSetsBuilder::default(),
            path: Vec::new(),
        }
    }

    /// Entries of one table with one literal, in the order of the rules.
    fn push(&mut self, entries: &[Entry<'_>], regexes: &[Regex<'_>]) -> Result<(), PathError> {
        let Some(Entry { table, literal, .. }) = entries.first() else {
            return Ok(());
        };
        let number = self.nodes.len() as u32;
        if let Some(nodes) = self.tables.get_mut(*table as usize) {
            if nodes.1 == 0 {
                *nodes = (number, number);
                self.path.clear();
            }
            nodes.1 = number + 1;
        }
        let (start, first) = (self.text.len() as u32, self.candidates.len() as u32);
        let parent = self.parent(literal);
        let regexes = self.push_candidates(entries, regexes)?;
        self.text.extend_from_slice(literal);
        self.path.push(number);
        self.nodes.push(Node {
            start,
            length: literal.len() as u32,
            parent,
            candidates: (first, self.candidates.len() as u32),
            regexes,
        });
        Ok(())
    }

    fn parent(&mut self, literal: &[u8]) -> u32 {
        while let Some(&last) = self.path.last() {
            let begins = self.nodes.get(last as usize).is_some_and(|node| {
                let start = node.start as usize;
                let text = self.text.get(start..start + node.length as usize);
                text.is_some_and(|text| literal.starts_with(text))
            });
            if begins {
                return last;
            }
            self.path.pop();
        }
        NONE
    }

    /// The number of the node's set of regular expressions, if it has one.
    fn push_candidates(
        &mut self,
        entries: &[Entry<'_>],
        regexes: &[Regex<'_>],
    ) -> Result<u32, PathError> {
        let mut numbers: Vec<u32> = Vec::new();
        let mut places: FxHashMap<u32, u32> = FxHashMap::default();
        for entry in entries {
            let mut regex = NONE;
            if entry.tail == Tail::Regex {
                regex = *places.entry(entry.regex).or_insert_with(|| {
                    numbers.push(entry.regex);
                    numbers.len() as u32 - 1
                });
            }
            self.candidates.push(Candidate {
                rule: entry.rule,
                tail: entry.tail,
                regex,
            });
        }
        if numbers.is_empty() {
            return Ok(NONE);
        }
        let of_set = || {
            numbers
                .iter()
                .filter_map(|&number| regexes.get(number as usize))
        };
        let expressions: Vec<&Hir> = of_set()
            .filter_map(|regex| regex.simplified.regex.as_ref())
            .collect();
        self.sets
            .set(&numbers, &expressions)
            .map_err(|invalid| whose_fault(invalid, of_set()))
    }

    fn finish(self) -> PathIndex {
        let Self {
            tables,
            nodes,
            candidates,
            text,
            sets,
            path: _,
        } = self;
        PathIndex {
            tables: tables.into(),
            nodes: nodes.into(),
            candidates: candidates.into(),
            text: text.into(),
            regexes: sets.build(),
        }
    }
}

/// The one expression that does not compile even alone, or all of them.
fn whose_fault<'r>(invalid: InvalidSet, regexes: impl Iterator<Item = &'r Regex<'r>>) -> PathError {
    for Regex {
        pattern,
        simplified,
    } in regexes
    {
        let pattern = (*pattern).to_owned();
        match simplified.regex.as_ref().map_or(Ok(()), regexes::check) {
            Ok(()) => {}
            Err(InvalidSet::TooLarge { limit }) => {
                return PathError::RegexTooLarge { pattern, limit };
            }
            Err(InvalidSet::Other(reason)) => return PathError::Regex { pattern, reason },
        }
    }
    match invalid {
        InvalidSet::TooLarge { limit } => PathError::RegexesTooLarge { limit },
        InvalidSet::Other(reason) => PathError::Regex {
            pattern: String::new(),
            reason,
        },
    }
}
