//! The command line: what can be asked for, and who answers. The only place that knows clap.

mod check;
mod schema;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A reverse proxy that can be edited in the middle of the day.
#[derive(Debug, Parser)]
#[command(name = "sluice", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate a configuration: every error with its place and what to write instead.
    Check(check::Args),
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
}

/// Exit codes: 0 is fine, 1 failed or invalid, 2 (from clap) a command line that makes no sense.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Check(args) => check::run(&args),
        Command::Schema => schema::run(),
    }
}
