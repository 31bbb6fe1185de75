//! Which rules have come, gone, moved and changed.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Change, differing};
use crate::model::config::traffic::TrafficChange;
use crate::model::config::{Config, Mirror, Rule};

pub(super) fn between(old: &Config, new: &Config) -> Vec<Change> {
    let (before, after) = middles(&old.rules, &new.rules);
    let (old_places, new_places) = (before.places(), after.places());
    let gone = before
        .rules
        .iter()
        .filter(|rule| !new_places.contains_key(rule.name.as_str()));
    let mut changes: Vec<Change> = gone
        .map(|rule| Change::RuleRemoved {
            name: rule.name.clone(),
        })
        .collect();
    let moved = moved(&old_places, after.rules);
    for (place, rule) in new.rules.iter().enumerate() {
        let from = match after.holds(place) {
            true => old_places.get(rule.name.as_str()).copied(),
            // From the end both count alike.
            false if place < after.first => Some(place),
            false => (place + old.rules.len()).checked_sub(new.rules.len()),
        };
        let Some(from) = from else {
            let name = rule.name.clone();
            changes.push(Change::RuleAdded { name, place });
            continue;
        };
        if moved.contains(rule.name.as_str()) {
            changes.push(Change::RuleMoved {
                name: rule.name.clone(),
                from,
                to: place,
            });
        }
        let before = old.rules.get(from);
        let parts = before.map_or_else(Vec::new, |before| rule_parts((old, before), (new, rule)));
        if !parts.is_empty() {
            let name = rule.name.clone();
            changes.push(Change::RuleChanged { name, parts });
        }
    }
    changes
}

/// Some of the rules, from a place on.
struct Middle<'c> {
    first: usize,
    rules: &'c [Rule],
}

impl<'c> Middle<'c> {
    fn places(&self) -> FxHashMap<&'c str, usize> {
        let rules = (self.first..).zip(self.rules);
        rules
            .map(|(place, rule)| (rule.name.as_str(), place))
            .collect()
    }

    fn holds(&self, place: usize) -> bool {
        (self.first..self.first + self.rules.len()).contains(&place)
    }
}

/// What is left of both without the rules at their beginnings and ends that have the same names in
/// the same order: after an ordinary edit not much.
fn middles<'c>(old: &'c [Rule], new: &'c [Rule]) -> (Middle<'c>, Middle<'c>) {
    let alike = |pair: &(&Rule, &Rule)| pair.0.name == pair.1.name;
    let first = old.iter().zip(new).take_while(alike).count();
    let (old, new) = (
        old.get(first..).unwrap_or_default(),
        new.get(first..).unwrap_or_default(),
    );
    let last = old.iter().rev().zip(new.iter().rev());
    let last = last.take_while(alike).count();
    let middle = |rules: &'c [Rule]| Middle {
        first,
        rules: rules.get(..rules.len() - last).unwrap_or_default(),
    };
    (middle(old), middle(new))
}

/// Those that are out of order against the longest run of rules that kept theirs: a rule that is
/// dragged to the top has moved, not all the others.
fn moved<'c>(old_places: &FxHashMap<&str, usize>, new: &'c [Rule]) -> FxHashSet<&'c str> {
    let common: Vec<(&str, usize)> = new
        .iter()
        .filter_map(|rule| Some((rule.name.as_str(), *old_places.get(rule.name.as_str())?)))
        .collect();
    let kept = longest_rising(&common.iter().map(|(_, place)| *place).collect::<Vec<_>>());
    let common = common.iter().enumerate();
    common
        .filter(|(index, _)| !kept.contains(index))
        .map(|(_, (name, _))| *name)
        .collect()
}

/// The indices of a longest rising subsequence, by patience sorting.
pub(super) fn longest_rising(values: &[usize]) -> FxHashSet<usize> {
    // For every length the index at which the lowest end of such a run stands.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let lower = |end: &usize| values.get(*end).is_some_and(|at| at < value);
        let length = ends.partition_point(lower);
        before.push(
            length
                .checked_sub(1)
                .and_then(|shorter| ends.get(shorter).copied()),
        );
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let last = ends.last().copied();
    std::iter::successors(last, |index| before.get(*index).copied().flatten()).collect()
}

fn rule_parts(old: (&Config, &Rule), new: (&Config, &Rule)) -> Vec<&'static str> {
    let ((old_config, old), (new_config, new)) = (old, new);
    let traffic = (old.traffic.as_deref(), new.traffic.as_deref());
    let compared = [
        ("host", old.host != new.host),
        ("path", old.path != new.path),
        ("methods", old.methods != new.methods),
        ("headers", old.headers != new.headers),
        ("query", old.query != new.query),
        ("grpcWeb", old.grpc_web != new.grpc_web),
        ("cookies", old.cookies != new.cookies),
        (
            "upstreams",
            !targets(old_config, old).eq(targets(new_config, new)),
        ),
        ("timeouts", differ(traffic, |change| &change.timeouts)),
        ("retry", differ(traffic, |change| &change.retry)),
        ("hedge", differ(traffic, |change| &change.hedge)),
        ("mirror", mirror(old_config, old) != mirror(new_config, new)),
    ];
    differing(compared)
}

type Changes<'c> = (Option<&'c TrafficChange>, Option<&'c TrafficChange>);

fn differ<T: Default + PartialEq>(changes: Changes, part: fn(&TrafficChange) -> &T) -> bool {
    let nothing = TrafficChange::default();
    part(changes.0.unwrap_or(&nothing)) != part(changes.1.unwrap_or(&nothing))
}

fn mirror<'c>(config: &'c Config, rule: &Rule) -> Option<(Option<&'c str>, Mirror)> {
    let mirror = rule.mirror?;
    let upstream = config.upstreams.get(mirror.upstream as usize);
    let id = upstream.map(|upstream| upstream.id.as_str());
    let settings = Mirror {
        upstream: 0,
        ..mirror
    };
    Some((id, settings))
}

/// By name: an index means something else in another configuration.
fn targets<'c>(config: &'c Config, rule: &'c Rule) -> impl Iterator<Item = (Option<&'c str>, u32)> {
    let id = |index: u32| {
        let upstream = config.upstreams.get(usize::try_from(index).ok()?)?;
        Some(upstream.id.as_str())
    };
    rule.upstreams
        .iter()
        .map(move |choice| (id(choice.upstream), choice.weight))
}
