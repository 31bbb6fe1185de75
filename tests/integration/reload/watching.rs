//! Changes that are told in an unusual way, or not at all: files beside the configuration, systems that
//! watch nothing, a file that will never change.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{config, echoed, generation, post, reload, status, with};
use crate::harness::sluice::Launch;
use crate::harness::{Sluice, eventually};

/// Root of namespaces of its own; what follows is a script, then the program.
const CONTAINER: [&str; 6] = [
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
];

/// Whether this machine lets anybody make namespaces.
fn can_contain() -> bool {
    let tried = Command::new(CONTAINER[0])
        .args(&CONTAINER[1..])
        .arg("true")
        .output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    if !can {
        eprintln!("skipped: this machine lets nobody make namespaces");
    }
    can
}

/// Runs the config at `path` after this line of shell.
fn start_after(line: &str, path: &Path) -> Sluice {
    let script = format!("set -e; {line}; exec \"$@\"");
    let wrapper = [&CONTAINER[..], &[&script, "sh"]].concat();
    Launch::at(path).under(&wrapper).start()
}

fn warnings(sluice: &Sluice) -> usize {
    let events = sluice.log().events();
    let alone = events
        .iter()
        .filter(|e| e.message().contains("MOUNTED ALONE"));
    alone.count()
}

#[test]
fn a_file_that_is_mounted_alone_is_warned_of() {
    if !can_contain() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let yaml = format!("{}admin:\n  listen: 127.0.0.1:0\n", config(1, 1));
    fs::write(at("of-the-kubelet.yaml"), &yaml).unwrap();
    fs::write(at("sluice.yaml"), "").unwrap();
    std::os::unix::fs::symlink("sluice.yaml", at("link.yaml")).unwrap();
    fs::create_dir(at("volume")).unwrap();
    let there = folder.path().display();
    let alone = format!("mount --bind {there}/of-the-kubelet.yaml {there}/sluice.yaml");
    for path in ["sluice.yaml", "link.yaml"] {
        let sluice = start_after(&alone, &at(path));
        assert_eq!(warnings(&sluice), 1, "{path}");
    }
    let whole = format!("mount --bind {there} {there}/volume");
    let sluice = start_after(&whole, &at("volume/of-the-kubelet.yaml"));
    assert_eq!(warnings(&sluice), 0, "a mounted directory");
}

#[test]
fn where_nothing_can_be_watched_changes_are_found_by_looking() {
    if !can_contain() {
        return;
    }
    for limit in ["max_inotify_instances", "max_inotify_watches"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sluice.yaml");
        let text = |mark| {
            config(mark, 1).replace("reload:", "reload:\n  poll: 100ms")
                + "admin:\n  listen: 127.0.0.1:0\n"
        };
        fs::write(&path, text(1)).unwrap();
        let sluice = start_after(&format!("echo 0 > /proc/sys/user/{limit}"), &path);
        let told = "changes of the configuration file are found by polling only";
        sluice.log().wait_for(told);
        fs::write(&path, text(2)).unwrap();
        eventually("the edit is served", || {
            (echoed(&sluice.get("/"), "x-mark")? == "2").then_some(())
        });
        sluice.settle();
        assert_eq!(generation(&sluice), 2, "{limit}");
        assert_eq!(sluice.log().all(told).len(), 1, "{limit}: said once");
    }
}

#[test]
fn a_secret_in_a_file_is_watched_like_the_configuration() {
    let volume = tempfile::tempdir().unwrap();
    // As a Secret is mounted: behind two links.
    let write = |n: u32, key: &str, token: &str| {
        let new = volume.path().join(format!("..{n}"));
        fs::create_dir(&new).unwrap();
        fs::write(new.join("key"), key).unwrap();
        fs::write(new.join("token"), token).unwrap();
        let data = volume.path().join("..data");
        let old = fs::read_link(&data).ok();
        std::os::unix::fs::symlink(format!("..{n}"), volume.path().join("..tmp")).unwrap();
        fs::rename(volume.path().join("..tmp"), &data).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(volume.path().join(old)).unwrap();
        }
    };
    write(1, "hunter1\n", "t0ken1");
    for key in ["key", "token"] {
        let link = volume.path().join(key);
        std::os::unix::fs::symlink(format!("..data/{key}"), link).unwrap();
    }
    let at = volume.path().display();
    let yaml = with(
        1,
        1,
        "127.0.0.1:0",
        &format!("admin:\n  listen: 127.0.0.1:0\n  token: file:{at}/token\n"),
    )
    .replace("'1'", &format!("Bearer ${{file:{at}/key}}"));
    let sluice = Sluice::start(&yaml);
    let sent = || echoed(&sluice.get("/"), "x-mark").unwrap();
    assert_eq!(sent(), "Bearer hunter1");

    write(2, "hunter2\n", "t0ken1");
    eventually("the new secret is sent", || {
        (sent() == "Bearer hunter2").then_some(())
    });
    sluice.settle();
    assert_eq!(generation(&sluice), 2, "one reload");

    write(3, "hunter2\n", "t0ken2");
    eventually("the new token is taken up", || {
        (generation(&sluice) == 3).then_some(())
    });
    fs::remove_file(volume.path().join("..data")).unwrap();
    eventually("a secret that is gone is a rejected reload", || {
        (status(&sluice)["lastReload"]["result"] == "rejected").then_some(())
    });
    assert_eq!(sent(), "Bearer hunter2");
    let shown = status(&sluice).to_string() + &sluice.log().text();
    assert!(
        !shown.contains("hunter") && !shown.contains("t0ken"),
        "{shown}"
    );
}

/// Never seen half written.
fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

/// A secret in a file beside, and how a config names it.
fn beside(sluice: &Sluice) -> (std::path::PathBuf, String) {
    let path = sluice.config_path().with_file_name("key");
    put(&path, "one");
    let named = format!("${{file:{}}}", path.display());
    (path, config(0, 1).replace("'0'", &format!("'{named}'")))
}

#[test]
fn what_a_pinned_generation_names_is_watched() {
    let sluice = Sluice::start(&config(1, 1));
    let (key, named) = beside(&sluice);
    let sent = || echoed(&sluice.get("/"), "x-mark").unwrap();
    assert_eq!(reload(&sluice, &named).status, 200);
    assert_eq!(reload(&sluice, &config(3, 1)).status, 200);
    put(&key, "two");
    assert_eq!(post(&sluice, "/rollback?generation=2").status, 200);
    assert_eq!(sent(), "one", "as it was in its time");
    assert!(post(&sluice, "/reload").text().contains("pinned"));
    assert_eq!(sent(), "one");

    put(&key, "three");
    eventually("the new secret is sent", || {
        (sent() == "three").then_some(())
    });
    sluice.settle();
    let seen = status(&sluice);
    assert_eq!(
        (&seen["pinned"], &seen["generation"]),
        (&2.into(), &5.into())
    );
    fs::remove_file(&key).unwrap();
    eventually("a secret that is gone is a rejected reload", || {
        (status(&sluice)["lastReload"]["result"] == "rejected").then_some(())
    });
    assert_eq!(sent(), "three");
    put(&key, "four");
    eventually("it is there again", || (sent() == "four").then_some(()));
    sluice.settle();
    assert_eq!(post(&sluice, "/unpin").status, 200);
    assert_eq!(sent(), "3", "the file");
}

#[test]
fn what_is_served_while_the_file_is_broken_is_watched() {
    let sluice = Sluice::start(&config(1, 1));
    let (key, named) = beside(&sluice);
    let sent = || echoed(&sluice.get("/"), "x-mark").unwrap();
    assert_eq!(reload(&sluice, &named).status, 200);
    let broken = config(3, 1).replace("[echo]", "[nobody]");
    assert_eq!(reload(&sluice, &broken).status, 422);
    put(&key, "two");
    eventually("the new secret is sent", || (sent() == "two").then_some(()));
    sluice.settle();
    let seen = status(&sluice);
    assert_eq!(seen["sourceKind"], "last-good");
    let last = &seen["lastReload"]["result"];
    assert_eq!(last, "rejected", "the file is still broken");
    assert_eq!(reload(&sluice, &config(4, 1)).status, 200);
    assert_eq!(sent(), "4");
}
