//! `sluice history`: the last configurations of a running program, and what became of each.

use std::fmt::Write;
use std::process::ExitCode;

use serde::Deserialize;

use super::ask::{fail, say};
use super::remote::Remote;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
}

/// What is read of `/status`.
#[derive(Debug, Deserialize)]
struct Status {
    generation: u64,
    pinned: Option<u64>,
    history: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    at: String,
    result: String,
    generation: Option<u64>,
    config_hash: String,
    #[serde(default)]
    source: String,
    duration_ms: u64,
    errors: Vec<String>,
    changes: Vec<String>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    match args.remote.read::<Status>("/status") {
        Ok(status) => say(table(&status).trim_end(), ExitCode::SUCCESS),
        Err(error) => fail(&error),
    }
}

fn table(status: &Status) -> String {
    let mut text = String::new();
    for entry in &status.history {
        let generation = entry
            .generation
            .map_or("-".to_owned(), |number| number.to_string());
        let serves = if entry.generation == Some(status.generation) {
            "*"
        } else {
            " "
        };
        let Entry {
            at,
            result,
            config_hash,
            source,
            duration_ms,
            ..
        } = entry;
        // Writing to a string cannot fail.
        let _infallible = writeln!(
            text,
            "{serves} {generation:>5}  {at}  {result:<11}  {config_hash}  {duration_ms} ms  {source}"
        );
        for line in entry.errors.iter().chain(&entry.changes) {
            let _infallible = writeln!(text, "           {line}");
        }
    }
    if let Some(pinned) = status.pinned {
        let _infallible = writeln!(text, "pinned to generation {pinned} until the file changes");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_serves_is_marked_and_errors_are_shown() {
        let json = r#"{"generation": 7, "pinned": 5, "more": true, "history": [
            {"at": "T2", "result": "rejected", "generation": null, "configHash": "ab",
             "source": "/etc/sluice.yaml", "durationMs": 3, "errors": ["no such upstream"], "changes": []},
            {"at": "T1", "result": "rolled-back", "generation": 7, "configHash": "cd",
             "source": "rollback to generation 5", "durationMs": 12, "errors": [], "changes": ["rule `a` added at place 1"]}]}"#;
        let text = table(&serde_json::from_str(json).unwrap());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("      -  T2  rejected"), "{text}");
        assert_eq!(lines[1].trim(), "no such upstream");
        assert!(lines[2].starts_with("*     7  T1  rolled-back"), "{text}");
        assert!(lines[2].ends_with("rollback to generation 5"), "{text}");
        assert_eq!(lines[3].trim(), "rule `a` added at place 1");
        assert_eq!(lines[4], "pinned to generation 5 until the file changes");
    }
}
