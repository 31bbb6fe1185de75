//! What the documents say to type works, and what they say to write is valid.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Sluice, sluice::command};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_first_config_answers_by_itself() {
    let yaml = fs::read_to_string(root().join("config/sluice.yaml")).unwrap();
    let listen = yaml
        .lines()
        .find(|line| line.trim_start().starts_with("listen:"))
        .unwrap();
    let sluice = Sluice::start(&yaml.replace(listen, "  listen: 127.0.0.1:0"));
    let echo = sluice.get("/hello").with_status(200).json();
    assert_eq!(echo["path"], "/hello");
}

#[test]
fn configs_in_the_repository_are_valid() {
    let files = files_in("config", "yaml");
    assert!(!files.is_empty(), "no configs");
    for file in files {
        let path = file.to_str().unwrap();
        assert_valid(path, &["check", "-c", path], "");
    }
}

/// In comments too, where a file would have to exist.
#[test]
fn the_full_config_names_every_key() {
    let full = fs::read_to_string(root().join("config/full.yaml")).unwrap();
    let table = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let keys = table.lines().filter_map(|line| {
        let path = line.strip_prefix("| `")?.split_once('`')?.0;
        let key = path.rsplit('.').next()?.trim_end_matches("[]");
        (!path.starts_with('$') && line.matches('|').count() >= 6).then_some((path, key))
    });
    let mut count = 0;
    for (path, key) in keys {
        count += 1;
        let named = full.lines().any(|line| {
            let line = line.trim_start_matches([' ', '-', '#']);
            line.starts_with(&format!("{key}:"))
        });
        assert!(named, "{path} is not in config/full.yaml");
    }
    assert!(count > 200, "{count} keys");
}

#[test]
fn configs_in_the_documents_are_valid() {
    let mut pages = files_in("docs", "md");
    pages.push(root().join("README.md"));
    let mut configs = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for (number, block) in yaml_blocks(&text).enumerate() {
            if is_whole_config(&block) {
                configs += 1;
                let named = format!("block {number} of {}", page.display());
                assert_valid(&named, &["check", "-c", "CONFIG"], &block);
            }
        }
    }
    assert!(configs > 0, "no config in any document");
}

#[test]
fn the_readme_names_the_commands_that_ci_runs() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(
        readme.contains("\ncargo test\n"),
        "the test command stands on a line of its own"
    );
    assert!(
        ci.lines().any(|line| line.trim() == "cargo test"),
        "and .ci/run runs just that"
    );
    assert!(readme.contains("\ncargo run -- -c config/sluice.yaml\n"));
}

#[track_caller]
fn assert_valid(what: &str, arguments: &[&str], config: &str) {
    let output = command(config, arguments);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}:\n{config}\n{text}");
}

/// Not a snippet of one.
fn is_whole_config(block: &str) -> bool {
    ["server:", "listen:", "rules:"]
        .iter()
        .all(|key| block.contains(key))
        && block.starts_with("server:")
}

fn yaml_blocks(page: &str) -> impl Iterator<Item = String> {
    let blocks = page.split("```yaml\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
}

/// The files below a folder with this ending.
fn files_in(folder: &str, ending: &str) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![root().join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == ending)
            {
                found.push(path);
            }
        }
    }
    found
}
