//! The first process: brings configurations to the workers and keeps the workers alive. No byte of a
//! request ever passes here.
//!
//! `state` decides, `engine` does what it decides and tells it what happened.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::LocalSet;

use crate::log;

mod admin_port;
mod children;
mod cpus;
mod engine;
mod handover;
mod health;
mod intake;
pub mod launch;
mod measure;
mod resolver;
mod returns;
mod roster;
mod signals;
mod sockets;
mod spawn;
pub mod state;
mod tickets;

pub use launch::{First, Launch, Start};

use engine::Engine;

/// Files that are read and validated at once, and names that are resolved: none of it may hold up the
/// loop, and none needs many threads.
const HELPER_THREADS: usize = 4;
/// They end soon: what the allocator keeps for a thread is given back when it ends.
const HELPER_IDLE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
enum SupervisorError {
    #[error("could not start")]
    Start(#[from] io::Error),
    #[error("the shared segment cannot be used")]
    Segment(#[from] crate::shm::ShmError),
    #[error("the predecessor cannot be followed")]
    Handover(#[from] handover::HandoverError),
    #[error("the first configuration cannot be sent to workers: {0}")]
    Pack(String),
    #[error("the generation that is pinned cannot be served by this binary: {0}")]
    Pinned(String),
}

/// Lives until it is drained.
pub fn run(launch: Launch, first: First) -> ExitCode {
    let log = log::init("supervisor".to_owned(), first.log());
    crate::slack::share_one_heap();
    match live(launch, first, log) {
        Ok(code) => code,
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "supervisor failed");
            ExitCode::FAILURE
        }
    }
}

fn live(launch: Launch, first: First, log: log::Handle) -> Result<ExitCode, SupervisorError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(HELPER_THREADS)
        .thread_keep_alive(HELPER_IDLE)
        .build()?;
    let code = LocalSet::new().block_on(&runtime, async {
        Engine::start(launch, first, log).await?.run().await
    });
    // A name server that does not answer must not hold up the end.
    runtime.shutdown_background();
    code
}
