//! What supervisor and worker say to each other, and how it travels: messages in frames over a unix
//! stream, file descriptors beside them.
//!
//! Not here: what either does about a message.

pub mod channel;
pub mod frame;
pub mod message;
