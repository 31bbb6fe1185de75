//! What happens to the headers of every request and response on their way through.
//!
//! Each filter takes the types of the `http` crate and nothing of a connection; the order in which
//! they are applied is told by `handler`.

pub(super) mod forwarded;
pub(super) mod hop;
pub(super) mod settings;
