//! Rules that can never match, because a single earlier rule takes everything they would take.
//!
//! It never warns without reason; what several earlier rules take together, or what only the
//! comparison of two regular expressions could show, it does not see. One pass: each rule asks one
//! table for the few earlier rules whose host and path could take all of its own.

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::pattern::Reach;
use super::rule::Mark;
use crate::model::config::{HostPattern, PathPattern, Rule, ValueMatch, ValuePattern};
use crate::model::decode::{Reader, shortened};
use crate::model::yaml::NodeId;

/// Earlier rules of one host and path whose conditions are compared.
const MOST_COMPARED: usize = 32;
/// Pairs of conditions that are compared for two rules.
const MOST_PAIRS: usize = 4_096;

/// A rule, where it stands, and what its regular expression takes.
#[derive(Clone, Copy)]
struct Placed<'r> {
    at: NodeId,
    rule: &'r Rule,
    reach: Option<&'r Reach>,
}

pub(super) fn warn(rules: &[Rule], marks: &[Mark], reader: &mut Reader<'_>) {
    let mut earlier = Earlier::new(rules, marks);
    for index in 0..u32::try_from(rules.len()).unwrap_or(u32::MAX) {
        let Some(placed) = earlier.rule(index) else {
            continue;
        };
        let extent = Extent::of(placed);
        match earlier.covering(placed, &extent) {
            Some(first) => warn_covered(placed, first, reader),
            None => earlier.add(index, placed, &extent),
        }
    }
}

fn warn_covered(placed: Placed<'_>, first: Placed<'_>, reader: &mut Reader<'_>) {
    let (path, line) = (reader.tree.path(first.at), reader.tree.place(first.at).line);
    let name = shortened(&first.rule.name);
    let message = format!("this rule can never match: `{name}` takes all of it first");
    reader.warn(
        placed.at,
        message,
        format!("remove it, or move it above {path} on line {line}"),
    );
}

/// The paths of a rule: a kind and its text.
struct Extent<'r> {
    kind: Kind,
    text: &'r str,
    /// Every path and query it takes begins so.
    prefix: &'r str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// Everything that begins with the text.
    Start,
    /// Everything that begins with the path elements of the text.
    Elements,
    /// The text alone.
    Exact,
    /// What the regular expression takes.
    Regex,
}

impl<'r> Extent<'r> {
    fn of(placed: Placed<'r>) -> Self {
        let (kind, text, prefix) = match (&placed.rule.path, placed.reach) {
            (PathPattern::Exact(path), _) => (Kind::Exact, path, path),
            (PathPattern::Prefix(path), _) if path == "/" => (Kind::Start, path, path),
            (PathPattern::Prefix(path), _) => (Kind::Elements, path, path),
            (PathPattern::Regex(_), Some(reach)) if reach.whole => {
                (Kind::Start, &reach.prefix, &reach.prefix)
            }
            (PathPattern::Regex(pattern), Some(reach)) => (Kind::Regex, pattern, &reach.prefix),
            (PathPattern::Regex(literal), None) => (Kind::Start, literal, literal),
        };
        Self { kind, text, prefix }
    }
}

/// Where an earlier rule is looked for: its host, and the kind and hash of its path.
type Address = (Group, Kind, u64);

/// A host pattern, by number; 0 is any host.
type Group = u32;

const ANY_HOST: Group = 0;

/// The rules so far that nothing before them covers.
struct Earlier<'r> {
    rules: &'r [Rule],
    marks: &'r [Mark],
    exact: FxHashMap<&'r str, Group>,
    /// By what stands behind the `*.`.
    wildcards: FxHashMap<&'r str, Group>,
    table: FxHashMap<Address, Bucket>,
    /// Which lengths the texts of `Kind::Start` have, so that others are not looked up.
    start_lengths: Vec<bool>,
}

#[derive(Default)]
struct Bucket {
    /// Without conditions beyond host and path: it covers whatever asks.
    free: Option<u32>,
    conditional: Vec<u32>,
}

impl<'r> Earlier<'r> {
    fn new(rules: &'r [Rule], marks: &'r [Mark]) -> Self {
        Self {
            rules,
            marks,
            exact: FxHashMap::with_capacity_and_hasher(rules.len(), FxBuildHasher),
            wildcards: FxHashMap::default(),
            table: FxHashMap::with_capacity_and_hasher(rules.len(), FxBuildHasher),
            start_lengths: Vec::new(),
        }
    }

    fn rule(&self, index: u32) -> Option<Placed<'r>> {
        let (rule, mark) = (
            self.rules.get(index as usize)?,
            self.marks.get(index as usize)?,
        );
        Some(Placed {
            at: mark.at,
            rule,
            reach: mark.reach.as_deref(),
        })
    }

    fn add(&mut self, index: u32, placed: Placed<'r>, extent: &Extent<'r>) {
        let group = self.group(&placed.rule.host);
        if extent.kind == Kind::Start {
            let length = extent.text.len();
            self.start_lengths
                .resize(self.start_lengths.len().max(length + 1), false);
            if let Some(present) = self.start_lengths.get_mut(length) {
                *present = true;
            }
        }
        let address = (group, extent.kind, Hash::of(extent.text).0);
        let bucket = self.table.entry(address).or_default();
        if is_free(placed.rule) {
            bucket.free.get_or_insert(index);
        } else if bucket.conditional.len() < MOST_COMPARED {
            bucket.conditional.push(index);
        }
    }

    fn group(&mut self, host: &'r HostPattern) -> Group {
        let next = u32::try_from(self.exact.len() + self.wildcards.len() + 1).unwrap_or(u32::MAX);
        match host {
            HostPattern::Any => ANY_HOST,
            HostPattern::Exact(name) => *self.exact.entry(name).or_insert(next),
            HostPattern::Wildcard(parent) => *self.wildcards.entry(parent).or_insert(next),
        }
    }

    /// An earlier rule that takes all that this one would take.
    fn covering(&self, placed: Placed<'_>, extent: &Extent<'_>) -> Option<Placed<'r>> {
        let host = match &placed.rule.host {
            HostPattern::Any => return self.in_group(ANY_HOST, placed, extent),
            HostPattern::Exact(name) => {
                let group = self.exact.get(name.as_str());
                if let Some(found) = group.and_then(|group| self.in_group(*group, placed, extent)) {
                    return Some(found);
                }
                name
            }
            HostPattern::Wildcard(parent) => {
                let group = self.wildcards.get(parent.as_str());
                if let Some(found) = group.and_then(|group| self.in_group(*group, placed, extent)) {
                    return Some(found);
                }
                parent
            }
        };
        self.in_group(ANY_HOST, placed, extent)
            .or_else(|| self.in_wildcards(host, placed, extent))
    }

    /// Among the wildcards above a name.
    fn in_wildcards(
        &self,
        name: &str,
        placed: Placed<'_>,
        extent: &Extent<'_>,
    ) -> Option<Placed<'r>> {
        if self.wildcards.is_empty() {
            return None;
        }
        let above = name
            .match_indices('.')
            .filter_map(|(dot, _)| name.get(dot + 1..));
        above
            .filter_map(|parent| self.wildcards.get(parent))
            .find_map(|group| self.in_group(*group, placed, extent))
    }

    fn in_group(
        &self,
        group: Group,
        placed: Placed<'_>,
        extent: &Extent<'_>,
    ) -> Option<Placed<'r>> {
        let at = |kind, hash: Hash, text: &str| self.at((group, kind, hash.0), text, placed);
        let mut hash = Hash::START;
        for (length, byte) in extent.prefix.bytes().enumerate() {
            let so_far = extent.prefix.get(..length).unwrap_or_default();
            let found = self.start_of(group, hash, so_far, placed).or_else(|| {
                (byte == b'/')
                    .then(|| at(Kind::Elements, hash, so_far))
                    .flatten()
            });
            if found.is_some() {
                return found;
            }
            hash = hash.then(byte);
        }
        self.start_of(group, hash, extent.prefix, placed)
            .or_else(|| match extent.kind {
                Kind::Start => None,
                Kind::Elements => at(Kind::Elements, hash, extent.text),
                Kind::Exact => at(Kind::Elements, hash, extent.text)
                    .or_else(|| at(Kind::Exact, hash, extent.text)),
                Kind::Regex => at(Kind::Regex, Hash::of(extent.text), extent.text),
            })
    }

    fn start_of(
        &self,
        group: Group,
        hash: Hash,
        text: &str,
        placed: Placed<'_>,
    ) -> Option<Placed<'r>> {
        let present = self.start_lengths.get(text.len()).copied().unwrap_or(false);
        present
            .then(|| self.at((group, Kind::Start, hash.0), text, placed))
            .flatten()
    }

    fn at(&self, address: Address, text: &str, placed: Placed<'_>) -> Option<Placed<'r>> {
        let bucket = self.table.get(&address)?;
        let all = bucket.free.iter().chain(&bucket.conditional);
        all.filter_map(|index| self.rule(*index)).find(|earlier| {
            // Two texts may have one hash.
            Extent::of(*earlier).text == text && conditions_cover(earlier.rule, placed.rule)
        })
    }
}

fn is_free(rule: &Rule) -> bool {
    rule.has_no_conditions()
}

/// Whether every request that meets the later rule's conditions meets the earlier one's.
fn conditions_cover(earlier: &Rule, later: &Rule) -> bool {
    let methods = earlier.methods.is_empty()
        || (!later.methods.is_empty()
            && few(&earlier.methods, &later.methods)
            && later
                .methods
                .iter()
                .all(|method| earlier.methods.contains(method)));
    methods
        && implied(&earlier.headers, &later.headers)
        && implied(&earlier.query, &later.query)
        && implied(&earlier.cookies, &later.cookies)
}

/// Whether each of the wanted conditions follows from one of the given.
fn implied(wanted: &[ValueMatch], given: &[ValueMatch]) -> bool {
    let follows = |wanted: &ValueMatch| {
        given.iter().any(|given| {
            given.name == wanted.name
                && (wanted.value == ValuePattern::Present || given.value == wanted.value)
        })
    };
    few(wanted, given) && wanted.iter().all(follows)
}

fn few<A, B>(some: &[A], others: &[B]) -> bool {
    some.len().saturating_mul(others.len()) <= MOST_PAIRS
}

/// FNV-1a: grows with the text, so that all prefixes of a path are hashed in one pass over it.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const START: Self = Self(0xcbf2_9ce4_8422_2325);

    fn of(text: &str) -> Self {
        text.bytes().fold(Self::START, Self::then)
    }

    fn then(self, byte: u8) -> Self {
        Self((self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}
