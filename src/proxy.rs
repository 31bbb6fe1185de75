//! The data plane: from a client's connection to an upstream's, and back.

pub mod h1;
