//! The first process: brings configurations to the workers and keeps the workers alive. No byte of a
//! request ever passes here.

pub mod state;
