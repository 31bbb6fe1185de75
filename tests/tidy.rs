//! The rules of the house, held over the sources: which layer may know which, what stands in one
//! place only, and the shape of files. docs/architecture.md says why.
//!
//! Reads text, not syntax: a rule that needs more than a line of code to be seen is not kept here.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is its job"
)]

#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/sources.rs"]
mod sources;

use std::fs;

use sources::{
    Source, collect, imports, imports_but, is_in, is_test_file, local_links, matching, root,
    sources, tests_start,
};

/// What `model` and the other pure parts may not touch: the world, and the clock.
const WORLD: [&str; 17] = [
    "tokio::",
    "hyper::",
    "axum::",
    "nix::",
    "rustix::",
    "socket2::",
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "std::os::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "Instant::now",
    "SystemTime",
];

/// Pure: same input, same result.
const PURE: [&str; 9] = [
    "src/model",
    "src/ipc/message",
    "src/ipc/frame",
    "src/shm/layout",
    "src/proxy/h1",
    "src/supervisor/state",
    "src/supervisor/health/ledger",
    "src/supervisor/resolver/book",
    "src/supervisor/resolver/search",
];

/// Parts that touch the world and do not know each other.
const EDGES: [&str; 5] = ["ipc", "source", "proxy", "admin", "shm"];

/// Where an edge knows another nevertheless, and why.
const EDGES_THAT_MEET: [(&str, &str, &str); 2] = [
    ("proxy", "shm", "what happens is counted where it happens"),
    ("admin", "shm", "a scrape sums the rows where they stand"),
];

/// The two processes, which meet in `ipc::message` alone.
const PROCESSES: [&str; 2] = ["supervisor", "worker"];

/// Code lines a file may have without its tests.
const LONGEST_FILE: usize = 400;

/// Files that are longer, how long they may be, and why. This list only ever shrinks.
const LONGER_FILES: [(&str, usize, &str); 0] = [];

const MAY_BE_UNSAFE: [&str; 2] = ["src/shm/map.rs", "src/slack.rs"];

/// The one file in tests/ that sleeps: in a loop that looks at a fact again.
const MAY_SLEEP: &str = "tests/integration/harness/wait.rs";

#[test]
fn pure_parts_touch_neither_the_world_nor_the_clock() {
    let pure = matching(|path| PURE.iter().any(|part| is_in(path, part)));
    assert_none(&pure, |source| {
        WORLD
            .into_iter()
            .filter(|w| source.code.contains(w))
            .collect()
    });
}

#[test]
fn model_knows_nothing_of_the_rest() {
    let model = matching(|path| is_in(path, "src/model"));
    assert_none(&model, |source| imports_but(source, &["model"]));
}

#[test]
fn messages_know_the_model_alone() {
    let messages = matching(|path| is_in(path, "src/ipc/message") || is_in(path, "src/ipc/frame"));
    assert_none(&messages, |source| imports_but(source, &["model", "ipc"]));
}

#[test]
fn edges_do_not_know_each_other() {
    for edge in EDGES {
        let files = matching(|path| is_in(path, &format!("src/{edge}")));
        assert_none(&files, |source| {
            let allowed = |other: &str| EDGES_THAT_MEET.iter().any(|m| (m.0, m.1) == (edge, other));
            let others = imports(source).into_iter();
            let others = others.filter(|other| EDGES.contains(&other.as_str()) && other != edge);
            others.filter(|other| !allowed(other)).collect()
        });
    }
}

#[test]
fn edges_do_not_know_the_processes() {
    let edges = matching(|path| EDGES.iter().any(|edge| is_in(path, &format!("src/{edge}"))));
    assert_none(&edges, |source| {
        let known = imports(source).into_iter();
        known
            .filter(|k| PROCESSES.contains(&k.as_str()) || k == "cli")
            .collect()
    });
}

#[test]
fn the_processes_meet_only_in_messages() {
    for (process, other) in [("supervisor", "worker"), ("worker", "supervisor")] {
        let files = matching(|path| is_in(path, &format!("src/{process}")));
        assert_none(&files, |source| {
            imports(source).into_iter().filter(|i| i == other).collect()
        });
    }
}

#[test]
fn the_supervisor_serves_no_traffic() {
    let supervisor = matching(|path| is_in(path, "src/supervisor"));
    assert_none(&supervisor, |source| {
        imports(source)
            .into_iter()
            .filter(|import| import == "proxy")
            .collect()
    });
}

#[test]
fn clap_stands_in_cli_only() {
    let others = matching(|path| path.starts_with("src/") && !is_in(path, "src/cli"));
    assert_none(&others, |source| {
        words(source, &["clap::", "derive(Parser", "derive(Subcommand"])
    });
    let cli = matching(|path| is_in(path, "src/cli"));
    assert!(
        cli.iter().any(|source| source.code.contains("clap::")),
        "clap is somewhere"
    );
}

#[test]
fn unsafe_stands_in_few_places() {
    let others = matching(|path| !MAY_BE_UNSAFE.contains(&path) && !is_in(path, "tests/tidy"));
    assert_none(&others, |source| {
        words(
            source,
            &["unsafe {", "unsafe fn", "unsafe impl", "unsafe_code"],
        )
    });
    for source in matching(|path| MAY_BE_UNSAFE.contains(&path)) {
        let blocks =
            source.code.matches("unsafe {").count() + source.code.matches("unsafe impl").count();
        let reasons = source.text.matches("SAFETY:").count();
        assert!(
            reasons >= blocks,
            "{}: {blocks} unsafe, {reasons} reasons",
            source.path
        );
    }
}

#[test]
fn processes_are_made_in_one_place() {
    let others = matching(|path| path.starts_with("src/") && path != "src/supervisor/spawn.rs");
    assert_none(&others, |source| {
        words(source, &["process::Command", "Command::new(", "fork()"])
    });
}

#[test]
fn every_module_says_what_it_is_for() {
    let all = matching(|path| !(path.starts_with("src/") && is_test_file(path)));
    assert_none(&all, |source| match source.text.starts_with("//! ") {
        true => Vec::new(),
        false => vec!["does not open with a //! doc".to_owned()],
    });
}

#[test]
fn files_are_short() {
    let too_long = |source: &Source| {
        let lines = source.text[..tests_start(&source.text)].lines().count();
        let longer = LONGER_FILES.iter().find(|(path, ..)| *path == source.path);
        let bound = longer.map_or(LONGEST_FILE, |(_, bound, _)| *bound);
        if lines > bound {
            vec![format!("{lines} lines, {bound} allowed")]
        } else {
            Vec::new()
        }
    };
    let code = matching(|path| !is_test_file(path));
    assert_none(&code, too_long);
    for (path, _, reason) in LONGER_FILES {
        assert!(
            code.iter().any(|source| source.path == path),
            "{path} ({reason}) is gone"
        );
    }
}

#[test]
fn nothing_is_left_for_later() {
    let all = matching(|path| !is_in(path, "tests/tidy"));
    assert_none(&all, |source| {
        let marks = ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("];
        marks
            .into_iter()
            .filter(|mark| source.text.contains(mark))
            .collect()
    });
}

#[test]
fn tests_wait_for_facts_and_never_sleep() {
    let outside = matching(|path| path.starts_with("tests/") && !is_in(path, "tests/tidy"));
    assert_none(&outside, |source| match source.path == MAY_SLEEP {
        true => sleeps_once(&source.text),
        false => source.text.matches("sleep(").map(str::to_owned).collect(),
    });
    let inside = matching(|path| path.starts_with("src/"));
    assert_none(&inside, |source| {
        let start = if is_test_file(&source.path) {
            0
        } else {
            tests_start(&source.text)
        };
        sleeps_once(&source.text[start..])
    });
}

/// Sleeps that stand in no loop: whoever looks at a fact again sleeps between the looks.
fn sleeps_once(tests: &str) -> Vec<String> {
    let lines: Vec<&str> = tests.lines().collect();
    let in_loop = |at: usize| {
        let before = &lines[at.saturating_sub(8)..at];
        before
            .iter()
            .any(|line| line.contains("while ") || line.contains("loop {"))
    };
    let sleeps = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.contains("sleep("));
    let alone = sleeps.filter(|(at, _)| !in_loop(*at));
    alone.map(|(_, line)| line.trim().to_owned()).collect()
}

#[test]
fn the_tree_has_one_shape() {
    assert_none(&sources(), |source| {
        let name = source.path.rsplit('/').next().unwrap();
        let mut wrong = Vec::new();
        if [
            "mod.rs",
            "util.rs",
            "utils.rs",
            "helpers.rs",
            "common.rs",
            "misc.rs",
        ]
        .contains(&name)
        {
            wrong.push("a name that says nothing".to_owned());
        }
        if source.path.starts_with("src/") && source.path.matches('/').count() > 4 {
            wrong.push("more than three folders deep".to_owned());
        }
        wrong
    });
}

#[test]
fn one_word_for_one_thing() {
    let code = matching(|path| path.starts_with("src/"));
    assert_none(&code, |source| {
        let lower = source.code.to_lowercase();
        ["backend", "downstream"]
            .into_iter()
            .filter(|word| lower.contains(word))
            .collect()
    });
}

#[test]
fn ci_installs_the_programs_that_tests_speak_to() {
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    let outside = matching(|path| path.starts_with("tests/integration/"));
    let programs = |source: &Source| -> Vec<String> {
        let named = source.text.split("find(\"").skip(1);
        named
            .filter_map(|rest| rest.split('"').next())
            .map(str::to_owned)
            .collect()
    };
    assert!(
        outside.iter().any(|source| !programs(source).is_empty()),
        "no foreign programs"
    );
    assert_none(&outside, |source| {
        let mut missing = programs(source);
        missing.retain(|program| !ci.contains(&format!("\n    \"{program} ")));
        missing
    });
}

#[test]
fn links_in_the_docs_lead_somewhere() {
    let mut pages = Vec::new();
    collect(&root(), "md", &mut pages);
    assert!(!pages.is_empty(), "no pages");
    let mut broken = Vec::new();
    let mut links = 0;
    for page in pages {
        for link in local_links(&fs::read_to_string(&page).unwrap()) {
            links += 1;
            if !page.parent().unwrap().join(&link).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(links > 0, "no links");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Fails with every file in which `faults` finds something; an empty set of files fails as well,
/// because a rule over nothing holds nothing.
#[track_caller]
fn assert_none<T: Into<String>>(files: &[Source], faults: impl Fn(&Source) -> Vec<T>) {
    assert!(!files.is_empty(), "the rule is over no files at all");
    let with = |source: &Source| {
        let found: Vec<String> = faults(source).into_iter().map(Into::into).collect();
        (!found.is_empty()).then(|| format!("{}: {}", source.path, found.join(", ")))
    };
    let all: Vec<String> = files.iter().filter_map(with).collect();
    assert!(all.is_empty(), "{all:#?}");
}

fn words<'a>(source: &Source, words: &[&'a str]) -> Vec<&'a str> {
    words
        .iter()
        .copied()
        .filter(|word| source.code.contains(word))
        .collect()
}
