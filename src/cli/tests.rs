use super::*;
use clap::CommandFactory;
use std::path::PathBuf;

fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"sluice").chain(arguments))
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn run_is_what_happens_without_a_command() {
    let plain = parse(&["--config", "a.yaml"]).unwrap();
    assert!(plain.command.is_none());
    assert_eq!(plain.run.config, PathBuf::from("a.yaml"));
    let Some(Command::Run(run)) = parse(&["run", "-c", "b.yaml"]).unwrap().command else {
        panic!("not run");
    };
    assert_eq!(run.config, PathBuf::from("b.yaml"));
}

#[test]
fn nonsense_is_a_usage_error() {
    for nonsense in [&["fly"][..], &["run", "--fly"], &["run", "-c"]] {
        assert_eq!(parse(nonsense).unwrap_err().exit_code(), 2);
    }
}
