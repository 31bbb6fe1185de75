//! What only somebody outside can judge, with where it stands in the text: a certificate by the day
//! (`dates`), an address by whether it can be listened on.

use std::net::SocketAddr;

use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::yaml::{NodeId, Tree};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    path: String,
    line: u32,
    column: u32,
    pub(super) value: T,
}

/// An address of a listener or of the admin port.
pub type Address = Located<SocketAddr>;

impl<T> Located<T> {
    pub(super) fn at(tree: &Tree<'_>, at: NodeId, value: T) -> Self {
        let place = tree.place(at);
        Self {
            path: tree.path(at),
            line: place.line,
            column: place.column,
            value,
        }
    }

    /// Not from the text.
    pub(in crate::model) fn elsewhere(path: String, value: T) -> Self {
        let (line, column) = (1, 1);
        Self {
            path,
            line,
            column,
            value,
        }
    }

    pub(super) fn diagnostic(&self, severity: Severity, message: String, help: &str) -> Diagnostic {
        Diagnostic {
            severity,
            path: self.path.clone(),
            line: self.line,
            column: self.column,
            message,
            help: help.to_owned(),
        }
    }
}

impl Address {
    pub fn address(&self) -> SocketAddr {
        self.value
    }

    pub fn refused(&self, message: String, help: &str) -> Diagnostic {
        self.diagnostic(Severity::Error, message, help)
    }
}
