//! `sluice check`: is this file a configuration, and if not, what is wrong with it, where, and what
//! to write instead.

mod text;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

use crate::model::Loaded;
use crate::model::diagnostic::Diagnostic;
use crate::source::document::{self, Document};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to check.
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "SLUICE_CONFIG",
        default_value = "/etc/sluice/sluice.yaml"
    )]
    config: PathBuf,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What a program gets to read.
#[derive(Debug, Serialize)]
struct Report<'r> {
    file: String,
    diagnostics: &'r [Diagnostic],
    summary: Summary,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Summary {
    valid: bool,
    errors: usize,
    warnings: usize,
    upstreams: usize,
    rules: usize,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let document = document::load(&args.config, &|_| false);
    let Document {
        text: yaml, loaded, ..
    } = document;
    let summary = Summary::of(&loaded);
    let written = match args.format {
        Format::Text => text::write(
            &mut io::stdout().lock(),
            &args.config,
            &yaml,
            &loaded,
            summary,
        ),
        Format::Json => write_json(&args.config, &loaded, summary),
    };
    // A reader that has gone away (`| head`) changes nothing about the file.
    match (written, summary.valid) {
        (Err(error), _) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        (_, true) => ExitCode::SUCCESS,
        (_, false) => ExitCode::FAILURE,
    }
}

/// The same for a program that was to start with the file, on stderr.
pub(super) fn explain(path: &Path, yaml: &str, loaded: &Loaded) {
    let summary = Summary::of(loaded);
    // Nobody can be told that stderr cannot be written.
    let _unwritten = text::write(&mut io::stderr().lock(), path, yaml, loaded, summary);
}

fn write_json(path: &Path, loaded: &Loaded, summary: Summary) -> io::Result<()> {
    let file = path.display().to_string();
    let report = Report {
        file,
        diagnostics: &loaded.diagnostics,
        summary,
    };
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &report)?;
    writeln!(out)
}

impl Summary {
    fn of(loaded: &Loaded) -> Self {
        let config = loaded.config.as_ref();
        Self {
            valid: config.is_some(),
            errors: loaded.errors().count(),
            warnings: loaded.warnings().count(),
            upstreams: config.map_or(0, |config| config.upstreams.len()),
            rules: config.map_or(0, |config| config.rules.len()),
        }
    }
}
