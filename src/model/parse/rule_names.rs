//! The names of rules, by which metrics and logs know them: unique, and made where none was written.

use std::collections::HashMap;

use super::rule::Placed;
use crate::model::config::{HostPattern, PathPattern, Rule};
use crate::model::decode::{At, Reader, shortened};
use crate::model::raw::RawRule;

/// Names are unique: two alike that were written are an error, made ones get a number.
pub(super) fn check(written: &[At<RawRule<'_>>], placed: &mut [Placed], reader: &mut Reader<'_>) {
    let mut lines: HashMap<&str, u32> = HashMap::new();
    for name in written.iter().filter_map(|raw| raw.value.name) {
        let line = reader.tree.place(name.at).line;
        let Some(first) = lines.insert(name.value, line) else {
            continue;
        };
        let message = format!("two rules have the name `{}`", shortened(name.value));
        let help = format!("give one another name; the first is on line {first}");
        reader.error(name.at, message, help);
    }
    let mut taken = lines.keys().map(|name| ((*name).to_owned(), 1)).collect();
    for placed in placed
        .iter_mut()
        .filter(|placed| placed.rule.name.is_empty())
    {
        placed.rule.name = free_name(made_name(&placed.rule), &mut taken);
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

/// The name itself, or with the next number: `/cart`, `/cart #2`.
fn free_name(name: String, taken: &mut HashMap<String, u32>) -> String {
    // The number beside a name is the last that was given, so that many rules alike do not search
    // again and again from 1.
    let Some(mut number) = taken.get(&name).copied() else {
        taken.insert(name.clone(), 1);
        return name;
    };
    loop {
        number = number.saturating_add(1);
        let candidate = format!("{name} #{number}");
        if !taken.contains_key(&candidate) {
            taken.insert(candidate.clone(), 1);
            taken.insert(name, number);
            return candidate;
        }
    }
}
