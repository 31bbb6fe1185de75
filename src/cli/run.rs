//! `sluice run`: reads the configuration for the first time, and becomes the supervisor if it can be
//! served.

use std::path::PathBuf;
use std::process::ExitCode;

use super::check;
use crate::proxy::error::Reason;
use crate::supervisor::{self, Launch, Start, launch};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file; it is watched, and every change of it takes effect at once.
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "SLUICE_CONFIG",
        default_value = "/etc/sluice/sluice.yaml"
    )]
    pub(super) config: PathBuf,
    /// Keep a copy of the last configuration that was served here, and start with it when the file
    /// is not valid.
    #[arg(long, value_name = "FILE", env = "SLUICE_LAST_GOOD")]
    pub(super) last_good: Option<PathBuf>,
    /// Take over from the supervisor at the other end of stdin, which starts this on SIGUSR2.
    #[arg(long, hide = true)]
    pub(super) takeover: bool,
}

pub(super) fn run(args: Args) -> ExitCode {
    let start = match args.takeover {
        true => Start::Takeover,
        false => Start::Afresh,
    };
    let launch = Launch {
        config: args.config,
        last_good: args.last_good,
        // Where it cannot be said, replacing the binary will say so.
        binary: std::env::current_exe().unwrap_or_default(),
        start,
        reasons: reasons(),
    };
    match launch::first(&launch) {
        Ok(first) => supervisor::run(launch, first),
        Err(refused) => {
            check::explain(&launch.config, &refused.text, &refused.loaded);
            ExitCode::FAILURE
        }
    }
}

/// The supervisor shows what workers count, and knows nothing else of what they do.
fn reasons() -> &'static [&'static str] {
    let codes: Vec<&'static str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    codes.leak()
}
