//! `sluice top`: the picture of `sluice status`, drawn again and again, with rates between two looks.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::ask::{duration, fail};
use super::remote::Remote;
use super::status::{picture, sample};

/// To the top left, and everything cleared.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Between two pictures.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    every: Duration,
    /// How many pictures; without it until interrupted.
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let mut before = None;
    for drawn in 0_u64.. {
        if args.count.is_some_and(|count| drawn >= count) {
            break;
        }
        if drawn > 0 {
            std::thread::sleep(args.every);
        }
        let now = match sample(&args.remote) {
            Ok(now) => now,
            Err(error) => return fail(&error),
        };
        let text = picture::draw(&now, before.as_ref());
        let mut stdout = io::stdout().lock();
        let shown = write!(stdout, "{CLEAR}{text}").and_then(|()| stdout.flush());
        if shown.is_err() {
            return ExitCode::FAILURE;
        }
        before = Some(now);
    }
    ExitCode::SUCCESS
}
