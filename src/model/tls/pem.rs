//! The PEM files that certificates and keys come in.

use rustls::pki_types::pem::{self, PemObject, SectionKind};

use crate::model::config::tls::{Der, Key, KeyForm};
use crate::model::secret::SecretBytes;

/// Certificates of one chain; nobody has a longer one.
const LONGEST_CHAIN: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPem {
    #[error("it is not PEM: {0}")]
    Syntax(String),
    #[error("there is no certificate in it")]
    NoCertificate,
    #[error("there is a private key in it and no certificate")]
    KeyForCertificate,
    #[error("there is no private key in it")]
    NoKey,
    #[error("there is a certificate in it and no private key")]
    CertificateForKey,
    #[error("its private key is encrypted")]
    EncryptedKey,
    #[error("it has {0} certificates, more than any chain")]
    LongChain(usize),
    #[error("certificate {place} of it cannot be read: {why}")]
    Certificate { place: usize, why: String },
}

/// All certificates of a file, in its order.
pub fn certificates(bytes: &[u8]) -> Result<Vec<Der>, InvalidPem> {
    let sections = sections(bytes)?;
    let is = |wanted: SectionKind| move |(kind, _): &&(SectionKind, Vec<u8>)| *kind == wanted;
    let certificates = sections.iter().filter(is(SectionKind::Certificate));
    let certificates: Vec<Der> = certificates.map(|(_, der)| Der(der.clone())).collect();
    if certificates.is_empty() {
        let key = sections.iter().any(|(kind, _)| form(*kind).is_some());
        return Err(match key {
            true => InvalidPem::KeyForCertificate,
            false => InvalidPem::NoCertificate,
        });
    }
    Ok(certificates)
}

/// A chain: bounded, because each client is sent all of it.
pub(super) fn bounded(chain: Vec<Der>) -> Result<Vec<Der>, InvalidPem> {
    match chain.len() {
        long if long > LONGEST_CHAIN => Err(InvalidPem::LongChain(long)),
        _ => Ok(chain),
    }
}

/// The first private key of a file.
pub fn private_key(bytes: &[u8]) -> Result<Key, InvalidPem> {
    let sections = sections(bytes)?;
    let mut keys = sections.iter().filter_map(|(kind, der)| {
        let der = SecretBytes::new(der.clone());
        form(*kind).map(|form| Key { form, der })
    });
    if let Some(key) = keys.next() {
        return Ok(key);
    }
    let text = String::from_utf8_lossy(bytes);
    if text.contains("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(InvalidPem::EncryptedKey);
    }
    let certificate = sections
        .iter()
        .any(|(kind, _)| *kind == SectionKind::Certificate);
    Err(match certificate {
        true => InvalidPem::CertificateForKey,
        false => InvalidPem::NoKey,
    })
}

fn form(kind: SectionKind) -> Option<KeyForm> {
    match kind {
        SectionKind::RsaPrivateKey => Some(KeyForm::Pkcs1),
        SectionKind::PrivateKey => Some(KeyForm::Pkcs8),
        SectionKind::EcPrivateKey => Some(KeyForm::Sec1),
        _ => None,
    }
}

fn sections(bytes: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, InvalidPem> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| InvalidPem::Syntax(words(&error)))
}

/// Without the bytes: they may be those of a key.
fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section has no proper beginning".to_owned(),
        pem::Error::Base64Decode(_) => "a section is not base64".to_owned(),
        _ => "a section cannot be read".to_owned(),
    }
}
