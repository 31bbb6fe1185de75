//! The files that a configuration names beside itself: certificates, keys, authorities, secrets. What was read
//! is remembered, so that a change of one of them is a change of the configuration.
//!
//! Not here: what the contents mean (`model::tls`, `secrets`), and when to look again (`file`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::model::tls::SYSTEM_AUTHORITIES;

/// The largest file: a bundle of all authorities of the world is a quarter of it.
const MAX_BYTES: u64 = 1024 * 1024;

/// What was read for one configuration, and what it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// By path, the SHA-256 of the contents; `None` where they could not be read.
    seen: BTreeMap<PathBuf, Option<[u8; 32]>>,
}

impl Named {
    /// Reads one of the files and remembers it.
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let system;
        let path = match path {
            SYSTEM_AUTHORITIES => {
                system = system_authorities().ok_or("there is no such file")?;
                system.as_str()
            }
            path => path,
        };
        self.read_at(Path::new(path))
    }

    /// The same without a word that stands for a file.
    pub fn read_at(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let read = contents(path);
        self.seen.insert(path.to_owned(), sum(&read));
        read
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.seen.keys().map(PathBuf::as_path)
    }

    /// The same files as they are now.
    #[must_use]
    pub fn again(&self) -> Named {
        let now = |path: &PathBuf| (path.clone(), sum(&contents(path)));
        Named {
            seen: self.seen.keys().map(now).collect(),
        }
    }

    /// Whether all of them still are what they were.
    pub fn are_the_same(&self) -> bool {
        self.seen
            .iter()
            .all(|(path, seen)| sum(&contents(path)) == *seen)
    }
}

/// Where the system says, or where distributions keep them.
fn system_authorities() -> Option<String> {
    if let Ok(named) = std::env::var("SSL_CERT_FILE") {
        return Some(named);
    }
    const USUAL: [&str; 4] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let found = USUAL.into_iter().find(|path| Path::new(path).is_file());
    found.map(str::to_owned)
}

fn sum(read: &Result<Vec<u8>, String>) -> Option<[u8; 32]> {
    read.as_ref().ok().map(|bytes| Sha256::digest(bytes).into())
}

fn contents(path: &Path) -> Result<Vec<u8>, String> {
    // Opening a pipe waits for its other end, so the kind is asked for first.
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    match bytes.len() as u64 {
        ..=MAX_BYTES => Ok(bytes),
        _ => Err(format!("it is larger than {MAX_BYTES} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_named_file_is_seen_and_the_same_contents_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tls.crt");
        let name = path.to_str().unwrap();
        let mut named = Named::default();
        assert!(named.are_the_same(), "nothing is named");
        assert!(named.read(name).unwrap_err().contains("No such file"));
        assert!(named.are_the_same(), "still not there");

        std::fs::write(&path, "one").unwrap();
        assert!(!named.are_the_same(), "there now");
        assert_eq!(named.read(name).unwrap(), b"one");
        std::fs::write(&path, "one").unwrap();
        assert!(named.are_the_same());
        std::fs::write(&path, "two").unwrap();
        assert!(!named.are_the_same());
        assert_eq!(named.paths().collect::<Vec<_>>(), [path.as_path()]);
    }

    #[test]
    fn what_is_too_large_or_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        std::fs::write(&path, vec![b'a'; 1024 * 1024 + 1]).unwrap();
        let mut named = Named::default();
        let large = named.read(path.to_str().unwrap()).unwrap_err();
        assert!(large.contains("larger"), "{large}");
        let folder = folder.path().to_str().unwrap();
        assert_eq!(named.read(folder), Err("it is not a file".to_owned()));
    }
}
