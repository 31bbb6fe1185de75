//! `sluice status`: the picture of a running program, once. `sluice top` (`top`) draws the same again
//! and again.

pub(super) mod picture;

use std::process::ExitCode;

use super::ask::{fail, say};
use super::remote::{Remote, RemoteError};
use picture::Sample;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the JSON of `/status` instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let text = if args.json {
        args.remote
            .get("/status")
            .and_then(|answer| Ok(answer.ok("/status")?.body))
    } else {
        sample(&args.remote).map(|now| picture::draw(&now, None))
    };
    match text {
        Ok(text) => say(text.trim_end(), ExitCode::SUCCESS),
        Err(error) => fail(&error),
    }
}

/// More routes than a terminal has lines.
const ROUTES: usize = 50;

pub(super) fn sample(remote: &Remote) -> Result<Sample, RemoteError> {
    Ok(Sample {
        at: std::time::Instant::now(),
        status: remote.read("/status")?,
        routes: remote.read(&format!("/routes?top={ROUTES}"))?,
        upstreams: remote.read("/upstreams")?,
    })
}
