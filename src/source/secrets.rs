//! What `env:NAME` and `file:PATH` stand for on this machine, at this moment.
//!
//! Not here: where in a configuration they may be written (`model::template`).

use std::path::Path;

use super::files::Named;
use crate::model::secret::SecretRef;

/// The largest file that holds a secret, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// Reads one secret. A file is remembered in `files`, so that a change of it is noticed; it loses one
/// newline at its end, because editors and `kubectl` put one there.
pub fn resolve(reference: &SecretRef, files: &mut Named) -> Result<String, String> {
    match reference {
        SecretRef::Env(name) => from_environment(name),
        SecretRef::File(path) => text(files.read_at(Path::new(path))?),
    }
}

fn from_environment(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| match error {
        std::env::VarError::NotPresent => "it is not set".to_owned(),
        std::env::VarError::NotUnicode(_) => "it is not UTF-8".to_owned(),
    })
}

fn text(contents: Vec<u8>) -> Result<String, String> {
    if contents.len() > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    let mut text = String::from_utf8(contents).map_err(|_| "it is not UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(reference: &SecretRef) -> Result<String, String> {
        super::resolve(reference, &mut Named::default())
    }

    fn file(contents: &[u8]) -> (tempfile::TempDir, SecretRef) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, contents).unwrap();
        let reference = SecretRef::File(path.to_str().unwrap().to_owned());
        (folder, reference)
    }

    #[test]
    fn a_file_gives_its_text_without_the_last_newline() {
        for (contents, secret) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("", ""),
        ] {
            let (_folder, reference) = file(contents.as_bytes());
            assert_eq!(resolve(&reference).as_deref(), Ok(secret), "{contents:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let (folder, reference) = file(b"\xff");
        assert_eq!(resolve(&reference), Err("it is not UTF-8".to_owned()));
        let (_large, reference) = file(&vec![b'a'; 70_000]);
        assert_eq!(
            resolve(&reference),
            Err("it is larger than 65536 bytes".to_owned())
        );
        let folder = SecretRef::File(folder.path().to_str().unwrap().to_owned());
        assert_eq!(resolve(&folder), Err("it is not a file".to_owned()));
        let none = SecretRef::File("/nonexistent/secret".to_owned());
        assert!(resolve(&none).unwrap_err().contains("No such file"));
        let none = SecretRef::Env("SLUICE_TEST_NEVER_SET".to_owned());
        assert_eq!(resolve(&none), Err("it is not set".to_owned()));
    }

    #[test]
    fn a_file_is_remembered_whether_it_could_be_read_or_not() {
        let (folder, reference) = file(b"one");
        let mut files = Named::default();
        super::resolve(&reference, &mut files).unwrap();
        assert!(files.are_the_same());
        std::fs::write(folder.path().join("secret"), "two").unwrap();
        assert!(!files.are_the_same());

        let (_folder, too_large) = file(&vec![b'a'; 70_000]);
        let mut files = Named::default();
        super::resolve(&too_large, &mut files).unwrap_err();
        assert!(files.are_the_same(), "as unusable as before");
    }

    #[test]
    fn the_environment_gives_its_text() {
        // Set for every process that cargo starts.
        let name = SecretRef::Env("CARGO_PKG_NAME".to_owned());
        assert_eq!(resolve(&name).as_deref(), Ok("sluice"));
    }
}
