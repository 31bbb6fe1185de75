//! What all requests of one client connection have in common: who is at its ends, and what its
//! handshake agreed on. In one piece, since each of the connections that idle has its own.
//!
//! Not here: bytes (`client`), and what is said over it.

use std::rc::Rc;

use super::ends::Ends;
use super::tls::secured::Secured;

pub(super) struct Line {
    pub(super) ends: Ends,
    /// Where it is a connection of TLS.
    pub(super) tls: Option<Rc<Secured>>,
}

impl Line {
    pub(super) fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }
}
