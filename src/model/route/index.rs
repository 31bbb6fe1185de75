//! Which rules' paths take a request, without trying them one by one.
//!
//! Every path pattern is a literal beginning and what must hold behind it (`pattern`). The literals of
//! one table are sorted, each with a link to the longest other one that it begins with. Then all
//! literals that a request begins with are found from one: the greatest that is not greater than the
//! request. What begins both is found by following the links from there.
//!
//! Not here: hosts (`host`), and a rule's other conditions, which the caller brings.

use super::RouteQuery;
use super::pattern::Tail;
use super::regexes::{Matched, RegexSets};

pub(super) mod build;

/// In place of an index that is not there.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct PathIndex {
    /// By table: the nodes from one number up to the other.
    tables: Box<[(u32, u32)]>,
    nodes: Box<[Node]>,
    candidates: Box<[Candidate]>,
    /// The text of all nodes.
    text: Box<[u8]>,
    regexes: RegexSets,
}

/// A literal, with the rules whose path begins with it.
#[derive(Debug)]
struct Node {
    /// Where in the text it starts, and how long it is.
    start: u32,
    length: u32,
    /// The longest other literal that this one begins with.
    parent: u32,
    /// The rules from one number up to the other, ascending.
    candidates: (u32, u32),
    /// The regular expressions of those that have one.
    regexes: u32,
}

#[derive(Debug)]
struct Candidate {
    rule: u32,
    tail: Tail,
    /// Place in the node's set of regular expressions.
    regex: u32,
}

/// A search for the first rule, over several tables.
#[derive(Debug)]
pub(super) struct Search<'q> {
    query: &'q RouteQuery<'q>,
    /// Only rules before this one are still of interest.
    below: u32,
    /// How many rules were looked at: what the search has cost.
    visited: u32,
}

impl<'q> Search<'q> {
    pub(super) fn new(query: &'q RouteQuery<'q>) -> Self {
        Self {
            query,
            below: NONE,
            visited: 0,
        }
    }

    pub(super) fn found(&self) -> Option<u32> {
        (self.below != NONE).then_some(self.below)
    }

    #[cfg(test)]
    pub(super) fn visited(&self) -> u32 {
        self.visited
    }
}

impl PathIndex {
    /// Goes on with a search in one table. `takes` says whether a rule's other conditions hold.
    pub(super) fn search(
        &self,
        table: u32,
        search: &mut Search<'_>,
        mut takes: impl FnMut(u32) -> bool,
    ) {
        for node in self.beginnings(table, search.query.path_and_query.as_bytes()) {
            let mut matched = None;
            for candidate in self.candidates(node) {
                if candidate.rule >= search.below {
                    break;
                }
                search.visited += 1;
                if self.fits(node, candidate, search.query, &mut matched) && takes(candidate.rule) {
                    search.below = candidate.rule;
                    break;
                }
            }
        }
    }

    /// Every rule of the table whose path takes the request; some more than once.
    pub(super) fn all<'s>(
        &'s self,
        table: u32,
        query: &'s RouteQuery<'s>,
    ) -> impl Iterator<Item = u32> {
        self.beginnings(table, query.path_and_query.as_bytes())
            .flat_map(move |node| {
                let mut matched = None;
                let candidates = self.candidates(node).iter();
                candidates
                    .filter(move |candidate| self.fits(node, candidate, query, &mut matched))
                    .map(|candidate| candidate.rule)
            })
    }

    /// Every rule of the table; some more than once.
    pub(super) fn rules(&self, table: u32) -> impl Iterator<Item = u32> {
        let nodes = self.nodes(table).iter();
        nodes
            .flat_map(|node| self.candidates(node))
            .map(|candidate| candidate.rule)
    }

    /// The literals that the target begins with, longest first.
    fn beginnings(&self, table: u32, target: &[u8]) -> impl Iterator<Item = &Node> {
        let nodes = self.nodes(table);
        let behind = nodes.partition_point(|node| self.literal(node) <= target);
        let nearest = nodes.get(..behind).and_then(<[_]>::last);
        let common = nearest.map_or(0, |node| common_length(self.literal(node), target));
        std::iter::successors(nearest, |node| self.nodes.get(node.parent as usize))
            .filter(move |node| node.length as usize <= common)
    }

    fn fits<'s>(
        &'s self,
        node: &Node,
        candidate: &Candidate,
        query: &RouteQuery<'_>,
        matched: &mut Option<Matched<'s>>,
    ) -> bool {
        let length = node.length as usize;
        match candidate.tail {
            Tail::Any => true,
            Tail::End => length == query.path_and_query.len(),
            Tail::PathEnd => length == query.path.len(),
            Tail::Element => {
                let behind = query.path.as_bytes().get(length..);
                behind.is_some_and(|behind| behind.first().is_none_or(|byte| *byte == b'/'))
            }
            Tail::Regex => matched
                .get_or_insert_with(|| self.regexes.search(node.regexes, query.path_and_query))
                .contains(candidate.regex),
        }
    }

    fn nodes(&self, table: u32) -> &[Node] {
        let (from, to) = self.tables.get(table as usize).copied().unwrap_or_default();
        self.nodes
            .get(from as usize..to as usize)
            .unwrap_or_default()
    }

    fn candidates(&self, node: &Node) -> &[Candidate] {
        let (from, to) = node.candidates;
        self.candidates
            .get(from as usize..to as usize)
            .unwrap_or_default()
    }

    fn literal(&self, node: &Node) -> &[u8] {
        let start = node.start as usize;
        self.text
            .get(start..start + node.length as usize)
            .unwrap_or_default()
    }
}

fn common_length(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
