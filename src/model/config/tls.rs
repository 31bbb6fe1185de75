//! What a configuration says about TLS, with the contents of all the files that it names: a worker
//! reads none.
//!
//! Not here: whether certificates and keys are any good (`model::tls`), and what a handshake does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::secret::SecretBytes;

/// TLS that is ended at a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerTls {
    /// Never empty. The first serves clients that name no host, or one that none is for.
    pub certificates: Vec<Certificate>,
    pub versions: Versions,
    /// The most wanted first; those of a version that has none here are the usual ones.
    pub ciphers: Vec<Cipher>,
    pub client_auth: Option<ClientAuth>,
    /// The most wanted first; empty negotiates nothing.
    pub alpn: Vec<Alpn>,
}

/// A chain and the key of its first certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// As written: what logs and metrics call it.
    pub file: String,
    pub key_file: String,
    pub facts: Facts,
    pub chain: Vec<Der>,
    pub key: Key,
    /// A response to staple.
    pub ocsp: Option<Der>,
}

/// What the first certificate of a chain says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// In lower case; wildcards as `*.example.com`. Empty where it names no host.
    pub names: Vec<String>,
    pub subject: String,
    pub issuer: String,
    /// In hexadecimal.
    pub serial: String,
    /// Of its DER, by SHA-256, in hexadecimal.
    pub fingerprint: String,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub form: KeyForm,
    pub der: SecretBytes,
}

/// How a private key is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyForm {
    Pkcs1,
    Pkcs8,
    Sec1,
}

/// Bytes that are public and of no interest to people.
#[derive(Clone, PartialEq, Eq)]
pub struct Der(pub Vec<u8>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub min: Version,
    pub max: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Version {
    V1_2,
    V1_3,
}

/// The cipher suites that there are, by the numbers that they have on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cipher(pub u16);

/// TLS that is spoken to an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamTls {
    /// Asked for and verified in place of the host of the url.
    pub server_name: Option<String>,
    pub verify: Verify,
    pub ca: Authorities,
    /// What the upstream is shown, should it ask.
    pub client: Option<Certificate>,
    pub versions: Versions,
    /// The most wanted first; empty negotiates nothing.
    pub alpn: Vec<Alpn>,
}

/// Whether an upstream has to be who it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verify {
    Yes,
    /// Anybody in between can pass for it.
    No,
}

/// Who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authorities {
    /// `Config::system_authorities`
    System,
    Own {
        /// As written.
        file: String,
        certificates: Vec<Der>,
    },
}

/// Certificates that clients show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAuth {
    /// As written.
    pub ca_file: String,
    /// Whose certificates are believed.
    pub ca: Vec<Der>,
    pub mode: ClientAuthMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientAuthMode {
    /// Without one there is no connection.
    Require,
    /// One that is shown has to be good.
    Optional,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Alpn {
    Http11,
    H2,
}

/// How TLS sessions are resumed, with whichever worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTickets {
    pub mode: TicketMode,
    /// How often their key is changed.
    pub rotation: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TicketMode {
    On,
    Off,
}

impl Alpn {
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Http11 => b"http/1.1",
            Self::H2 => b"h2",
        }
    }
}

impl std::fmt::Debug for Der {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Der({} bytes)", self.0.len())
    }
}

/// People see how long it is; workers get it.
impl Serialize for Der {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(&format_args!("{} bytes", self.0.len()));
        }
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Der {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::model::secret::bytes(deserializer).map(Self)
    }
}
