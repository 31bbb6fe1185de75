//! Sets of regular expressions, each matched against a request's path and query in one pass.
//!
//! A set is a lazy DFA: what is compiled beforehand is a small automaton, and the table that makes it
//! fast grows while it is used. Those tables are kept apart from the sets and under one bound, so that
//! ten thousand sets cost only what those in use cost.

use std::collections::HashMap;

use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::pool::{Pool, PoolGuard};
use regex_automata::{Anchored, Input, MatchKind, PatternSet};
use regex_syntax::hir::Hir;

/// What one set's automaton may take, in bytes.
const SET_BYTES: usize = 4 << 20;
/// What the automata of all sets may take, in bytes.
const ALL_SETS_BYTES: usize = 256 << 20;
/// What the tables of all sets may take, in bytes. Beyond it they are thrown away and grow again.
const TABLES_BYTES: usize = 32 << 20;
/// What the table of one set may take, in bytes: more for a larger automaton, within these.
const TABLE_BYTES: std::ops::RangeInclusive<usize> = (256 << 10)..=(8 << 20);

#[derive(Debug)]
pub(super) struct RegexSets {
    sets: Box<[DFA]>,
    /// One thread looks up at a time, and for the first that does the pool is no more than a check
    /// of its own id; it only makes the lookup free of `&mut`.
    tables: Pool<Tables, fn() -> Tables>,
}

/// By number of the set.
#[derive(Debug, Default)]
struct Tables {
    of_set: Vec<Option<Box<Table>>>,
    bytes: usize,
}

#[derive(Debug)]
struct Table {
    cache: dfa::Cache,
    matched: PatternSet,
}

/// What a search found, until it is dropped.
pub(super) struct Matched<'a> {
    tables: PoolGuard<'a, Tables, fn() -> Tables>,
    set: u32,
}

#[derive(Debug, Default)]
pub(super) struct RegexSetsBuilder {
    numbers: HashMap<Box<[u32]>, u32>,
    sets: Vec<DFA>,
    bytes: usize,
}

/// Why a set does not compile.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InvalidSet {
    /// It, or all of them together.
    TooLarge {
        limit: usize,
    },
    Other(String),
}

impl RegexSets {
    /// Which of the set's expressions take the beginning of `text`.
    pub(super) fn search(&self, set: u32, text: &str) -> Matched<'_> {
        let mut tables = self.tables.get();
        if let Some(dfa) = self.sets.get(set as usize) {
            tables.search(set as usize, dfa, text);
        }
        Matched { tables, set }
    }
}

impl Matched<'_> {
    /// By its place in the set.
    pub(super) fn contains(&self, pattern: u32) -> bool {
        let table = self
            .tables
            .of_set
            .get(self.set as usize)
            .and_then(Option::as_ref);
        let pattern = regex_automata::PatternID::new(pattern as usize);
        table
            .zip(pattern.ok())
            .is_some_and(|(table, pattern)| table.matched.contains(pattern))
    }
}

impl Tables {
    fn search(&mut self, set: usize, dfa: &DFA, text: &str) {
        if self.bytes > TABLES_BYTES {
            *self = Self::default();
        }
        if self.of_set.len() <= set {
            self.of_set.resize_with(set + 1, || None);
        }
        let Some(slot) = self.of_set.get_mut(set) else {
            return;
        };
        let before = slot.as_ref().map_or(0, |table| table.cache.memory_usage());
        let table = slot.get_or_insert_with(|| Box::new(Table::new(dfa)));
        table.search(dfa, text);
        self.bytes = self.bytes + table.cache.memory_usage() - before;
    }
}

impl Table {
    fn new(dfa: &DFA) -> Self {
        Self {
            cache: dfa.create_cache(),
            matched: PatternSet::new(dfa.pattern_len()),
        }
    }

    fn search(&mut self, dfa: &DFA, text: &str) {
        self.matched.clear();
        let input = Input::new(text).anchored(Anchored::Yes);
        let found = dfa.try_which_overlapping_matches(&mut self.cache, &input, &mut self.matched);
        // A lazy DFA fails on bytes it was told to quit at and when it was told to give up; it was
        // told neither.
        debug_assert!(found.is_ok(), "{found:?}");
    }
}

impl RegexSetsBuilder {
    /// The number of the set of these expressions, which are numbered themselves; equal lists are
    /// one set.
    pub(super) fn set(&mut self, numbers: &[u32], expressions: &[&Hir]) -> Result<u32, InvalidSet> {
        if let Some(&set) = self.numbers.get(numbers) {
            return Ok(set);
        }
        let dfa = compile(expressions)?;
        self.bytes += dfa.get_nfa().memory_usage() + size_of::<DFA>();
        if self.bytes > ALL_SETS_BYTES {
            return Err(InvalidSet::TooLarge {
                limit: ALL_SETS_BYTES,
            });
        }
        let set = self.sets.len() as u32;
        self.sets.push(dfa);
        self.numbers.insert(numbers.into(), set);
        Ok(set)
    }

    pub(super) fn build(self) -> RegexSets {
        RegexSets {
            sets: self.sets.into(),
            tables: Pool::new(Tables::default),
        }
    }
}

/// Whether an expression alone would be too large for a set.
pub(super) fn check(expression: &Hir) -> Result<(), InvalidSet> {
    compile(&[expression]).map(|_| ())
}

fn compile(expressions: &[&Hir]) -> Result<DFA, InvalidSet> {
    let mut compiler = thompson::Compiler::new();
    compiler.configure(
        thompson::Config::new()
            .utf8(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(SET_BYTES)),
    );
    let nfa =
        compiler
            .build_many_from_hir(expressions)
            .map_err(|error| match error.size_limit() {
                Some(limit) => InvalidSet::TooLarge { limit },
                None => InvalidSet::Other(error.to_string()),
            })?;
    let table_bytes = (nfa.memory_usage() * 16).clamp(*TABLE_BYTES.start(), *TABLE_BYTES.end());
    dfa::Builder::new()
        .configure(
            dfa::Config::new()
                .match_kind(MatchKind::All)
                .cache_capacity(table_bytes)
                .skip_cache_capacity_check(true),
        )
        .build_from_nfa(nfa)
        .map_err(|error| InvalidSet::Other(error.to_string()))
}
