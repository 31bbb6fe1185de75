//! `sluice diff`: what a reload from one configuration to another would change, in words.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::check;
use crate::model::change;
use crate::model::config::Config;
use crate::source::document;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration that is served now.
    old: PathBuf,
    /// The one that would be served.
    new: PathBuf,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let (Some(old), Some(new)) = (load(&args.old), load(&args.new)) else {
        return ExitCode::FAILURE;
    };
    match write(&old, &new) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// `None` after its errors have been shown.
fn load(path: &Path) -> Option<Config> {
    let mut document = document::load(path);
    let config = document.loaded.config.take();
    if config.is_none() {
        check::explain(path, &document.text, &document.loaded);
    }
    config
}

fn write(old: &Config, new: &Config) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let changes = change::between(old, new);
    if changes.is_empty() {
        return writeln!(out, "nothing changes");
    }
    changes
        .iter()
        .try_for_each(|change| writeln!(out, "{change}"))
}
