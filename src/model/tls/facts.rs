//! What a certificate says of itself.

use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::InvalidCertificate;
use super::name::distinguished;
use super::pem::{InvalidPem, bounded};
use crate::model::config::tls::Der;
pub use crate::model::config::tls::Facts;

/// Of the first certificate of a chain; every other one has to be readable too.
pub fn facts(chain: Vec<Der>) -> Result<(Facts, Vec<Der>), InvalidPem> {
    let chain = bounded(chain)?;
    let mut first = None;
    for (index, der) in chain.iter().enumerate() {
        let read = parse(der).map_err(|error| InvalidPem::Certificate {
            place: index + 1,
            why: error.to_string(),
        })?;
        if index == 0 {
            first = Some(of(&read, der));
        }
    }
    first
        .map(|facts| (facts, chain))
        .ok_or(InvalidPem::NoCertificate)
}

/// Whether `name` is one label below what a wildcard like `*.example.com` stands for.
pub fn is_wildcard_of(wildcard: &str, name: &str) -> bool {
    let below = wildcard.strip_prefix("*.");
    let parent = name.split_once('.').map(|(_, parent)| parent);
    below.is_some() && below == parent
}

impl Facts {
    /// Whether a client that asked for this host takes the certificate for it. In lower case.
    pub fn covers(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        self.names
            .iter()
            .any(|name| name == host || is_wildcard_of(name, host))
    }
}

pub(super) fn parse(der: &Der) -> Result<X509Certificate<'_>, InvalidCertificate> {
    let read = X509Certificate::from_der(&der.0);
    match read {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(InvalidCertificate::Certificate(
            "bytes follow its end".to_owned(),
        )),
        Err(error) => Err(InvalidCertificate::Certificate(error.to_string())),
    }
}

fn of(certificate: &X509Certificate<'_>, der: &Der) -> Facts {
    let validity = certificate.validity();
    Facts {
        names: names(certificate),
        subject: distinguished(certificate.subject()),
        issuer: distinguished(certificate.issuer()),
        serial: certificate.raw_serial().iter().map(hex).collect(),
        fingerprint: fingerprint(&der.0),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    }
}

/// SHA-256, in hexadecimal, without colons.
fn fingerprint(der: &[u8]) -> String {
    Sha256::digest(der).iter().map(hex).collect()
}

pub(super) fn hex(byte: &u8) -> String {
    format!("{byte:02x}")
}

/// Its DNS names; where it has no list of names at all, the one that its subject has by old custom.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(listed)) = certificate.subject_alternative_name() else {
        return common_name(certificate.subject()).into_iter().collect();
    };
    let listed = listed.value.general_names.iter();
    let names = listed.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.trim_end_matches('.').to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}

fn common_name(subject: &X509Name<'_>) -> Option<String> {
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '*' | '_');
    (name.contains('.') && name.chars().all(is_host)).then(|| name.to_ascii_lowercase())
}

/// Whom a client's certificate names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// As RFC 2253 has it, and nginx.
    pub subject: String,
    /// All its alternative names, as `DNS:a.test,URI:spiffe://...`.
    pub san: String,
    pub fingerprint: String,
}

pub fn identity(der: &[u8]) -> Identity {
    let mut identity = Identity {
        fingerprint: fingerprint(der),
        ..Identity::default()
    };
    if let Ok((_, certificate)) = X509Certificate::from_der(der) {
        identity.subject = distinguished(certificate.subject());
        identity.san = alternative_names(&certificate);
    }
    identity
}

fn alternative_names(certificate: &X509Certificate<'_>) -> String {
    let Ok(Some(listed)) = certificate.subject_alternative_name() else {
        return String::new();
    };
    let listed = listed.value.general_names.iter();
    let names = listed.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{}", escaped(name))),
        GeneralName::URI(name) => Some(format!("URI:{}", escaped(name))),
        GeneralName::RFC822Name(name) => Some(format!("email:{}", escaped(name))),
        GeneralName::IPAddress(bytes) => address(bytes).map(|ip| format!("IP:{ip}")),
        _ => None,
    });
    names.collect::<Vec<_>>().join(",")
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(Into::into),
        16 => <[u8; 16]>::try_from(bytes).ok().map(Into::into),
        _ => None,
    }
}

/// Nobody puts a second name, or a line of its own, into one that an authority has signed for them.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ',' | '\\' | '+' | '"' | ';' | '<' | '>' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}
