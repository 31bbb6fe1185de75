//! The second process: serves requests by what its supervisor tells it, with the sockets that its
//! supervisor lends it. Reads no file, talks to no API.
//!
//! Not here: the data plane (`proxy`), and any decision about generations.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::LocalOptions;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ipc::channel::{self, ChannelError};
use crate::log;

mod life;
mod sockets;

use life::Life;

#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error("could not start")]
    Start(#[source] io::Error),
    #[error("the first message did not come")]
    Hello(#[source] ChannelError),
    #[error("the supervisor said something else first")]
    NoHello,
    #[error("the shared segment cannot be used")]
    Segment(#[from] crate::shm::ShmError),
    #[error("the supervisor cannot be answered")]
    Answer(#[from] ChannelError),
}

/// Between two reloads there is no helper thread, nor what it keeps of what it has freed.
const HELPER_IDLE: Duration = Duration::from_millis(100);

/// Lives until it is told to drain, or its supervisor is gone.
pub fn run(slot: u16) -> ExitCode {
    // Started by way of /proc/self/exe, it would be called "exe" in every list of processes.
    let _only_a_name = nix::sys::prctl::set_name(c"sluice");
    let log = log::init(format!("worker-{slot}"), log::AT_START);
    match live(log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "worker failed");
            ExitCode::FAILURE
        }
    }
}

fn live(log: log::Handle) -> Result<(), WorkerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Comes and goes with a reload: builds snapshots, and nothing else.
        .max_blocking_threads(1)
        .thread_keep_alive(HELPER_IDLE)
        .build_local(LocalOptions::default())
        .map_err(WorkerError::Start)?;
    runtime.block_on(async {
        let _unheard = ignore_signals().map_err(WorkerError::Start)?;
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        let stream = UnixStream::from(stdin.map_err(WorkerError::Start)?);
        let (sender, receiver) = channel::open(stream).map_err(WorkerError::Start)?;
        Life::begin(sender, receiver, log).await?.run().await
    })
}

/// What a terminal or a service manager sends to all processes of the group is the supervisor's to
/// act on. A signal that somebody listens for does not end the process.
fn ignore_signals() -> io::Result<Vec<Signal>> {
    let kinds = [
        SignalKind::hangup(),
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::terminate(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
    ];
    kinds.into_iter().map(signal).collect()
}
