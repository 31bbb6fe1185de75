//! `sluice worker`: becomes a worker, whose supervisor is at the other end of stdin.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The worker's place among the workers; its name in the log.
    #[arg(long)]
    slot: u16,
}

pub(super) fn run(args: &Args) -> ExitCode {
    crate::worker::run(args.slot)
}
