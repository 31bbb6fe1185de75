//! Reads a file as text, never more than a bound, and nothing that could block for ever.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Why a file gave no text.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableText {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not a file")]
    NotAFile,
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    #[error("it is not UTF-8")]
    NotUtf8,
}

pub fn read(path: &Path, max_bytes: u64) -> Result<String, UnreadableText> {
    // Opening a pipe waits for its other end, so the kind is asked for first.
    if !std::fs::metadata(path)?.is_file() {
        return Err(UnreadableText::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(UnreadableText::TooLarge(max_bytes));
    }
    String::from_utf8(bytes).map_err(|_| UnreadableText::NotUtf8)
}
