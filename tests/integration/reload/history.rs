//! Going back, and starting with a broken file.

use std::fs;

use super::{config, echoed, generation, post, reload, start, status};
use crate::harness::eventually;
use crate::harness::sluice::Launch;

#[test]
fn rollback_is_pinned_until_the_file_changes_or_it_is_unpinned() {
    let sluice = start(&config(1, 1));
    let mark = || echoed(&sluice.get("/"), "x-mark").unwrap();
    reload(&sluice, &config(2, 1));
    reload(&sluice, &config(3, 1));
    assert_eq!(mark(), "3");

    let back = post(&sluice, "/rollback");
    assert_eq!(
        (back.status, mark().as_str()),
        (200, "2"),
        "{}",
        back.text()
    );
    assert_eq!(status(&sluice)["pinned"], 2);
    assert_eq!(post(&sluice, "/rollback?generation=1").status, 200);
    assert_eq!(mark(), "1");
    assert_eq!(post(&sluice, "/rollback?generation=77").status, 409);
    let unchanged = post(&sluice, "/reload");
    assert!(unchanged.text().contains("pinned"), "{}", unchanged.text());
    assert_eq!(mark(), "1", "a look at the same file brings nothing back");

    assert_eq!(post(&sluice, "/unpin").status, 200);
    assert_eq!(mark(), "3", "the file again");
    assert!(status(&sluice)["pinned"].is_null());

    post(&sluice, "/rollback?generation=1");
    reload(&sluice, &config(4, 1));
    assert_eq!(mark(), "4");
    assert!(
        status(&sluice)["pinned"].is_null(),
        "a new file ends the pin"
    );

    let history = status(&sluice)["history"].as_array().unwrap().clone();
    let results: Vec<&str> = history
        .iter()
        .map(|r| r["result"].as_str().unwrap())
        .collect();
    assert_eq!(
        results[..2],
        ["committed", "rolled-back"],
        "the latest first"
    );
    assert!(
        history[0]["changes"][0]
            .as_str()
            .unwrap()
            .contains("headers"),
        "{}",
        history[0]
    );
}

#[test]
fn a_file_is_compared_with_what_runs() {
    let sluice = start(&config(1, 1));
    let folder = tempfile::tempdir().unwrap();
    let diff = |yaml: &str| {
        let new = folder.path().join("new.yaml");
        fs::write(&new, yaml).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["diff", "--admin", &format!("http://{}", sluice.admin())])
            .arg(new)
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };
    let admin = "admin:\n  listen: 127.0.0.1:0\n";
    let same = format!("# other words\n{}{admin}", config(1, 1));
    assert_eq!(diff(&same), (Some(0), "nothing changes\n".to_owned()));
    let other = config(1, 2).replace("path: /", "path: /only") + admin;
    let (code, text) = diff(&other);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "rule `/` removed",
        "rule `/only` added",
        "`server.workers` changed",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let (code, text) = diff(&config(1, 1).replace("[echo]", "[ecko]"));
    assert_eq!(code, Some(1));
    assert!(text.contains("did you mean `echo`"), "{text}");
    assert_eq!(generation(&sluice), 1, "nothing was reloaded");
}

#[test]
fn twenty_generations_are_remembered() {
    let sluice = start(&config(1, 1));
    for mark in 2..25 {
        reload(&sluice, &config(mark, 1));
    }
    assert_eq!(status(&sluice)["history"].as_array().unwrap().len(), 20);
    assert_eq!(post(&sluice, "/rollback?generation=5").status, 200);
    assert_eq!(
        post(&sluice, "/rollback?generation=2").status,
        409,
        "forgotten"
    );
}

#[test]
fn refusals_push_no_generation_out() {
    let sluice = start(&config(1, 1));
    reload(&sluice, &config(2, 1));
    for mark in 3..25 {
        let broken = config(mark, 1).replace("[echo]", "[nobody]");
        assert_eq!(reload(&sluice, &broken).status, 422);
    }
    let seen = status(&sluice);
    let history = seen["history"].as_array().unwrap();
    let is = |result: &str| history.iter().filter(|r| r["result"] == result).count();
    assert_eq!((is("committed"), is("rejected")), (2, 20));
    assert_eq!(post(&sluice, "/rollback").status, 200);
    assert_eq!(echoed(&sluice.get("/"), "x-mark").as_deref(), Some("1"));
}

#[test]
fn a_broken_file_starts_with_the_last_good_one_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("last-good.yaml");
    let copy = copy.to_str().unwrap();
    let first = Launch::new(&config(1, 1))
        .env("SLUICE_LAST_GOOD", copy)
        .start();
    reload(&first, &config(2, 1));
    eventually("the copy is written", || {
        fs::read_to_string(copy)
            .ok()
            .filter(|text| text.contains("value: '2'"))
    });
    drop(first);

    let broken = config(3, 1).replace("[echo]", "[nobody]");
    let second = Launch::new(&broken).env("SLUICE_LAST_GOOD", copy).start();
    assert_eq!(echoed(&second.get("/"), "x-mark").as_deref(), Some("2"));
    let seen = status(&second);
    assert!(
        seen["configSource"].as_str().unwrap().contains("last good"),
        "{seen}"
    );
    assert_eq!(seen["lastReload"]["result"], "rejected", "{seen}");
    assert_eq!(seen["sourceKind"], "last-good");
    let loud = "THE FILE IS NOT VALID";
    let ask = |path| crate::harness::get(second.admin(), path).with_status(200);
    assert!(ask("/readyz?verbose").text().contains(loud));
    assert_eq!(ask("/readyz").text(), "ok\n", "it serves");
    let metrics = ask("/metrics").text();
    assert!(metrics.contains("sluice_config_source{source=\"last-good\"} 1\n"));
    assert!(metrics.contains("sluice_config_source{source=\"file\"} 0\n"));
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["status", "--admin", &format!("http://{}", second.admin())])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&printed.stdout).contains(loud));
    reload(&second, &config(4, 1));
    assert_eq!(echoed(&second.get("/"), "x-mark").as_deref(), Some("4"));
    assert!(!ask("/readyz?verbose").text().contains(loud));
    assert_eq!(generation(&second), 2);
}

#[test]
fn a_broken_file_without_a_copy_ends_the_start_with_the_errors_of_check() {
    let broken = config(1, 1).replace("[echo]", "[nobody]");
    let run = crate::harness::sluice::command(&broken, &["run", "-c", "CONFIG"]);
    let check = crate::harness::sluice::command(&broken, &["check", "-c", "CONFIG"]);
    assert_eq!(run.status.code(), Some(1));
    let (run, check) = (
        String::from_utf8_lossy(&run.stderr),
        String::from_utf8_lossy(&check.stdout),
    );
    let first_line = |text: &str| text.lines().next().map(str::to_owned);
    assert!(run.contains("nobody"), "{run}");
    assert_eq!(first_line(&run), first_line(&check));
}
