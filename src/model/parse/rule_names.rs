//! The names of rules, by which metrics and logs know them: unique, and made where none was written.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::model::config::{HostPattern, PathPattern, Rule};
use crate::model::decode::{At, Reader, shortened};
use crate::model::raw::RawRule;

/// Names are unique: two alike that were written are an error, made ones get a number.
pub(super) fn check(written: &[At<RawRule<'_>>], rules: &mut [Rule], reader: &mut Reader<'_>) {
    refuse_repeated(written, reader);
    let unnamed = rules
        .iter()
        .map(|rule| rule.name.is_empty())
        .collect::<Vec<_>>();
    for rule in rules.iter_mut().filter(|rule| rule.name.is_empty()) {
        rule.name = made_name(rule);
    }
    let repeated = repeated(rules, &unnamed);
    if repeated.is_empty() {
        return;
    }
    let mut taken = rules.iter().map(|rule| (rule.name.clone(), 1)).collect();
    for index in repeated {
        if let Some(rule) = rules.get_mut(index) {
            rule.name = numbered(&rule.name, &mut taken);
        }
    }
}

/// The made names that a written or an earlier made one has already.
fn repeated(rules: &[Rule], made: &[bool]) -> Vec<usize> {
    let each = || rules.iter().zip(made).enumerate();
    let written = each()
        .filter(|(_, (_, made))| !**made)
        .map(|(_, (rule, _))| rule.name.as_str());
    let mut seen: FxHashSet<&str> = written.collect();
    let made = each().filter(|(_, (_, made))| **made);
    made.filter(|(_, (rule, _))| !seen.insert(&rule.name))
        .map(|(index, _)| index)
        .collect()
}

fn refuse_repeated(written: &[At<RawRule<'_>>], reader: &mut Reader<'_>) {
    let mut lines: FxHashMap<&str, u32> = FxHashMap::default();
    for name in written.iter().filter_map(|raw| raw.value.name) {
        let line = reader.tree.place(name.at).line;
        let Some(first) = lines.insert(name.value, line) else {
            continue;
        };
        let message = format!("two rules have the name `{}`", shortened(name.value));
        let help = format!("give one another name; the first is on line {first}");
        reader.error(name.at, message, help);
    }
}

/// `shop.example.com/cart`: what tells a person which rule it is.
fn made_name(rule: &Rule) -> String {
    let path = match &rule.path {
        PathPattern::Exact(path) | PathPattern::Prefix(path) | PathPattern::Regex(path) => path,
    };
    match &rule.host {
        HostPattern::Any => path.clone(),
        HostPattern::Exact(host) => format!("{host}{path}"),
        HostPattern::Wildcard(parent) => format!("*.{parent}{path}"),
    }
}

/// The name with the next free number: `/cart #2`.
fn numbered(name: &str, taken: &mut FxHashMap<String, u32>) -> String {
    // The number beside a name is the last that was given, so that many rules alike do not search
    // again and again from 1.
    let mut number = taken.get(name).copied().unwrap_or(1);
    loop {
        number = number.saturating_add(1);
        let candidate = format!("{name} #{number}");
        if !taken.contains_key(&candidate) {
            taken.insert(candidate.clone(), 1);
            taken.insert(name.to_owned(), number);
            return candidate;
        }
    }
}
