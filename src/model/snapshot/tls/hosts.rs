//! The certificates of a listener by the hosts that they are for: a host's own before a wildcard's,
//! else the first of all. Of several for one host, the first whose kind of key the client takes,
//! ECDSA and Ed25519 before RSA.
//!
//! What was chosen for a connection, and for which name, the library does not tell for connections
//! without buffers of its own; so the last choice of this thread is kept for who drives it
//! (`take_choice`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::InvalidTls;
use crate::model::config::tls::Certificate;
use crate::model::tls;

#[derive(Debug)]
pub struct Hosts {
    keys: Vec<Arc<CertifiedKey>>,
    facts: Vec<tls::Facts>,
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By what follows the `*.`.
    wildcards: HashMap<Box<str>, Vec<usize>>,
    /// The first certificate, and those for all the same hosts.
    default: Vec<usize>,
}

/// What a client asked for and is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// In lower case.
    pub name: Option<Box<str>>,
    /// Place of the certificate in the configuration.
    pub certificate: usize,
}

thread_local! {
    static LAST: RefCell<Option<Choice>> = const { RefCell::new(None) };
}

/// What was chosen since this was last called.
pub fn take_choice() -> Option<Choice> {
    LAST.with(RefCell::take)
}

impl Hosts {
    pub(super) fn build(certificates: &[Certificate]) -> Result<Self, InvalidTls> {
        let keys = certificates.iter().map(|certificate| {
            let certified = tls::certified(certificate);
            certified
                .map(Arc::new)
                .map_err(|fault| InvalidTls::Certificate {
                    file: certificate.file.clone(),
                    fault,
                })
        });
        let mut hosts = Self {
            keys: keys.collect::<Result<_, _>>()?,
            facts: certificates.iter().map(|c| c.facts.clone()).collect(),
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            default: Vec::new(),
        };
        let mut order: Vec<usize> = (0..hosts.keys.len()).collect();
        // Stable: of one kind, the first in the file stays the first.
        order.sort_by_key(|index| hosts.kind(*index) == Some(SignatureAlgorithm::RSA));
        for index in order {
            hosts.insert(index);
        }
        Ok(hosts)
    }

    fn insert(&mut self, index: usize) {
        let Some(facts) = self.facts.get(index) else {
            return;
        };
        for name in &facts.names {
            let (table, key) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcards, parent),
                None => (&mut self.exact, name.as_str()),
            };
            table.entry(key.into()).or_default().push(index);
        }
        if self
            .facts
            .first()
            .is_some_and(|first| first.names == facts.names)
        {
            self.default.push(index);
        }
    }

    fn kind(&self, index: usize) -> Option<SignatureAlgorithm> {
        self.keys.get(index).map(|key| key.key.algorithm())
    }

    /// Those that a client is shown one of. The name is in lower case.
    fn for_name(&self, name: Option<&str>) -> &[usize] {
        let Some(name) = name else {
            return &self.default;
        };
        let name = name.trim_end_matches('.');
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.wildcards.get(parent)
        };
        let found = self.exact.get(name).or_else(wildcard);
        found.unwrap_or(&self.default)
    }

    /// Whether a request for `host` on a connection with this certificate belongs on another one: the
    /// certificate is not for the host, and a client that had asked for the host would have been
    /// shown another. A client that asked for nothing did not choose, and is not sent elsewhere.
    pub fn is_misdirected(&self, choice: &Choice, host: &str) -> bool {
        let Some(name) = &choice.name else {
            return false;
        };
        let host = host.trim_end_matches('.');
        if host.eq_ignore_ascii_case(name) || host.is_empty() {
            return false;
        }
        let host = host.to_ascii_lowercase();
        let covers = |index: &usize| self.facts.get(*index).is_some_and(|f| f.covers(&host));
        let is_address = host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[');
        if is_address || covers(&choice.certificate) {
            return false;
        }
        let wanted = self.for_name(Some(&host));
        !wanted.contains(&choice.certificate)
    }

    fn choose(&self, hello: &ClientHello<'_>) -> Option<usize> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let candidates = self.for_name(name.as_deref());
        let fits = |index: &&usize| {
            let key = self.keys.get(**index);
            key.is_some_and(|key| key.key.choose_scheme(hello.signature_schemes()).is_some())
        };
        let chosen = candidates.iter().find(fits).or(candidates.first())?;
        LAST.with(|last| {
            last.replace(Some(Choice {
                name: name.map(Into::into),
                certificate: *chosen,
            }))
        });
        Some(*chosen)
    }
}

impl ResolvesServerCert for Hosts {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(&hello)
            .and_then(|index| self.keys.get(index).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tls::tests::certificate;

    fn hosts(of: &[&[&str]]) -> Hosts {
        let certificates: Vec<_> = of.iter().map(|names| certificate(names)).collect();
        Hosts::build(&certificates).unwrap()
    }

    fn choice(name: Option<&str>, certificate: usize) -> Choice {
        Choice {
            name: name.map(Into::into),
            certificate,
        }
    }

    #[test]
    fn a_host_of_its_own_comes_before_a_wildcard_and_the_first_serves_the_rest() {
        let hosts = hosts(&[&["a.test"], &["*.b.test"], &["x.b.test", "c.test"]]);
        assert_eq!(hosts.for_name(None), [0]);
        assert_eq!(hosts.for_name(Some("a.test")), [0]);
        assert_eq!(hosts.for_name(Some("y.b.test")), [1]);
        assert_eq!(hosts.for_name(Some("y.b.test.")), [1]);
        assert_eq!(hosts.for_name(Some("x.b.test")), [2]);
        assert_eq!(hosts.for_name(Some("z.y.b.test")), [0], "one label only");
        assert_eq!(hosts.for_name(Some("b.test")), [0], "not the parent itself");
    }

    #[test]
    fn several_certificates_for_one_host_stand_side_by_side() {
        let hosts = hosts(&[&["a.test"], &["b.test"], &["a.test"]]);
        assert_eq!(hosts.for_name(Some("a.test")), [0, 2]);
        assert_eq!(hosts.for_name(None), [0, 2], "the default has both too");
    }

    #[test]
    fn what_fits_another_certificate_and_not_this_one_is_misdirected() {
        let hosts = hosts(&[&["a.test", "also-a.test"], &["*.b.test"], &["x.b.test"]]);
        let on = |name, certificate, host| hosts.is_misdirected(&choice(name, certificate), host);
        assert!(on(Some("a.test"), 0, "x.b.test"));
        assert!(on(Some("x.b.test"), 2, "y.b.test"));
        assert!(
            on(Some("y.b.test"), 1, "unknown.test"),
            "the default is for it"
        );

        assert!(!on(Some("a.test"), 0, "A.test"));
        assert!(
            !on(Some("a.test"), 0, "also-a.test"),
            "one certificate, several hosts"
        );
        assert!(
            !on(Some("y.b.test"), 1, "x.b.test"),
            "the wildcard covers it"
        );
        assert!(
            !on(Some("a.test"), 0, "unknown.test"),
            "it would get this one again"
        );
        assert!(!on(Some("unknown.test"), 0, "other.test"));
        assert!(
            !on(None, 0, "x.b.test"),
            "who asked for nothing is not sent away"
        );
        assert!(!on(Some("y.b.test"), 1, "10.0.0.1"));
        assert!(!on(Some("y.b.test"), 1, "[::1]"));
        assert!(!on(Some("y.b.test"), 1, ""));
    }
}
