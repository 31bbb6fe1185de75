//! Certificates as an authority issues them, made anew for each test.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// An authority that signs for everybody, and a folder for what it signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    folder: tempfile::TempDir,
}

/// A certificate and its key, as texts of PEM.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let params = authority("Test Authority");
        let pem = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.crt"), &pem).unwrap();
        Authority {
            issuer: Issuer::new(params, key),
            pem,
            folder,
        }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.sign(CertificateParams::new(owned(names)).unwrap())
    }

    /// Of a client: with a subject.
    pub(crate) fn issue_to(&self, subject: &str, names: &[&str]) -> Issued {
        let mut params = CertificateParams::new(owned(names)).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example");
        self.sign(params)
    }

    /// Valid once.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Issued {
        let mut params = CertificateParams::new(owned(names)).unwrap();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            // With its issuer, so that nothing is to be said of the chain.
            cert: format!("{}{}", signed.pem(), self.pem),
            key: key.serialize_pem(),
            der: signed.der().to_vec(),
        }
    }

    /// What the authority signs with, for programs that sign in its name.
    pub(crate) fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The authority's own certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Writes a pair to files of this name; the item of `certificates` that names them.
    pub(crate) fn write(&self, name: &str, issued: &Issued) -> String {
        let cert = self.folder.path().join(format!("{name}.crt"));
        let key = self.folder.path().join(format!("{name}.key"));
        fs::write(&cert, &issued.cert).unwrap();
        fs::write(&key, &issued.key).unwrap();
        format!("{{cert: {}, key: {}}}", cert.display(), key.display())
    }

    /// Issues and writes.
    pub(crate) fn pair(&self, name: &str, names: &[&str]) -> String {
        self.write(name, &self.issue(names))
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
