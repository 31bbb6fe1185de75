//! `sluice explain`: where would this request go, why, and what would be sent there. Asks the compiled
//! snapshot that a worker would serve from, and connects to nothing.

mod report;
mod request;
mod text;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use self::report::{Report, Shown};
use self::request::Request;
use crate::model::secret::{MASK, SecretRef};
use crate::model::snapshot::{Snapshot, SnapshotError};
use crate::model::{self, config::Config};
use crate::source::files::Named;
use crate::source::text::{UnreadableText, read};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration to ask.
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "SLUICE_CONFIG",
        default_value = "/etc/sluice/sluice.yaml"
    )]
    config: PathBuf,
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A header of the request, as often as needed.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The address that the request comes from.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    from: IpAddr,
    /// Show every rule that was tried, also where there are many.
    #[arg(long)]
    all: bool,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// `http://shop.example/cart?x=1`, or a path alone.
    #[arg(value_name = "URL")]
    url: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
enum ExplainError {
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        path: String,
        source: UnreadableText,
    },
    #[error("{path} is not valid:\n{}", .errors.join("\n"))]
    Invalid { path: String, errors: Vec<String> },
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Request(#[from] request::InvalidRequest),
    #[error("the answer cannot be written: {0}")]
    Write(#[from] io::Error),
}

pub(super) fn run(args: &Args) -> ExitCode {
    match explain(args) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has gone away (`| head`) has read what it wanted.
        Err(ExplainError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn explain(args: &Args) -> Result<(), ExplainError> {
    let request = Request::parse(&args.url, &args.method, &args.headers, args.from)?;
    let config = load(args)?;
    let snapshot = Snapshot::build(&config, 1)?;
    let shown = if args.all {
        Shown::All
    } else {
        Shown::Relevant
    };
    let report = Report::build(&config, &snapshot, &request, shown);
    let mut out = io::stdout().lock();
    match args.format {
        Format::Text => text::write(&mut out, &report)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

fn load(args: &Args) -> Result<Config, ExplainError> {
    let path = || args.config.display().to_string();
    let text =
        read(&args.config, model::MAX_BYTES as u64).map_err(|source| ExplainError::Unreadable {
            path: path(),
            source,
        })?;
    // No secret is shown, so none is read: it explains just as well where they are not at hand.
    let mut masked = |_: &SecretRef| Ok(MASK.to_owned());
    let mut files = Named::default();
    let loaded = model::load_with(&text, &mut masked, &mut |path| files.read(path));
    let errors = loaded.errors().map(ToString::to_string).collect();
    loaded.config.ok_or_else(|| ExplainError::Invalid {
        path: path(),
        errors,
    })
}
