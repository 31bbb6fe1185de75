//! What is wrong with a configuration, where, and what to write instead.
//!
//! Not here: how a place is found in the text (`locate`), and how it is printed (`cli::check`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// One finding. Its order of fields is the order in which a person asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    pub severity: Severity,
    /// In the YAML: `server.rules[2].upstreams[0]`; empty is the document as a whole.
    pub path: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    pub message: String,
    /// What to write instead.
    pub help: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It works, but hardly as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// On one line, for logs and for the status.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            path,
            line,
            column,
            message,
            help,
        } = self;
        let path = if path.is_empty() { "(document)" } else { path };
        write!(
            f,
            "{severity} at {path} (line {line}, column {column}): {message}; {help}"
        )
    }
}
