//! The command line: what can be asked for, and who answers. The only place that knows clap.

mod ask;
mod check;
mod diff;
mod explain;
mod history;
mod remote;
mod run;
mod schema;
mod status;
#[cfg(test)]
mod tests;
mod top;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A reverse proxy that can be edited in the middle of the day.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command: `run`.
    #[command(flatten)]
    run: run::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy; also what happens without a command.
    Run(run::Args),
    /// Validate a configuration: every error with its place and what to write instead.
    Check(check::Args),
    /// Say where a request would go, why, and what would be sent there.
    Explain(explain::Args),
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Say in words what a reload from one configuration to another would change.
    Diff(diff::Args),
    /// Show the last configurations of a running program, and what became of each.
    History(history::Args),
    /// Show a running program: state, workers, routes, upstreams.
    Status(status::Args),
    /// Show it again and again, with rates.
    Top(top::Args),
    /// Have a running program look at its configuration now; returns when the reload is over.
    Reload(ask::Plain),
    /// Have a running program finish what it does and end.
    Drain(ask::Drain),
    /// Have a sidecar end once its last connection has ended.
    Quit(ask::Plain),
    /// Bring an earlier generation back, and stay there until the file changes.
    Rollback(ask::Rollback),
    /// Follow the file again after a rollback.
    Unpin(ask::Plain),
    /// Change what a running program logs.
    LogLevel(ask::LogLevel),
    /// Wait until a running program is ready.
    WaitReady(ask::WaitReady),
    /// What the supervisor starts; of use to nobody else.
    #[command(hide = true)]
    Worker(worker::Args),
}

/// Exit codes: 0 is fine, 1 failed or invalid, 2 (from clap) a command line that makes no sense.
pub fn run() -> ExitCode {
    let line = Cli::parse();
    match line.command.unwrap_or(Command::Run(line.run)) {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Schema => schema::run(),
        Command::Diff(args) => diff::run(&args),
        Command::History(args) => history::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Reload(args) => ask::reload(&args),
        Command::Drain(args) => ask::drain(&args),
        Command::Quit(args) => ask::quit(&args),
        Command::Rollback(args) => ask::rollback(&args),
        Command::Unpin(args) => ask::unpin(&args),
        Command::LogLevel(args) => ask::log_level(&args),
        Command::WaitReady(args) => ask::wait_ready(&args),
        Command::Worker(args) => worker::run(&args),
    }
}
