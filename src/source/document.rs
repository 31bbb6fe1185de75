//! A configuration file as it stands on disk now: its text, what that means within this environment,
//! and everything wrong with it. One way for every process and command that reads one.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::files::Named;
use super::{secrets, text};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::secret::SecretRef;
use crate::model::{self, Loaded, Today};

/// Text and meaning; a file that cannot be read has no text and one error.
#[derive(Debug)]
pub struct Document {
    pub text: String,
    pub loaded: Loaded,
    /// The files that it names beside itself, as they were.
    pub files: Named,
}

/// Whether a certificate with this fingerprint may be served although it is not valid today.
pub type Tolerates<'a> = dyn Fn(&str) -> bool + 'a;

/// Reads and validates, with the secrets and certificates that it refers to.
pub fn load(path: &Path, tolerates: &Tolerates<'_>) -> Document {
    match read(path) {
        Ok(text) => parse(text, tolerates),
        Err(error) => unreadable(path, &error),
    }
}

pub fn read(path: &Path) -> Result<String, text::UnreadableText> {
    text::read(path, model::MAX_BYTES as u64)
}

pub fn parse(text: String, tolerates: &Tolerates<'_>) -> Document {
    let files = RefCell::new(Named::default());
    let mut resolve = |secret: &SecretRef| secrets::resolve(secret, &mut files.borrow_mut());
    let mut read = |path: &str| files.borrow_mut().read(path);
    let loaded = model::load_with(&text, &mut resolve, &mut read);
    let loaded = loaded.within(&mut |name| std::env::var(name).ok());
    let loaded = loaded.dated(&Today {
        now: seconds_since_1970(),
        tolerates,
    });
    Document {
        text,
        loaded,
        files: files.into_inner(),
    }
}

fn seconds_since_1970() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// What a generation is known by: the SHA-256 of its text in hex.
pub fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a copy beside and renames it over, so that it is there whole or not at all. Nobody but its
/// owner reads it: the text may hold what is nobody else's business.
pub fn keep(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(beside, path)
}

pub fn unreadable(path: &Path, error: &text::UnreadableText) -> Document {
    let diagnostic = Diagnostic {
        severity: Severity::Error,
        path: String::new(),
        line: 1,
        column: 1,
        message: format!("{} cannot be read: {error}", path.display()),
        help: "name a readable YAML file with `--config FILE`".to_owned(),
    };
    let loaded = Loaded::refused(vec![diagnostic]);
    Document {
        text: String::new(),
        loaded,
        files: Named::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_an_error_with_a_cure() {
        let document = load(Path::new("/nonexistent/sluice.yaml"), &|_| false);
        assert!(document.loaded.config.is_none());
        let error = document.loaded.errors().next().unwrap();
        assert!(
            error.message.contains("/nonexistent/sluice.yaml"),
            "{error}"
        );
    }

    #[test]
    fn a_copy_replaces_the_one_before_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last-good.yaml");
        keep(&path, b"one").unwrap();
        keep(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), "two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_hash_is_that_of_sha256sum() {
        let hash = hash("abc");
        assert!(
            hash.starts_with("ba7816bf8f01cfea") && hash.len() == 64,
            "{hash}"
        );
    }
}
