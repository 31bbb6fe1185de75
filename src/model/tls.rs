//! Certificates, keys and cipher suites: read from the contents of their files, and checked before
//! anything is served with them.
//!
//! Not here: which files there are (`parse`), whether a certificate is valid today (`Loaded::dated`;
//! nothing here has a clock), and handshakes.

mod chain;
pub mod cipher;
mod facts;
mod name;
mod pem;
mod staple;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::config::tls::{Certificate, Der, Key, KeyForm};
pub use chain::doubts;
pub use facts::{Facts, Identity, facts, identity, is_wildcard_of};
pub use pem::{InvalidPem, certificates, private_key};
pub use staple::{Staple, is_ocsp_response, staple};

/// In place of a path: the file in which the system keeps the authorities that it trusts.
pub const SYSTEM_AUTHORITIES: &str = "system:authorities";

/// What can be used at certain times alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timed {
    Certificate(Facts),
    Staple(Staple),
}

/// What of a certificate or a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    #[error("the key is not that of the certificate")]
    KeyMismatch,
    #[error("the key cannot be used: {0}")]
    Key(String),
    #[error("the certificate cannot be used: {0}")]
    Certificate(String),
}

/// The cryptography that everything here is done with.
pub fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// A chain and its key as handshakes use them; refused where the two do not belong together.
pub fn certified(certificate: &Certificate) -> Result<CertifiedKey, InvalidCertificate> {
    certify(&certificate.chain, &certificate.key, &certificate.ocsp)
}

pub fn certify(
    chain: &[Der],
    key: &Key,
    ocsp: &Option<Der>,
) -> Result<CertifiedKey, InvalidCertificate> {
    let signing = rustls::crypto::ring::sign::any_supported_type(&key.der())
        .map_err(|error| InvalidCertificate::Key(error.to_string()))?;
    let mut certified = CertifiedKey::new(chain.iter().map(Der::certificate).collect(), signing);
    match certified.keys_match() {
        Ok(()) => {}
        Err(rustls::Error::InconsistentKeys(_)) => return Err(InvalidCertificate::KeyMismatch),
        Err(error) => return Err(InvalidCertificate::Certificate(error.to_string())),
    }
    certified.ocsp = ocsp.as_ref().map(|response| response.0.clone());
    Ok(certified)
}

/// The roots of trust that the certificates of a file make; none that cannot be one.
pub fn roots(ca: &[Der]) -> Result<Arc<rustls::RootCertStore>, InvalidCertificate> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in ca {
        roots
            .add(certificate.certificate())
            .map_err(|error| InvalidCertificate::Certificate(error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

/// The same of those that a system trusts: it may have some that are not understood here.
pub fn usable_roots(ca: &[Der]) -> Arc<rustls::RootCertStore> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(ca.iter().map(Der::certificate));
    Arc::new(roots)
}

impl Der {
    pub fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.0.clone())
    }
}

impl Key {
    pub fn der(&self) -> PrivateKeyDer<'static> {
        let der = self.der.expose().to_vec();
        match self.form {
            KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(der.into()),
            KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(der.into()),
            KeyForm::Sec1 => PrivateKeyDer::Sec1(der.into()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
