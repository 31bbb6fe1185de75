//! Sluice: a reverse proxy whose whole behaviour is one YAML file that can be edited while it runs.
//!
//! The tree is the picture (docs/architecture.md): `model` is pure; `ipc`, `source`, `shm`, `proxy`
//! and `admin` are edges that do not know each other; `worker` and `supervisor` are the two
//! processes, which meet only in `ipc::message`. `tests/tidy.rs` holds the layers to this.

// What stands in for a mapping under Miri (shm/map_in_miri.rs).
#![cfg_attr(miri, feature(atomic_from_mut))]

// So that what the fuzz targets share with the tests can name the crate as they do.
#[cfg(test)]
extern crate self as sluice;

pub mod admin;
pub mod cli;
pub mod container;
pub mod ipc;
pub mod log;
pub mod model;
pub mod proxy;
pub mod shm;
mod slack;
pub mod source;
pub mod supervisor;
pub mod worker;
