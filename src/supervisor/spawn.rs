//! The only place where processes are made: this program's own binary as a worker, or whatever stands
//! in the place that it was started from as its successor; each with its end of a channel as stdin. Nothing else is inherited but stdout, stderr and the environment.
//!
//! Not here: waiting for them (`children`).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::unistd::Pid;

use super::launch::Launch;
use crate::ipc::channel;

/// The binary that runs, even where its file has been replaced or deleted meanwhile.
const OURSELVES: &str = "/proc/self/exe";

/// A process that was started, and our end of the channel to it.
pub(super) struct Spawned {
    pub(super) pid: Pid,
    pub(super) stream: UnixStream,
}

pub(super) fn worker(slot: u16) -> io::Result<Spawned> {
    start(Command::new(OURSELVES).args(["worker", "--slot", &slot.to_string()]))
}

/// The file that we were started from, as it is now.
pub(super) fn successor(launch: &Launch) -> io::Result<Spawned> {
    let mut command = Command::new(&launch.binary);
    command
        .arg("run")
        .arg("--takeover")
        .arg("--config")
        .arg(&launch.config);
    if let Some(path) = &launch.last_good {
        command.arg("--last-good").arg(path);
    }
    start(&mut command)
}

fn start(command: &mut Command) -> io::Result<Spawned> {
    let (ours, theirs) = channel::pair()?;
    let child = command
        .arg0("sluice")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()?;
    // Not waited for here: the supervisor reaps all its children in one place.
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(Spawned {
        pid: Pid::from_raw(pid),
        stream: ours,
    })
}
