//! Values that must not be shown: where they come from (`SecretRef`) and what holds them (`Secret`).
//!
//! Not here: reading the environment or a file. Whoever loads a configuration passes a function
//! for that (`source::secrets`), so that the model stays without IO.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands in place of a secret wherever a person may read it.
pub const MASK: &str = "***";

/// A value that masks itself: in `Debug`, and in every human-readable format (JSON, YAML). Only the
/// compact format between the processes carries it as it is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = if serializer.is_human_readable() {
            MASK
        } else {
            &self.0
        };
        serializer.serialize_str(shown)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// The same for what is no text: private keys.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that uses it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(MASK);
        }
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bytes(deserializer).map(Self)
    }
}

/// Bytes as a whole, not one by one as a `Vec<u8>` would be read.
pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Bytes;
    impl serde::de::Visitor<'_> for Bytes {
        type Value = Vec<u8>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }
        fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
        fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }
    deserializer.deserialize_byte_buf(Bytes)
}

/// Headers whose values let their bearer pass for somebody: shown as `MASK` wherever they are written
/// out in a configuration or come with a request. Names are in lower case.
pub fn is_credential(header: &str) -> bool {
    const NAMES: [&str; 7] = [
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "x-amz-security-token",
        "x-api-key",
        "x-auth-token",
    ];
    NAMES.contains(&header)
}

/// Where a value is kept outside of the configuration: `env:NAME` or `file:PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    Env(String),
    File(String),
}

impl SecretRef {
    /// Reads `env:NAME` or `file:PATH`; `None` is a text that is neither.
    pub fn parse(text: &str) -> Option<Result<Self, InvalidSecretRef>> {
        if let Some(name) = text.strip_prefix("env:") {
            return Some(Self::env(name));
        }
        text.strip_prefix("file:").map(Self::file)
    }

    fn env(name: &str) -> Result<Self, InvalidSecretRef> {
        let usable = !name.is_empty() && !name.contains(|c: char| c == '=' || c.is_control());
        if !usable || name.contains(char::is_whitespace) {
            return Err(InvalidSecretRef::Env(name.to_owned()));
        }
        Ok(Self::Env(name.to_owned()))
    }

    fn file(path: &str) -> Result<Self, InvalidSecretRef> {
        if path.trim().is_empty() || path.contains(char::is_control) {
            return Err(InvalidSecretRef::File);
        }
        Ok(Self::File(path.to_owned()))
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecretRef {
    #[error("`{}` cannot be the name of an environment variable", .0.escape_debug())]
    Env(String),
    #[error("`file:` needs the path of a file after it")]
    File,
}

/// How a reference becomes its value; the error says in words why it cannot.
pub type Resolve<'a> = dyn FnMut(&SecretRef) -> Result<String, String> + 'a;

/// How the path of a file becomes its contents: certificates, keys. The error says in words why it
/// cannot.
pub type ReadFile<'a> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'a;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_a_mask_and_workers_the_value() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        let sent = postcard::to_stdvec(&secret).unwrap();
        let received: Secret = postcard::from_bytes(&sent).unwrap();
        assert_eq!(received.expose(), "hunter2");

        let secret = SecretBytes::new(b"hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        let sent = postcard::to_stdvec(&secret).unwrap();
        let received: SecretBytes = postcard::from_bytes(&sent).unwrap();
        assert_eq!(received.expose(), b"hunter2");
    }

    #[test]
    fn a_reference_names_its_kind() {
        assert_eq!(
            SecretRef::parse("env:A_B"),
            Some(Ok(SecretRef::Env("A_B".into())))
        );
        assert_eq!(
            SecretRef::parse("file:/a b"),
            Some(Ok(SecretRef::File("/a b".into())))
        );
        assert_eq!(SecretRef::parse("Bearer env:A"), None);
        assert_eq!(
            SecretRef::parse("env:"),
            Some(Err(InvalidSecretRef::Env(String::new())))
        );
        assert_eq!(
            SecretRef::parse("env:A B"),
            Some(Err(InvalidSecretRef::Env("A B".into())))
        );
        assert_eq!(
            SecretRef::parse("file: "),
            Some(Err(InvalidSecretRef::File))
        );
    }
}
