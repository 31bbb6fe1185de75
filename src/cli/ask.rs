//! The commands that ask a running program to change something, or wait until it is ready.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::remote::{Answer, Remote, RemoteError};

/// Between two looks at a program that is not ready, or not gone yet.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct Plain {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Args)]
pub(super) struct Drain {
    /// Return when the program has ended.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// The generation to bring back; the one before without it.
    generation: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Args)]
pub(super) struct LogLevel {
    /// A level, or levels by target: `info,sluice::proxy=debug`.
    filter: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Args)]
pub(super) struct WaitReady {
    /// How long to wait.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, serde::Deserialize)]
struct Done {
    generation: u64,
    message: String,
}

#[derive(Debug, serde::Deserialize)]
struct Failed {
    errors: Vec<String>,
}

pub(super) fn reload(args: &Plain) -> ExitCode {
    change(&args.remote, "/reload")
}

pub(super) fn unpin(args: &Plain) -> ExitCode {
    change(&args.remote, "/unpin")
}

pub(super) fn quit(args: &Plain) -> ExitCode {
    change(&args.remote, "/quitquitquit")
}

pub(super) fn rollback(args: &Rollback) -> ExitCode {
    match args.generation {
        Some(generation) => change(&args.remote, &format!("/rollback?generation={generation}")),
        None => change(&args.remote, "/rollback"),
    }
}

pub(super) fn log_level(args: &LogLevel) -> ExitCode {
    let encoded: String = args
        .filter
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    change(&args.remote, &format!("/log?level={encoded}"))
}

pub(super) fn drain(args: &Drain) -> ExitCode {
    let asked = change(&args.remote, "/drain");
    if args.wait && asked == ExitCode::SUCCESS {
        // The port closes with the program: it drains for as long as its configuration says.
        while args.remote.get("/livez").is_ok() {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    asked
}

pub(super) fn wait_ready(args: &WaitReady) -> ExitCode {
    let deadline = Instant::now() + args.timeout;
    loop {
        let last = match args.remote.get("/readyz") {
            Ok(answer) if answer.code == 200 => return say("ready", ExitCode::SUCCESS),
            Ok(answer) => answer.body,
            Err(error @ RemoteError::Url(_)) => return fail(&error),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return complain(&format!("not ready: {}", last.trim()));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn change(remote: &Remote, path: &str) -> ExitCode {
    let answer = match remote.post(path) {
        Ok(answer) => answer,
        Err(error) => return fail(&error),
    };
    if answer.code == 200 {
        return match serde_json::from_str::<Done>(&answer.body) {
            Ok(Done {
                generation,
                message,
            }) => say(
                &format!("{message} (generation {generation})"),
                ExitCode::SUCCESS,
            ),
            Err(error) => complain(&format!("{path} was answered with something else: {error}")),
        };
    }
    refused(path, &answer)
}

/// Everything that was wrong.
pub(super) fn refused(path: &str, answer: &Answer) -> ExitCode {
    match serde_json::from_str::<Failed>(&answer.body) {
        Ok(Failed { errors }) => complain(&errors.join("\n")),
        Err(_) => complain(&format!(
            "{path} answered {}: {}",
            answer.code,
            answer.body.trim()
        )),
    }
}

/// An error with all that caused it, in one line.
pub(super) fn fail(error: &RemoteError) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    complain(&text)
}

pub(super) fn complain(text: &str) -> ExitCode {
    // With stderr gone there is only the exit code.
    let _unwritten = writeln!(io::stderr(), "sluice: {text}");
    ExitCode::FAILURE
}

pub(super) fn say(text: &str, code: ExitCode) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// `250ms`, `5s`, `1m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .map_err(|_| "write it like `5s`".to_owned())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err("write it with its unit: `250ms`, `5s` or `1m`".to_owned()),
    };
    Ok(Duration::from_millis(
        number.saturating_mul(millis).min(86_400_000),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("5").is_err() && duration("s").is_err() && duration("5h").is_err());
    }
}
