//! `sluice diff`: what a reload from one configuration to another would change, in words. The first one
//! is a file, or what a running program serves.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::remote::Remote;
use super::{ask, check};
use crate::model::change;
use crate::model::config::Config;
use crate::source::document;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration that is served now, and the one that would be served; the latter alone is compared with
    /// what the program at `--admin` serves.
    #[arg(value_names = ["OLD", "NEW"], num_args = 1..=2, required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

/// What `POST /diff` answers.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Answered {
    changes: Vec<String>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    match args.files.as_slice() {
        [old, new] => between_files(old, new),
        [new] => with_running(&args.remote, new),
        // Refused by clap.
        _ => ExitCode::FAILURE,
    }
}

fn between_files(old: &Path, new: &Path) -> ExitCode {
    let (Some(old), Some(new)) = (load(old), load(new)) else {
        return ExitCode::FAILURE;
    };
    let changes = change::between(&old, &new);
    show(changes.iter().map(ToString::to_string))
}

/// The running program compares: it alone knows its secrets, and what the new text means where it runs.
fn with_running(remote: &Remote, new: &Path) -> ExitCode {
    let text = match document::read(new) {
        Ok(text) => text,
        Err(error) => {
            let document = document::unreadable(new, &error);
            check::explain(new, &document.text, &document.loaded);
            return ExitCode::FAILURE;
        }
    };
    let answer = match remote.send("/diff", &text) {
        Ok(answer) => answer,
        Err(error) => return ask::fail(&error),
    };
    if answer.code != 200 {
        return ask::refused("/diff", &answer);
    }
    match serde_json::from_str::<Answered>(&answer.body) {
        Ok(answered) => show(answered.changes.into_iter()),
        Err(error) => ask::complain(&format!("/diff was answered with something else: {error}")),
    }
}

/// `None` after its errors have been shown.
fn load(path: &Path) -> Option<Config> {
    let mut document = document::load(path, &|_| true);
    let config = document.loaded.config.take();
    if config.is_none() {
        check::explain(path, &document.text, &document.loaded);
    }
    config
}

fn show(changes: impl ExactSizeIterator<Item = String>) -> ExitCode {
    match write(changes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn write(mut changes: impl ExactSizeIterator<Item = String>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if changes.len() == 0 {
        return writeln!(out, "nothing changes");
    }
    changes.try_for_each(|change| writeln!(out, "{change}"))
}
