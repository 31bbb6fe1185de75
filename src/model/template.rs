//! Values that are filled in per request: `$ip`, `$header.NAME` and the like, and secrets, which are
//! filled in once, when the configuration is loaded.
//!
//! Rendering writes into the caller's buffer and allocates nothing else. Not here: where the facts
//! come from (`proxy`), and how a secret is read (`source::secrets`).

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::BytesMut;
use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::fields::Fields;
use super::secret::Secret;
pub use parse::{InvalidTemplate, Parsed, UnknownVariable, parse, parse_secret};

/// A value with its variables, valid as a header value whatever a request brings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    Text(String),
    Secret(Secret),
    Variable(Variable),
}

/// What a template may ask of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Variable {
    Ip,
    Host,
    Scheme,
    Method,
    Path,
    RequestId,
    Upstream,
    Tls(TlsVariable),
    /// The first of that name, as it came from the client.
    Header(#[serde(with = "header_name")] HeaderName),
}

/// What a template may ask of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVariable {
    Version,
    Cipher,
    Sni,
    ClientSubject,
    ClientSan,
    ClientFingerprint,
}

/// The client's side of a connection of TLS; empty texts where there is nothing to tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsFacts<'a> {
    pub version: &'a str,
    pub cipher: &'a str,
    pub sni: &'a str,
    pub client_subject: &'a str,
    pub client_san: &'a str,
    pub client_fingerprint: &'a str,
}

/// One request, as far as templates can see it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The client's address.
    pub ip: &'a str,
    /// The name asked for, with its port if the client gave one.
    pub host: &'a str,
    pub scheme: &'a str,
    pub method: &'a str,
    /// Without the query.
    pub path: &'a str,
    pub request_id: &'a str,
    /// The chosen upstream's id.
    pub upstream: &'a str,
    pub tls: TlsFacts<'a>,
    /// As received from the client.
    pub headers: &'a Fields,
}

impl Template {
    /// A template without variables.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            pieces: vec![Piece::Text(text.into())],
        }
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether it says the same for every request, so that it can be rendered once.
    pub fn is_constant(&self) -> bool {
        !self
            .pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Variable(_)))
    }

    /// Appends the value for this request to `out`. A header that the request lacks adds nothing.
    pub fn render(&self, facts: &Facts<'_>, out: &mut BytesMut) {
        for piece in &self.pieces {
            out.extend_from_slice(piece.value(facts));
        }
    }
}

impl Piece {
    fn value<'a>(&'a self, facts: &Facts<'a>) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Secret(secret) => secret.expose().as_bytes(),
            Self::Variable(variable) => variable.value(facts),
        }
    }
}

impl Variable {
    /// Every variable without a name of its own, as it is written after the `$`.
    pub const NAMES: [&'static str; 13] = [
        "ip",
        "host",
        "scheme",
        "method",
        "path",
        "request_id",
        "upstream",
        "tls.version",
        "tls.cipher",
        "tls.sni",
        "tls.client.subject",
        "tls.client.san",
        "tls.client.fingerprint",
    ];

    /// From what stands after the `$`: `ip`, `header.NAME` ...
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ip" => Self::Ip,
            "host" => Self::Host,
            "scheme" => Self::Scheme,
            "method" => Self::Method,
            "path" => Self::Path,
            "request_id" => Self::RequestId,
            "upstream" => Self::Upstream,
            "tls.version" => Self::Tls(TlsVariable::Version),
            "tls.cipher" => Self::Tls(TlsVariable::Cipher),
            "tls.sni" => Self::Tls(TlsVariable::Sni),
            "tls.client.subject" => Self::Tls(TlsVariable::ClientSubject),
            "tls.client.san" => Self::Tls(TlsVariable::ClientSan),
            "tls.client.fingerprint" => Self::Tls(TlsVariable::ClientFingerprint),
            _ => Self::Header(name.strip_prefix("header.")?.parse().ok()?),
        })
    }

    fn value<'a>(&self, facts: &Facts<'a>) -> &'a [u8] {
        match self {
            Self::Ip => facts.ip.as_bytes(),
            Self::Host => facts.host.as_bytes(),
            Self::Scheme => facts.scheme.as_bytes(),
            Self::Method => facts.method.as_bytes(),
            Self::Path => facts.path.as_bytes(),
            Self::RequestId => facts.request_id.as_bytes(),
            Self::Upstream => facts.upstream.as_bytes(),
            Self::Tls(variable) => variable.value(&facts.tls).as_bytes(),
            Self::Header(name) => facts.headers.get(name).unwrap_or_default(),
        }
    }
}

impl TlsVariable {
    fn name(self) -> &'static str {
        match self {
            Self::Version => "tls.version",
            Self::Cipher => "tls.cipher",
            Self::Sni => "tls.sni",
            Self::ClientSubject => "tls.client.subject",
            Self::ClientSan => "tls.client.san",
            Self::ClientFingerprint => "tls.client.fingerprint",
        }
    }

    fn value<'a>(self, facts: &TlsFacts<'a>) -> &'a str {
        match self {
            Self::Version => facts.version,
            Self::Cipher => facts.cipher,
            Self::Sni => facts.sni,
            Self::ClientSubject => facts.client_subject,
            Self::ClientSan => facts.client_san,
            Self::ClientFingerprint => facts.client_fingerprint,
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip => f.write_str("ip"),
            Self::Host => f.write_str("host"),
            Self::Scheme => f.write_str("scheme"),
            Self::Method => f.write_str("method"),
            Self::Path => f.write_str("path"),
            Self::RequestId => f.write_str("request_id"),
            Self::Upstream => f.write_str("upstream"),
            Self::Tls(variable) => f.write_str(variable.name()),
            Self::Header(name) => write!(f, "header.{name}"),
        }
    }
}

/// As it could be written in the configuration, secrets masked.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace('$', "$$"))?,
                Piece::Secret(secret) => write!(f, "{secret:?}")?,
                Piece::Variable(variable) => write!(f, "${{{variable}}}")?,
            }
        }
        Ok(())
    }
}

mod header_name {
    use http::HeaderName;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(name: &HeaderName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HeaderName, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
