use super::*;

#[test]
fn the_list_is_whole_and_in_order() {
    for (index, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason.index(), index, "{reason} stands at its own place");
    }
    let codes: std::collections::HashSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
    assert_eq!(codes.len(), Reason::ALL.len(), "no code twice");
}

#[test]
fn the_documentation_lists_the_same() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reasons.md");
    let page = std::fs::read_to_string(page).unwrap();
    let written: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let meant: Vec<String> = Reason::ALL
        .iter()
        .map(|reason| {
            let side = format!("{:?}", reason.side()).to_lowercase();
            let status = reason.entry().status;
            format!("| `{reason}` | {status} | {side} | {} |", reason.text())
        })
        .collect();
    let starts: Vec<&str> = written
        .iter()
        .map(|line| line.split(" | ").next().unwrap_or(line))
        .collect();
    assert_eq!(starts.len(), meant.len(), "{starts:?}");
    for (line, meant) in written.iter().zip(&meant) {
        let facts = meant.trim_end_matches(" |");
        assert!(
            line.starts_with(facts),
            "docs/reasons.md says\n{line}\nthe code\n{meant}"
        );
    }
}
