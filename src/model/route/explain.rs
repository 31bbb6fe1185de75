//! Why a request takes the route it takes: what the tables say of every rule up to the one that takes
//! it.
//!
//! Not here: how that is put into words (`words`) and printed (`cli::explain`).

use super::{Conditions, RouteQuery, RouteTable};

#[cfg(test)]
mod tests;
mod words;

/// What became of a request at one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    Left(Mismatch),
}

/// The first thing, in this order, that a rule asks for and a request does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mismatch {
    Host,
    Path,
    Method,
    /// The n-th of the rule's headers.
    Header(usize),
    /// The n-th of the rule's query parameters.
    Query(usize),
    /// The n-th of the rule's cookies.
    Cookie(usize),
}

impl RouteTable {
    /// What every rule says, in order, up to and including the one that takes the request.
    pub fn explain(&self, query: &RouteQuery<'_>) -> Vec<Verdict> {
        let mut of_host = vec![false; self.routes().len()];
        let mut of_path = of_host.clone();
        self.hosts.consult(query.host, |table| {
            self.paths
                .rules(table)
                .for_each(|rule| mark(&mut of_host, rule));
            self.paths
                .all(table, query)
                .for_each(|rule| mark(&mut of_path, rule));
        });
        let mut verdicts = Vec::new();
        for ((route, of_host), of_path) in self.routes().iter().zip(of_host).zip(of_path) {
            let conditions = || {
                route
                    .conditions
                    .as_ref()
                    .and_then(|all| all.mismatch(query))
            };
            let mismatch = match (of_host, of_path) {
                (false, _) => Some(Mismatch::Host),
                (true, false) => Some(Mismatch::Path),
                (true, true) => conditions(),
            };
            verdicts.push(mismatch.map_or(Verdict::Taken, Verdict::Left));
            if mismatch.is_none() {
                break;
            }
        }
        verdicts
    }
}

fn mark(marks: &mut [bool], rule: u32) {
    if let Some(mark) = marks.get_mut(rule as usize) {
        *mark = true;
    }
}

impl Conditions {
    fn mismatch(&self, query: &RouteQuery<'_>) -> Option<Mismatch> {
        let header = || {
            self.headers
                .iter()
                .position(|one| !one.matches(query.headers))
        };
        let parameter = || {
            self.query
                .iter()
                .position(|one| !one.matches(query.parameters()))
        };
        let cookie = || {
            self.cookies
                .iter()
                .position(|one| !one.matches(query.headers))
        };
        if !self.takes_method(query) {
            return Some(Mismatch::Method);
        }
        header()
            .map(Mismatch::Header)
            .or_else(|| parameter().map(Mismatch::Query))
            .or_else(|| cookie().map(Mismatch::Cookie))
    }
}
