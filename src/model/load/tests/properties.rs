//! Whatever the text is: no panic, and what is accepted can be sent to a worker and served by it.

use proptest::prelude::*;

use super::{load, secrets};
use crate::model::config::Config;
use crate::model::snapshot::Snapshot;

const VALID: [&str; 3] = [
    include_str!("../../../../config/sluice.yaml"),
    include_str!("../../../../config/example.yaml"),
    include_str!("../../../../config/full.yaml"),
];

/// Texts that mean something to YAML or to a configuration.
const PIECES: [&str; 36] = [
    "\n",
    "  ",
    "    ",
    "- ",
    ": ",
    ":",
    "-",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "#",
    "'",
    "\"",
    "|",
    ">",
    "&a ",
    "*a",
    "!t ",
    "~",
    "server:",
    "listen:",
    "rules:",
    "upstreams:",
    "path:",
    "$ip",
    "${",
    "env:X",
    "*.",
    "/(",
    "0",
    "99999999999",
    "\t",
    "é",
    "\u{0}",
];

fn holds(text: &str) -> Result<(), TestCaseError> {
    let loaded = load(text, &mut secrets);
    prop_assert_eq!(loaded.config.is_some(), loaded.errors().count() == 0);
    let lines = u32::try_from(text.split('\n').count()).unwrap();
    for found in &loaded.diagnostics {
        prop_assert!(
            (1..=lines + 1).contains(&found.line),
            "{} of {} lines",
            found,
            lines
        );
        prop_assert!(found.column >= 1 && !found.message.is_empty() && !found.help.is_empty());
    }
    if let Some(config) = loaded.config {
        let sent = postcard::to_stdvec(&config).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<Config>(&sent).unwrap(), &config);
        prop_assert!(Snapshot::build(&config, 1).is_ok());
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in any::<String>()) {
        holds(&text)?;
    }

    #[test]
    fn any_pieces_get_an_answer(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
        holds(&pieces.concat())?;
    }

    #[test]
    fn a_valid_config_with_mutations_gets_an_answer(
        which in 0..VALID.len(),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, prop::sample::select(&PIECES[..])), 1..6),
    ) {
        let mut characters: Vec<char> = VALID[which].chars().collect();
        for (place, removed, put) in mutations {
            let start = place.index(characters.len().max(1)).min(characters.len());
            let end = (start + removed).min(characters.len());
            characters.splice(start..end, put.chars());
        }
        holds(&characters.into_iter().collect::<String>())?;
    }

    /// Lines moved and left out: most of the results are still YAML, and many still valid.
    #[test]
    fn a_valid_config_with_lines_missing_gets_an_answer(
        which in 0..VALID.len(),
        kept in prop::collection::vec(prop::bool::weighted(0.9), 80),
    ) {
        let lines = VALID[which].lines().zip(kept.iter().cycle());
        let text: String = lines.filter(|(_, kept)| **kept).map(|(line, _)| format!("{line}\n")).collect();
        holds(&text)?;
    }
}

#[test]
fn the_valid_ones_are_valid() {
    for text in VALID {
        assert!(load(text, &mut secrets).config.is_some());
        holds(text).unwrap();
    }
}
