//! Findings as a compiler would print them: what, where, the line itself with a caret, and help.

use std::io::{self, Write};
use std::path::Path;

use super::Summary;
use crate::model::Loaded;
use crate::model::diagnostic::Diagnostic;

/// Characters of a source line that are shown around the place.
const WIDTH: usize = 100;

pub(super) fn write(
    out: &mut impl Write,
    path: &Path,
    yaml: &str,
    loaded: &Loaded,
    summary: Summary,
) -> io::Result<()> {
    let lines: Vec<&str> = yaml
        .strip_prefix('\u{feff}')
        .unwrap_or(yaml)
        .split('\n')
        .collect();
    for found in &loaded.diagnostics {
        let line = lines
            .get(found.line as usize - 1)
            .copied()
            .unwrap_or_default();
        write_one(out, path, line, found)?;
    }
    write_summary(out, path, summary)
}

fn write_one(out: &mut impl Write, path: &Path, line: &str, found: &Diagnostic) -> io::Result<()> {
    let Diagnostic {
        severity,
        path: yaml_path,
        line: number,
        column,
        message,
        help,
    } = found;
    let margin = " ".repeat(number.to_string().len());
    let (shown, caret) = excerpt(line, *column);
    writeln!(out, "{severity}: {message}")?;
    writeln!(out, "{margin}--> {}:{number}:{column}", path.display())?;
    if !shown.is_empty() {
        writeln!(out, "{margin} |")?;
        writeln!(out, "{number} | {shown}")?;
        writeln!(out, "{margin} | {}^", " ".repeat(caret))?;
    }
    if !yaml_path.is_empty() {
        writeln!(out, "{margin} = at {yaml_path}")?;
    }
    writeln!(out, "{margin} = help: {help}")?;
    writeln!(out)
}

/// The part of a line around a column, fit for a terminal, and where in it the column is.
fn excerpt(line: &str, column: u32) -> (String, usize) {
    let at = (column as usize).saturating_sub(1);
    let line = line.trim_end();
    let start = if at < WIDTH { 0 } else { at - WIDTH / 2 };
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let shown: String = line
        .chars()
        .skip(start)
        .take(WIDTH)
        .map(printable)
        .collect();
    (shown, at - start)
}

fn write_summary(out: &mut impl Write, path: &Path, summary: Summary) -> io::Result<()> {
    let Summary {
        valid,
        errors,
        warnings,
        upstreams,
        rules,
    } = summary;
    let path = path.display();
    let warnings = counted(warnings, "warning");
    match valid {
        false => writeln!(
            out,
            "{path}: invalid, {}, {warnings}",
            counted(errors, "error")
        ),
        true => writeln!(
            out,
            "{path}: valid, {}, {}, {warnings}",
            counted(upstreams, "upstream"),
            counted(rules, "rule"),
        ),
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    fn printed(yaml: &str) -> String {
        let loaded = model::load(yaml, &mut |_| Err("not here".to_owned()));
        let summary = Summary::of(&loaded);
        let mut out = Vec::new();
        write(&mut out, Path::new("a.yaml"), yaml, &loaded, summary).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_error_looks_like_a_compilers() {
        let yaml = "server:\n  upstreams:\n    - {id: todos, url: todos}\n  rules:\n    - upstreams: [todo]\n";
        let expected = "\
error: unknown upstream `todo`
 --> a.yaml:5:19
  |
5 |     - upstreams: [todo]
  |                   ^
  = at server.rules[0].upstreams[0]
  = help: did you mean `todos`?

a.yaml: invalid, 1 error, 0 warnings
";
        assert_eq!(printed(yaml), expected);
    }

    #[test]
    fn a_valid_file_is_summed_up_in_a_line() {
        let yaml = "server: {upstreams: [{id: a, url: a}], rules: [{upstreams: [a]}]}";
        assert_eq!(
            printed(yaml),
            "a.yaml: valid, 1 upstream, 1 rule, 0 warnings\n"
        );
    }

    #[test]
    fn long_lines_and_control_characters_stay_readable() {
        let (shown, caret) = excerpt(&format!("{}x", "é".repeat(500)), 501);
        assert_eq!(shown.chars().nth(caret), Some('x'));
        assert_eq!(excerpt("a\tb\u{1b}[1m\r", 3), ("a b [1m".to_owned(), 2));
        assert_eq!(excerpt("", 7), (String::new(), 6));
    }
}
