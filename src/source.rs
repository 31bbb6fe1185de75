//! Where configuration comes from: files, the environment. This is the IO that `model` does not do.

pub mod document;
pub mod file;
pub mod files;
pub mod secrets;
pub mod text;
