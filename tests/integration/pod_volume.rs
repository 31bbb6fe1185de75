//! A configuration that the kubelet writes: every edit of the ConfigMap is taken once, and nothing
//! else that happens in the volume is.

use crate::harness::kubelet::Volume;
use crate::harness::{Launch, Sluice, eventually};

const KEY: &str = "sluice.yaml";

/// Every request is answered 200 by the echo upstream, on another path for each version.
fn serving(path: &str) -> String {
    format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 2\n  upstreams:\n    - id: echo\n      \
         url: builtin://echo\n  rules:\n    - path: {path}\n      upstreams: [echo]\nadmin:\n  \
         listen: 127.0.0.1:0\n"
    )
}

fn start(volume: &Volume) -> Sluice {
    Launch::at(&volume.path(KEY)).start()
}

#[track_caller]
fn assert_serves(sluice: &Sluice, path: &str) {
    eventually(&format!("{path} is served"), || {
        (sluice.get(path).status == 200).then_some(())
    });
}

fn committed(sluice: &Sluice) -> usize {
    sluice.log().all("reload done").len()
}

/// Makes an edit and waits for it: what happened before has been seen or never will be.
fn edit(sluice: &Sluice, volume: &mut Volume, keys: &[(&str, &str)], path: &str) {
    let before = committed(sluice);
    volume.write(&[&[(KEY, serving(path).as_str())], keys].concat());
    assert_serves(sluice, path);
    // A worker serves it a moment before the supervisor can say that all of them do.
    eventually("the generation is in the log", || {
        (committed(sluice) > before).then_some(())
    });
    sluice.settle();
    assert_eq!(committed(sluice), before + 1, "one edit, one generation");
}

#[test]
fn an_edit_is_taken_once() {
    let mut volume = Volume::with(&[(KEY, &serving("/one"))]);
    let sluice = start(&volume);
    assert_serves(&sluice, "/one");
    edit(&sluice, &mut volume, &[], "/two");
    edit(&sluice, &mut volume, &[], "/three");
    sluice.get("/one").with_status(404);
}

#[test]
fn keys_that_come_and_go_are_no_edit() {
    let one = serving("/one");
    let mut volume = Volume::with(&[(KEY, &one)]);
    let sluice = start(&volume);
    let before = committed(&sluice);
    volume.write(&[(KEY, &one), ("another.yaml", "anything")]);
    volume.write(&[(KEY, &one)]);
    assert_eq!(committed(&sluice), before);
    edit(
        &sluice,
        &mut volume,
        &[("another.yaml", "anything")],
        "/two",
    );
    edit(&sluice, &mut volume, &[], "/three");
}

#[test]
fn the_same_contents_and_changed_attributes_are_no_edit() {
    let one = serving("/one");
    let mut volume = Volume::with(&[(KEY, &one)]);
    let sluice = start(&volume);
    let before = committed(&sluice);
    volume.write(&[(KEY, &one)]);
    volume.touch_attributes();
    assert_eq!(committed(&sluice), before);
    volume.touch_attributes();
    edit(&sluice, &mut volume, &[], "/two");
}

#[test]
fn of_two_edits_at_once_the_later_is_served() {
    let mut volume = Volume::with(&[(KEY, &serving("/0"))]);
    let sluice = start(&volume);
    for round in 1..=5 {
        volume.write(&[(KEY, &serving(&format!("/{round}/first")))]);
        volume.write(&[(KEY, &serving(&format!("/{round}/second")))]);
        assert_serves(&sluice, &format!("/{round}/second"));
        sluice.settle();
        sluice.get(&format!("/{round}/first")).with_status(404);
    }
}

#[test]
fn a_broken_edit_is_refused_and_the_next_one_taken() {
    let mut volume = Volume::with(&[(KEY, &serving("/one"))]);
    let sluice = start(&volume);
    volume.write(&[(KEY, "server:\n  lisen: 8080\n")]);
    sluice.log().wait_for("reload rejected");
    assert_serves(&sluice, "/one");
    edit(&sluice, &mut volume, &[], "/two");
}

#[test]
fn a_start_before_the_volume_is_filled_fails_and_the_next_one_serves() {
    let mut volume = Volume::empty();
    let mut early = Launch::at(&volume.path(KEY)).spawn();
    assert_eq!(early.wait_for_exit().code(), Some(1));
    assert!(early.log().text().contains(KEY), "{}", early.log().text());
    volume.write(&[(KEY, &serving("/one"))]);
    let sluice = start(&volume);
    assert_serves(&sluice, "/one");
    edit(&sluice, &mut volume, &[], "/two");
}
