//! `rules`: which request goes where.

use std::rc::Rc;

use rustc_hash::FxHashSet;

use super::pattern::{Patterns, Reach};
use super::upstream::Upstreams;
use super::{Fault, cookie, header, host, name, path, rule_names, shadow, tcp, traffic};
use crate::model::config::{
    HostPattern, Listener, Mirror, PathPattern, Protocol, Rule, ValueMatch, ValuePattern,
    WeightedUpstream,
};
use crate::model::decode::{At, Reader, shortened};
use crate::model::raw::{PathType, RawMatch, RawMirror, RawRule, RawServer};
use crate::model::yaml::NodeId;

/// Where a rule stands, and what its regular expression takes if it has a real one.
pub(super) struct Mark {
    pub(super) at: NodeId,
    pub(super) reach: Option<Rc<Reach>>,
}

pub(super) fn rules<'t>(
    server: &At<RawServer<'t>>,
    upstreams: &Upstreams<'t>,
    listeners: &[Listener],
    reader: &mut Reader<'t>,
) -> (Vec<NodeId>, Vec<Rule>) {
    let written = server
        .value
        .rules
        .as_ref()
        .map(|list| list.value.as_slice())
        .unwrap_or_default();
    if listeners.iter().any(|one| one.protocol == Protocol::Http) {
        warn_empty(server, reader);
    }
    let mut parse = Parse {
        reader,
        upstreams,
        patterns: Patterns::default(),
        used: tcp::used(listeners, upstreams),
    };
    let mut rules = Vec::with_capacity(written.len());
    let mut marks = Vec::with_capacity(written.len());
    for raw in written {
        let Some((rule, reach)) = parse.rule(raw) else {
            continue;
        };
        rules.push(rule);
        marks.push(Mark { at: raw.at, reach });
    }
    parse.warn_unused();
    rule_names::check(written, &mut rules, reader);
    shadow::warn(&rules, &marks, reader);
    (marks.into_iter().map(|mark| mark.at).collect(), rules)
}

fn warn_empty(server: &At<RawServer<'_>>, reader: &mut Reader<'_>) {
    let none = match &server.value.rules {
        Some(list) => reader.is_empty_list(list.at),
        None => !reader.is_given(server.at, "rules"),
    };
    if none {
        let at = server
            .value
            .rules
            .as_ref()
            .map_or(server.at, |list| list.at);
        let help = "add one: `- path: /` with `upstreams: [id]`";
        reader.warn(
            at,
            "there is no rule: every request is answered with 404",
            help,
        );
    }
}

struct Parse<'p, 't> {
    reader: &'p mut Reader<'t>,
    upstreams: &'p Upstreams<'t>,
    patterns: Patterns<'t>,
    /// Indexes of the upstreams that rules name.
    used: FxHashSet<u32>,
}

impl<'t> Parse<'_, 't> {
    fn rule(&mut self, raw: &At<RawRule<'t>>) -> Option<(Rule, Option<Rc<Reach>>)> {
        let rule = &raw.value;
        let host = match rule.host {
            None => Some(HostPattern::Any),
            Some(text) => self.reader.accept(text, host::pattern(text.value)),
        };
        let path = self.path(raw);
        let methods = self.methods(rule);
        let headers = self.matches(rule.headers.as_ref(), Self::header_name);
        let query = self.matches(rule.query.as_ref(), |parse, text| {
            parse.reader.accept(text, name::parameter(text.value))
        });
        let cookies = self.matches(rule.cookies.as_ref(), |parse, text| {
            parse.reader.accept(text, cookie::name(text.value))
        });
        let upstreams = self.targets(rule);
        let traffic = traffic::of_rule(rule, self.reader);
        let mirror = rule.mirror.as_ref().map(|raw| self.mirror(&raw.value));
        let (path, reach) = path?;
        let (host, name) = (host?, self.name(rule)?);
        let rule = Rule {
            name,
            host,
            path,
            methods: methods?,
            headers: headers?,
            query: query?,
            cookies: cookies?,
            upstreams: upstreams?,
            traffic,
            grpc_web: rule.grpc_web(),
            mirror: match mirror {
                Some(mirror) => Some(mirror?),
                None => None,
            },
        };
        Some((rule, reach))
    }

    /// The name as written, or the empty one for `rule_names` to fill in.
    fn name(&mut self, rule: &RawRule<'t>) -> Option<String> {
        let Some(text) = rule.name else {
            return Some(String::new());
        };
        self.reader
            .accept(text, name::check("a rule's name", text.value))
    }

    fn path(&mut self, raw: &At<RawRule<'t>>) -> Option<(PathPattern, Option<Rc<Reach>>)> {
        let Some(path) = raw.value.path else {
            if let Some(path_type) = raw.value.path_type {
                let help = "add `path`, or leave `pathType` out";
                self.reader
                    .error(path_type.at, "there is a `pathType` and no `path`", help);
            }
            return Some((PathPattern::Regex("/".to_owned()), None));
        };
        match raw.value.path_type() {
            PathType::Regex => self.regex_path(path),
            PathType::Exact => {
                let path = self.reader.accept(path, path::literal(path.value))?;
                Some((PathPattern::Exact(path.to_owned()), None))
            }
            PathType::Prefix => {
                let path = self.reader.accept(path, path::literal(path.value))?;
                let path = match path.trim_end_matches('/') {
                    "" => "/",
                    path => path,
                };
                Some((PathPattern::Prefix(path.to_owned()), None))
            }
        }
    }

    fn regex_path(&mut self, path: At<&'t str>) -> Option<(PathPattern, Option<Rc<Reach>>)> {
        let reach = self.patterns.reach(path.value);
        let reach = self.reader.accept(path, reach)?;
        let prefix = reach.as_ref().map_or(path.value, |reach| &reach.prefix);
        if !prefix.is_empty() && !prefix.starts_with('/') {
            let message = "this rule can never match: a path begins with `/`";
            self.reader.warn(
                path.at,
                message,
                format!("write `/{}`", shortened(path.value)),
            );
        }
        Some((PathPattern::Regex(path.value.to_owned()), reach))
    }

    fn methods(&mut self, rule: &RawRule<'t>) -> Option<Vec<String>> {
        let Some(list) = &rule.methods else {
            return Some(Vec::new());
        };
        self.refuse_empty(list)?;
        list.value
            .iter()
            .map(|text| self.reader.accept(*text, method(text.value)))
            .collect()
    }

    fn matches(
        &mut self,
        list: Option<&At<Vec<At<RawMatch<'t>>>>>,
        name: fn(&mut Self, At<&'t str>) -> Option<String>,
    ) -> Option<Vec<ValueMatch>> {
        let Some(list) = list else {
            return Some(Vec::new());
        };
        self.refuse_empty(list)?;
        let read: Vec<_> = list
            .value
            .iter()
            .map(|raw| self.value_match(raw, name))
            .collect();
        read.into_iter().collect()
    }

    fn value_match(
        &mut self,
        raw: &At<RawMatch<'t>>,
        name: fn(&mut Self, At<&'t str>) -> Option<String>,
    ) -> Option<ValueMatch> {
        let name = raw.value.name.and_then(|text| name(self, text));
        let value = self.value_pattern(raw);
        Some(ValueMatch {
            name: name?,
            value: value?,
        })
    }

    fn value_pattern(&mut self, raw: &At<RawMatch<'t>>) -> Option<ValuePattern> {
        match (raw.value.value, raw.value.regex, raw.value.present) {
            (Some(value), None, None) => Some(ValuePattern::Exact(value.value.to_owned())),
            (None, Some(regex), None) => {
                let reach = self.patterns.reach(regex.value);
                self.reader.accept(regex, reach)?;
                Some(ValuePattern::Regex(regex.value.to_owned()))
            }
            (None, None, Some(At { value: true, .. })) => Some(ValuePattern::Present),
            (None, None, Some(present)) => {
                let help = "write `present: true`; a condition that something is absent is a rule before this one";
                self.reader
                    .error(present.at, "`present` can only be true", help);
                None
            }
            (None, None, None) => {
                let keys = ["value", "regex", "present"];
                if !keys.iter().any(|key| self.reader.is_given(raw.at, key)) {
                    let message = "the condition says nothing about the value";
                    self.reader
                        .error(raw.at, message, "add `value`, `regex` or `present: true`");
                }
                None
            }
            _ => {
                let message = "the condition has more than one of `value`, `regex` and `present`";
                self.reader
                    .error(raw.at, message, "keep one, or write two conditions");
                None
            }
        }
    }

    fn header_name(&mut self, text: At<&'t str>) -> Option<String> {
        self.reader
            .accept(text, header::name(text.value))
            .map(|name| name.as_str().to_owned())
    }

    fn mirror(&mut self, raw: &RawMirror<'t>) -> Option<Mirror> {
        Some(Mirror {
            upstream: self.upstream(raw.upstream?)?,
            percent: raw.percent().0,
            max_in_flight: raw.max_in_flight().0,
            max_body: raw.max_body().0,
        })
    }

    fn targets(&mut self, rule: &RawRule<'t>) -> Option<Vec<WeightedUpstream>> {
        let list = rule.upstreams.as_ref()?;
        if self.reader.is_empty_list(list.at) {
            let help = "add the id of at least one upstream";
            self.reader.error(list.at, "the rule has no upstream", help);
            return None;
        }
        let mut targets = Vec::with_capacity(list.value.len());
        let mut seen = FxHashSet::default();
        for raw in &list.value {
            let Some(id) = raw.value.0.id else { continue };
            let Some(upstream) = self.upstream(id) else {
                continue;
            };
            self.used.insert(upstream);
            if list.value.len() > 1 && !seen.insert(upstream) {
                let message = format!("the upstream `{}` is listed twice", shortened(id.value));
                let help = format!(
                    "give it a weight instead: `{{id: {}, weight: 2}}`",
                    shortened(id.value)
                );
                self.reader.error(id.at, message, help);
                continue;
            }
            targets.push(WeightedUpstream {
                upstream,
                weight: raw.value.0.weight().0,
            });
        }
        if targets.is_empty() || targets.len() < list.value.len() {
            return None;
        }
        if targets.iter().all(|target| target.weight == 0) {
            let help = "give at least one a weight of 1 or more";
            self.reader.error(
                list.at,
                "all weights are 0: requests have nowhere to go",
                help,
            );
        }
        Some(targets)
    }

    fn upstream(&mut self, id: At<&'t str>) -> Option<u32> {
        let index = self.upstreams.index(id.value);
        if index.is_none() {
            let message = format!("unknown upstream `{}`", shortened(id.value));
            self.reader
                .error(id.at, message, self.upstreams.help_for(id.value));
        }
        index
    }

    fn refuse_empty<T>(&mut self, list: &At<Vec<T>>) -> Option<()> {
        if self.reader.is_empty_list(list.at) {
            self.reader.error(
                list.at,
                "the list is empty",
                "add an item, or leave the key out",
            );
            return None;
        }
        Some(())
    }

    fn warn_unused(&mut self) {
        // A rule that could not be read may well have named them.
        if self.reader.has_errors() {
            return;
        }
        for index in 0..self.upstreams.len() {
            let used = u32::try_from(index).is_ok_and(|index| self.used.contains(&index));
            let Some(at) = self.upstreams.place_of(index).filter(|_| !used) else {
                continue;
            };
            let id = shortened(self.reader.tree.text(at).unwrap_or_default());
            let message = format!("no rule uses the upstream `{id}`");
            self.reader.warn(
                at,
                message,
                "name it under a rule's `upstreams`, or remove it",
            );
        }
    }
}

pub(super) fn method(text: &str) -> Result<String, Fault> {
    if http::Method::from_bytes(text.as_bytes()).is_err() {
        let message = format!("`{}` is not a method", shortened(text));
        return Err(Fault::new(message, "write it like `GET`"));
    }
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let message = format!(
            "`{}` is not a method: they are in upper case",
            shortened(text)
        );
        return Err(Fault::new(
            message,
            format!("write `{}`", text.to_ascii_uppercase()),
        ));
    }
    Ok(text.to_owned())
}
