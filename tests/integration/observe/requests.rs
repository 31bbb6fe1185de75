//! The access log and tracing of the real program.

use nix::sys::signal::Signal;

use super::echo;
use crate::harness::{Sluice, eventually};

fn lines(path: &std::path::Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.lines().filter(|line| line.ends_with('}'));
    whole
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_request_gets_a_line_and_usr1_follows_a_moved_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let sluice = Sluice::start(&echo(
        2,
        &format!(
            "accessLog:\n  mode: on\n  path: {}\n  headers: [cookie]\n",
            path.display()
        ),
    ));
    let get =
        "GET /a?b=c HTTP/1.1\r\nhost: example.com\r\nuser-agent: a\"\tb\r\ncookie: hunter2\r\n\r\n";
    for _ in 0..10 {
        assert_eq!(sluice.request(get).status, 200);
    }
    let written = eventually("ten lines are written", || {
        let lines = lines(&path);
        (lines.len() == 10).then_some(lines)
    });
    let line = &written[0];
    assert_eq!(
        (&line["host"], &line["path"]),
        (&"example.com".into(), &"/a?b=c".into())
    );
    assert_eq!(
        (&line["status"], &line["route"]),
        (&200.into(), &"all".into())
    );
    assert_eq!(
        (&line["generation"], &line["headers"]["cookie"]),
        (&1.into(), &"***".into())
    );
    assert_eq!(line["user_agent"], "a\"\tb");

    let moved = folder.path().join("access.log.1");
    std::fs::rename(&path, &moved).unwrap();
    sluice.signal(Signal::SIGUSR1);
    eventually("the file is made again", || path.exists().then_some(()));
    // Each worker opens it again in its own time; none writes to both.
    eventually("lines reach the new file", || {
        assert_eq!(sluice.request(get).status, 200);
        (!lines(&path).is_empty()).then_some(())
    });
}

#[test]
fn the_log_is_switched_on_and_off_by_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let sluice = Sluice::start(&echo(1, ""));
    assert_eq!(sluice.get("/before").status, 200);
    let on = format!(
        "accessLog:\n  mode: on\n  path: {}\n  fields: [path, generation]\n",
        path.display()
    );
    sluice.rewrite(&echo(1, &on));
    eventually("requests are logged", || {
        assert_eq!(sluice.get("/during").status, 200);
        (!lines(&path).is_empty()).then_some(())
    });
    let first = &lines(&path)[0];
    assert_eq!(
        *first,
        serde_json::json!({"path": "/during", "generation": 2})
    );
}
