//! Which tables of paths are there for a host: its own, those of the wildcards above it, and the one
//! for every host. What it costs depends on the length of the name, not on the number of names.

use std::collections::HashMap;

use super::super::config::HostPattern;

/// No longer name is looked up: DNS knows none, and it bounds what a long one could cost.
const NAME_BYTES: usize = 253;

/// Tables by number. Names are in lower case, without a trailing dot or a port.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    any: Option<u32>,
    exact: HashMap<Box<[u8]>, u32>,
    /// By what stands behind the `*.`.
    wildcards: HashMap<Box<[u8]>, u32>,
    /// Of the longest wildcard.
    wildcard_bytes: usize,
    tables: u32,
}

impl Hosts {
    /// The table of a pattern; a new one for a new pattern.
    pub(super) fn table(&mut self, pattern: &HostPattern) -> u32 {
        let new = self.tables;
        let table = match pattern {
            HostPattern::Any => *self.any.get_or_insert(new),
            HostPattern::Exact(name) => *self.exact.entry(name.as_bytes().into()).or_insert(new),
            HostPattern::Wildcard(name) => {
                self.wildcard_bytes = self.wildcard_bytes.max(name.len());
                *self.wildcards.entry(name.as_bytes().into()).or_insert(new)
            }
        };
        self.tables += u32::from(table == new);
        table
    }

    pub(super) fn tables(&self) -> u32 {
        self.tables
    }

    /// Calls `consult` with every table that is there for the host, as the client sent it.
    pub(super) fn consult(&self, host: &str, mut consult: impl FnMut(u32)) {
        if let Some(any) = self.any {
            consult(any);
        }
        if self.exact.is_empty() && self.wildcards.is_empty() {
            return;
        }
        let mut buffer = [0; NAME_BYTES];
        let Some(name) = lower_case(host_name(host).as_bytes(), &mut buffer) else {
            return;
        };
        if let Some(&exact) = self.exact.get(name) {
            consult(exact);
        }
        if !self.wildcards.is_empty() {
            for above in names_above(name).filter(|above| above.len() <= self.wildcard_bytes) {
                if let Some(&wildcard) = self.wildcards.get(above) {
                    consult(wildcard);
                }
            }
        }
    }
}

/// The name without port and trailing dot; an IPv6 address keeps its brackets.
fn host_name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Nothing if the name is longer than the buffer.
fn lower_case<'a>(name: &'a [u8], buffer: &'a mut [u8; NAME_BYTES]) -> Option<&'a [u8]> {
    let lower = buffer.get_mut(..name.len())?;
    if !name.iter().any(u8::is_ascii_uppercase) {
        return Some(name);
    }
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
}

/// `b.c` and `c` for `a.b.c`. A name that begins with its dot has nothing in place of the `*`.
fn names_above(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    memchr::memchr_iter(b'.', name)
        .filter(|dot| *dot > 0)
        .filter_map(|dot| name.get(dot + 1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consulted(patterns: &[HostPattern], host: &str) -> Vec<u32> {
        let mut hosts = Hosts::default();
        for pattern in patterns {
            hosts.table(pattern);
        }
        let mut found = Vec::new();
        hosts.consult(host, |table| found.push(table));
        found.sort_unstable();
        found
    }

    fn exact(name: &str) -> HostPattern {
        HostPattern::Exact(name.to_owned())
    }

    fn wildcard(name: &str) -> HostPattern {
        HostPattern::Wildcard(name.to_owned())
    }

    #[test]
    fn case_port_and_trailing_dot_do_not_matter() {
        let patterns = [exact("example.com"), exact("[::1]"), exact("10.0.0.1")];
        for (host, tables) in [
            ("example.com", &[0][..]),
            ("EXAMPLE.com", &[0]),
            ("example.com.", &[0]),
            ("Example.Com.:8080", &[0]),
            ("example.com:", &[0]),
            ("example.com..", &[]),
            ("www.example.com", &[]),
            ("", &[]),
            (":80", &[]),
            ("[::1]", &[1]),
            ("[::1]:8080", &[1]),
            ("10.0.0.1:80", &[2]),
        ] {
            assert_eq!(consulted(&patterns, host), tables, "{host}");
        }
    }

    #[test]
    fn wildcards_take_any_depth_below_but_not_the_name_itself() {
        let patterns = [
            wildcard("example.com"),
            wildcard("b.example.com"),
            HostPattern::Any,
        ];
        for (host, tables) in [
            ("example.com", &[2][..]),
            ("a.example.com", &[0, 2]),
            ("a.b.example.com:80", &[0, 1, 2]),
            ("A.B.Example.COM.", &[0, 1, 2]),
            (".example.com", &[2]),
            ("..example.com", &[0, 2]),
            ("badexample.com", &[2]),
        ] {
            assert_eq!(consulted(&patterns, host), tables, "{host}");
        }
    }

    #[test]
    fn names_longer_than_dns_knows_go_by_the_rules_for_every_host() {
        let long = format!("{}example.com", "a.".repeat(400));
        assert_eq!(
            consulted(&[wildcard("example.com"), HostPattern::Any], &long),
            [1]
        );
        let longest = format!("{}example.com", "a.".repeat(121));
        assert_eq!(
            consulted(&[wildcard("example.com"), HostPattern::Any], &longest),
            [0, 1]
        );
    }

    #[test]
    fn equal_patterns_share_a_table() {
        let mut hosts = Hosts::default();
        let patterns = [
            exact("a"),
            wildcard("a"),
            exact("a"),
            HostPattern::Any,
            wildcard("a"),
        ];
        assert_eq!(
            patterns.map(|pattern| hosts.table(&pattern)),
            [0, 1, 0, 2, 1]
        );
        assert_eq!(hosts.tables(), 3);
    }
}
