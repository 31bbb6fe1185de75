//! How a file is edited.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::{committed, config, generation, post, reload, start, status};
use crate::harness::{Client, Launch, Sluice, eventually};

fn wait_for_mark(sluice: &Sluice, mark: u64) {
    eventually(&format!("mark {mark} is served"), || {
        let seen = super::echoed(&sluice.get("/"), "x-mark");
        (seen.as_deref() == Some(&mark.to_string())).then_some(())
    });
    // It is served from the moment that a worker commits, a little before the reload is over.
    sluice.settle();
}

/// The whole text of a config that the harness would write.
fn text(mark: u64) -> String {
    format!("{}admin:\n  listen: 127.0.0.1:0\n", config(mark, 1))
}

fn sha256(text: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_way_to_edit_is_one_reload_and_a_touch_is_none() {
    let sluice = start(&config(1, 1));
    let path = sluice.config_path();

    sluice.rewrite(&config(2, 1));
    wait_for_mark(&sluice, 2);

    fs::write(&path, text(3)).unwrap();
    wait_for_mark(&sluice, 3);

    fs::remove_file(&path).unwrap();
    fs::write(&path, text(4)).unwrap();
    wait_for_mark(&sluice, 4);

    let touched = fs::File::options().write(true).open(&path).unwrap();
    touched.set_modified(std::time::SystemTime::now()).unwrap();
    fs::write(&path, text(4)).unwrap();
    sluice.rewrite(&config(5, 1));
    wait_for_mark(&sluice, 5);
    let answer = post(&sluice, "/reload");
    assert!(
        answer.text().contains("nothing has changed"),
        "{}",
        answer.text()
    );
    // Contents are compared, not what they mean: the hash of what is served is that of the file.
    let reworded = format!("# five\n{}", text(5));
    fs::write(&path, &reworded).unwrap();
    assert_eq!(post(&sluice, "/reload").status, 200);
    let seen = status(&sluice);
    assert_eq!(
        seen["lastReload"]["changes"][0],
        "other words with the same meaning"
    );
    let hash = sha256(&reworded);
    assert!(hash.starts_with(seen["configHash"].as_str().unwrap()));
    assert_eq!(
        generation(&sluice),
        6,
        "one generation for each edit: {:?}",
        committed(&sluice)
    );
}

#[test]
fn a_write_in_pieces_is_one_reload() {
    let sluice = start(&config(1, 1).replace("debounce: 10ms", "debounce: 400ms"));
    let new = text(2);
    let (first, second) = new.split_at(new.len() / 2);
    fs::write(sluice.config_path(), first).unwrap();
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(sluice.config_path())
        .unwrap();
    std::io::Write::write_all(&mut file, second.as_bytes()).unwrap();
    drop(file);
    wait_for_mark(&sluice, 2);
    assert_eq!(generation(&sluice), 2);
}

/// What the kubelet does to a volume: a new directory, `..data` swapped by a rename, the old one gone.
fn update_config_map(volume: &Path, n: u64, keys: &[(&str, String)]) {
    let new = format!("..2026_11_24_{n}");
    fs::create_dir(volume.join(&new)).unwrap();
    for (key, text) in keys {
        fs::write(volume.join(&new).join(key), text).unwrap();
    }
    let old = fs::read_link(volume.join("..data")).ok();
    symlink(&new, volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    for (key, _) in keys {
        if fs::symlink_metadata(volume.join(key)).is_err() {
            symlink(Path::new("..data").join(key), volume.join(key)).unwrap();
        }
    }
    if let Some(old) = old {
        fs::remove_dir_all(volume.join(old)).unwrap();
    }
}

#[test]
fn a_config_map_behind_a_chain_of_links_is_followed() {
    let sluice = start(&config(1, 1));
    let folder = sluice.config_path().parent().unwrap().to_owned();
    let volume = folder.join("volume");
    fs::create_dir(&volume).unwrap();
    update_config_map(
        &volume,
        0,
        &[("sluice.yaml", text(2)), ("other", "x".into())],
    );
    symlink(&volume, folder.join("mount")).unwrap();
    symlink("mount/sluice.yaml", folder.join("link")).unwrap();
    fs::rename(folder.join("link"), sluice.config_path()).unwrap();
    wait_for_mark(&sluice, 2);

    for n in 1..8 {
        update_config_map(
            &volume,
            n,
            &[("sluice.yaml", text(2 + n)), ("other", n.to_string())],
        );
        wait_for_mark(&sluice, 2 + n);
    }
    let before = generation(&sluice);
    assert_eq!(before, 9, "one reload for each update");
    update_config_map(
        &volume,
        8,
        &[("sluice.yaml", text(9)), ("another", "key".into())],
    );
    let answer = post(&sluice, "/reload");
    assert!(
        answer.text().contains("nothing has changed"),
        "{}",
        answer.text()
    );
    assert_eq!(generation(&sluice), before, "another key is no reload");
}

#[test]
fn a_file_that_is_gone_for_a_while_changes_nothing() {
    let sluice = start(&config(1, 1));
    fs::remove_file(sluice.config_path()).unwrap();
    sluice
        .log()
        .wait_for("the configuration file cannot be read, going on without");
    assert_eq!(sluice.get("/").status, 200);
    fs::write(sluice.config_path(), text(2)).unwrap();
    wait_for_mark(&sluice, 2);
}

/// As a user to whom modes mean something.
fn as_nobody(launch: Launch) -> Launch {
    match nix::unistd::geteuid().is_root() {
        true => launch.under(&["setpriv", "--reuid=65534", "--clear-groups"]),
        false => launch,
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_may_not_be_read_is_refused_until_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.yaml");
    set_mode(folder.path(), 0o755);
    fs::write(&path, text(1).replace("debounce", "poll: 1h\n  debounce")).unwrap();
    let sluice = as_nobody(Launch::at(&path)).start();
    set_mode(&path, 0o000);
    let rejected = sluice.log().wait_for("reload rejected");
    let errors = rejected.text("errors").unwrap();
    assert!(
        errors.contains("cannot be read: Permission denied"),
        "{errors}"
    );
    let seen = status(&sluice);
    assert_eq!(seen["lastReload"]["result"], "rejected");
    assert_eq!(post(&sluice, "/reload").status, 422);
    let metrics = Client::connect(sluice.admin()).get("/metrics").text();
    assert!(
        metrics.contains("\nsluice_config_last_reload_successful 0\n"),
        "{metrics}"
    );
    assert_eq!(sluice.get("/").status, 200);

    set_mode(&path, 0o644);
    eventually("it is served anew", || {
        (status(&sluice)["lastReload"]["result"] == "committed").then_some(())
    });
    let told = sluice.log().all("reload rejected");
    assert_eq!(told.len(), 1, "once");
}

#[test]
fn an_empty_file_in_the_place_of_one_that_was_gone_is_refused() {
    let sluice = start(&config(1, 1));
    fs::remove_file(sluice.config_path()).unwrap();
    sluice
        .log()
        .wait_for("the configuration file cannot be read, going on without");
    fs::write(sluice.config_path(), "").unwrap();
    sluice.log().wait_for("reload rejected");
    assert_eq!(sluice.get("/").status, 200);
}

#[test]
fn an_invalid_file_is_told_once_with_all_its_errors_and_mended_by_the_next() {
    let sluice = start(&config(1, 1));
    let broken = config(2, 1).replace("upstreams: [echo]", "upstreams: [ecko]\n      pth: /x");
    sluice.rewrite(&broken);
    let rejected = sluice.log().wait_for("reload rejected");
    let errors = rejected.text("errors").unwrap();
    assert!(
        errors.contains("ecko") && errors.contains("pth"),
        "{errors}"
    );
    assert_eq!(generation(&sluice), 1);
    let seen = status(&sluice);
    assert_eq!(seen["lastReload"]["result"], "rejected");
    assert_eq!(
        seen["lastReload"]["errors"].as_array().unwrap().len(),
        2,
        "{seen}"
    );

    fs::write(sluice.config_path().with_extension("unrelated"), "x").unwrap();
    let forced = post(&sluice, "/reload");
    assert_eq!(forced.status, 422, "{}", forced.text());
    assert!(forced.text().contains("did you mean"), "{}", forced.text());
    // The answer comes after the line that the look has written.
    sluice
        .log()
        .wait_for("the configuration file is as invalid as before");
    assert_eq!(sluice.log().all("reload rejected").len(), 1);
    let told = |seen: &serde_json::Value| seen["history"].as_array().unwrap().len();
    assert_eq!(told(&status(&sluice)), 2, "the start, and one refusal");

    sluice.rewrite(&config(3, 1));
    wait_for_mark(&sluice, 3);
    assert_eq!(status(&sluice)["lastReload"]["result"], "committed");
}

#[test]
fn an_invalid_file_is_told_again_after_a_valid_one() {
    let sluice = start(&config(1, 1));
    let broken = config(2, 1).replace("[echo]", "[nobody]");
    assert_eq!(reload(&sluice, &broken).status, 422);
    assert_eq!(reload(&sluice, &config(3, 1)).status, 200);
    assert_eq!(reload(&sluice, &broken).status, 422);
    eventually("both refusals are in the log", || {
        (sluice.log().all("reload rejected").len() == 2).then_some(())
    });
}

#[test]
fn hup_makes_it_look() {
    let sluice = start(&config(1, 1));
    sluice.signal(nix::sys::signal::Signal::SIGHUP);
    sluice.log().wait_for("configuration unchanged");
}

#[test]
fn an_edit_that_is_taken_back_at_once_is_taken_back() {
    let sluice = start(&config(1, 2));
    for _ in 0..20 {
        sluice.rewrite(&config(2, 2));
        post(&sluice, "/reload");
        sluice.rewrite(&config(1, 2));
        post(&sluice, "/reload");
        assert_eq!(
            super::echoed(&sluice.get("/"), "x-mark").as_deref(),
            Some("1")
        );
    }
}
