//! The sources as the rules see them: which files there are, what in them is code, and which modules
//! they name. Reads text, not syntax.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file, and what of it is neither comment nor test.
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) code: String,
}

/// The crate's own modules that a file names, but for `allowed`.
pub(crate) fn imports_but(source: &Source, allowed: &[&str]) -> Vec<String> {
    imports(source)
        .into_iter()
        .filter(|import| !allowed.contains(&import.as_str()))
        .collect()
}

/// The top-level modules of this crate that a file names, by `crate::` or by enough `super::`.
pub(crate) fn imports(source: &Source) -> BTreeSet<String> {
    let to_root = "super::".repeat(source.path.matches('/').count());
    let deeper = format!("{to_root}super::");
    let code = source
        .code
        .replace(&deeper, "")
        .replace(&to_root, "crate::");
    code.split("crate::")
        .skip(1)
        .flat_map(first_names)
        .collect()
}

/// `model::x` names `model`; `{a::b, c}` names `a` and `c`.
fn first_names(path: &str) -> Vec<String> {
    let word = |text: &str| {
        let text = text.trim_start();
        let end = text
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        text[..end].to_owned()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![word(path)];
    };
    let (mut depth, mut names) = (0, vec![word(group)]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(word(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn imports_are_seen_in_every_form() {
    let source = |path: &str, code: &str| Source {
        path: path.to_owned(),
        text: String::new(),
        code: code.to_owned(),
    };
    let named = |path, code| imports(&source(path, code)).into_iter().collect::<Vec<_>>();
    assert_eq!(named("src/a.rs", "use crate::model::x;"), ["model"]);
    assert_eq!(
        named(
            "src/a.rs",
            "use crate::{\n model::{x, y}, proxy,\n shm::z};"
        ),
        ["model", "proxy", "shm"]
    );
    assert_eq!(named("src/a/b.rs", "super::super::shm::x()"), ["shm"]);
    assert!(named("src/a/b.rs", "use super::shm::x;").is_empty());
}

pub(crate) fn is_in(path: &str, part: &str) -> bool {
    let rest = path.strip_prefix(part);
    rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

pub(crate) fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The sources whose path, from the root, is of this kind; never tests below src.
pub(crate) fn matching(kind: impl Fn(&str) -> bool) -> Vec<Source> {
    let all = sources().into_iter();
    all.filter(|source| kind(&source.path)).collect()
}

pub(crate) fn sources() -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    for folder in ["src", "tests", "fuzz", "bench"] {
        collect(&root.join(folder), "rs", &mut files);
    }
    assert!(files.len() > 10, "only {} sources", files.len());
    files.iter().map(|file| Source::read(&root, file)).collect()
}

impl Source {
    fn read(root: &Path, file: &Path) -> Source {
        let path = file
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let text = fs::read_to_string(file).unwrap();
        let own = if is_test_file(&path) {
            ""
        } else {
            &text[..tests_start(&text)]
        };
        let code = own
            .lines()
            .map(without_comment)
            .collect::<Vec<_>>()
            .join("\n");
        Source { path, code, text }
    }
}

/// Where the tests in a file begin: they stand last. A module of tests in a file of its own, which is
/// only named here, is code like any other.
pub(crate) fn tests_start(text: &str) -> usize {
    let marks = text.match_indices("#[cfg(test)]\nmod ");
    let inline = |at: &usize| {
        text[*at..]
            .lines()
            .nth(1)
            .is_some_and(|line| line.ends_with('{'))
    };
    marks.map(|(at, _)| at).find(inline).unwrap_or(text.len())
}

fn without_comment(line: &str) -> &str {
    let comment = line
        .match_indices("//")
        .find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder with this ending, apart from what builds leave behind.
pub(crate) fn collect(folder: &Path, ending: &str, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name();
        let built = [
            "target",
            ".git",
            "node_modules",
            "corpus",
            "artifacts",
            "out",
        ];
        if entry.file_type().unwrap().is_dir() {
            if !built.iter().any(|built| name == *built) {
                collect(&path, ending, into);
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == ending)
        {
            into.push(path);
        }
    }
}

/// The targets of links that do not lead out of the repository, without their anchors.
pub(crate) fn local_links(page: &str) -> Vec<String> {
    let targets = page
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    let local = local.filter(|target| !target.starts_with("mailto:") && !target.contains(' '));
    local
        .map(|target| target.split('#').next().unwrap_or_default().to_owned())
        .collect()
}
