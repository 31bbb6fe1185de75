//! `sluice schema`: what an editor needs to complete keys and to mark mistakes while typing.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::model;

pub(super) fn run() -> ExitCode {
    match write(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn write(out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &model::schema())?;
    writeln!(out)
}
