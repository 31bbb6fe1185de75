//! Programs that others wrote, as clients and as servers: what they cannot read, no user can. A
//! missing one skips the test with a printed reason, and is a failure where `CI=true` promises that
//! it is there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program, where it is installed.
#[track_caller]
pub(crate) fn find(program: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian puts servers; not in every user's path.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders
        .map(|folder: PathBuf| folder.join(program))
        .find(|file| file.is_file());
    if found.is_none() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "{program} is not installed"
        );
        eprintln!("skipped: {program} is not installed");
    }
    found.map(Command::new)
}

/// A script of `tests/python`, where the project's virtual environment has the package that it needs.
#[track_caller]
pub(crate) fn python(package: &str, script: &str) -> Option<Command> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = root.join(".venv/bin/python");
    let has_package = Command::new(&interpreter)
        .args(["-c", &format!("import {package}")])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_package {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "{package} is not in .venv"
        );
        eprintln!("skipped: {package} is not in .venv; see tests/python/requirements.txt");
        return None;
    }
    let mut command = Command::new(interpreter);
    command.arg(root.join("tests/python").join(script));
    Some(command)
}

/// Runs it to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{told}",
        output.status
    );
    output
}
