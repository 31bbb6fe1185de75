use std::fs::{self, create_dir, remove_dir_all, remove_file, rename, write};
use std::os::unix::fs::symlink;

use notify::event::{CreateKind, MetadataKind, ModifyKind, RemoveKind, RenameMode};

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

/// A folder with a file that is watched, without a poll that could hide a missed event.
struct Scene {
    folder: tempfile::TempDir,
    watch: Watch,
    beside: watch::Sender<Vec<PathBuf>>,
    _timing: watch::Sender<Timing>,
}

impl Scene {
    async fn of(set_up: impl FnOnce(&Path)) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        set_up(folder.path());
        let timing = Timing {
            debounce: Duration::from_millis(30),
            poll: Duration::from_secs(3600),
        };
        let (to, timing) = watch::channel(timing);
        let (beside, files) = watch::channel(Vec::new());
        let watch = Watch::begin(folder.path().join("a.yaml"), files, timing);
        let mut scene = Scene {
            folder,
            watch,
            beside,
            _timing: to,
        };
        // The first look, right after the watch began.
        scene.expect("the start").await;
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn expect(&mut self, what: &str) {
        let seen = timeout(DEADLINE, self.watch.changed()).await;
        assert!(seen.is_ok(), "{what} was not seen");
    }

    /// Until the file says this: what a reader that looks at each hint sees in the end.
    async fn expect_text(&mut self, text: &str) {
        while fs::read_to_string(self.path("a.yaml")).ok().as_deref() != Some(text) {
            self.expect(text).await;
        }
    }
}

#[tokio::test]
async fn every_way_to_edit_a_file_is_seen() {
    let mut scene = Scene::of(|folder| write(folder.join("a.yaml"), "0").unwrap()).await;
    let path = scene.path("a.yaml");
    write(&path, "in place").unwrap();
    scene.expect("a write in place").await;

    write(scene.path("new"), "renamed over").unwrap();
    rename(scene.path("new"), &path).unwrap();
    scene.expect("a rename over it").await;

    remove_file(&path).unwrap();
    scene.expect("its removal").await;
    write(&path, "back").unwrap();
    scene.expect("its return").await;
}

#[tokio::test]
async fn a_config_map_update_is_seen_time_and_again() {
    let swap = |folder: &Path, n: u32| {
        let new = format!("..2026_{n}");
        create_dir(folder.join(&new)).unwrap();
        write(folder.join(&new).join("a.yaml"), n.to_string()).unwrap();
        symlink(&new, folder.join("..data_tmp")).unwrap();
        rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        if n > 0 {
            remove_dir_all(folder.join(format!("..2026_{}", n - 1))).unwrap();
        }
    };
    let mut scene = Scene::of(|folder| {
        swap(folder, 0);
        symlink("..data/a.yaml", folder.join("a.yaml")).unwrap();
    })
    .await;
    for n in 1..4 {
        swap(scene.folder.path(), n);
        scene.expect_text(&n.to_string()).await;
    }
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_watched_anew() {
    let mut scene = Scene::of(|folder| {
        create_dir(folder.join("d")).unwrap();
        write(folder.join("d/a.yaml"), "0").unwrap();
        symlink("d/a.yaml", folder.join("a.yaml")).unwrap();
    })
    .await;
    rename(scene.path("d"), scene.path("old")).unwrap();
    create_dir(scene.path("d")).unwrap();
    write(scene.path("d/a.yaml"), "1").unwrap();
    scene.expect_text("1").await;
    // All hints that are still on their way are taken, so that the next one is of the next write.
    while timeout(Duration::from_millis(300), scene.watch.changed())
        .await
        .is_ok()
    {}
    write(scene.path("d/a.yaml"), "2").unwrap();
    scene.expect("a write in the new directory").await;
}

#[tokio::test]
async fn reading_the_file_stirs_nothing() {
    let mut scene = Scene::of(|folder| write(folder.join("a.yaml"), "0").unwrap()).await;
    fs::read(scene.path("a.yaml")).unwrap();
    fs::metadata(scene.path("a.yaml")).unwrap();
    let quiet = timeout(Duration::from_millis(300), scene.watch.changed()).await;
    assert!(quiet.is_err(), "a look calls for no further look");
}

#[tokio::test]
async fn what_others_do_in_the_directory_stirs_nothing() {
    let mut scene = Scene::of(|folder| write(folder.join("a.yaml"), "0").unwrap()).await;
    write(scene.path("access.log"), "a line").unwrap();
    rename(scene.path("access.log"), scene.path("access.log.1")).unwrap();
    let quiet = timeout(Duration::from_millis(300), scene.watch.changed()).await;
    assert!(quiet.is_err(), "it is not what leads to the file");
    write(scene.path("a.yaml"), "1").unwrap();
    scene.expect("the file itself").await;
}

#[tokio::test]
async fn a_poll_looks_where_the_system_says_nothing() {
    let timing = Timing {
        debounce: Duration::from_millis(1),
        poll: Duration::from_millis(20),
    };
    let (_to, timing) = watch::channel(timing);
    let (_beside, files) = watch::channel(Vec::new());
    let mut watch = Watch::begin(PathBuf::from("/proc/self/mountinfo"), files, timing);
    for _ in 0..3 {
        assert!(timeout(DEADLINE, watch.changed()).await.is_ok());
    }
}

#[test]
fn only_what_can_change_contents_is_relevant() {
    for (kind, expected) in [
        (EventKind::Create(CreateKind::File), true),
        (EventKind::Remove(RemoveKind::Folder), true),
        (EventKind::Modify(ModifyKind::Name(RenameMode::To)), true),
        (
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            true,
        ),
        (EventKind::Any, true),
        (EventKind::Access(AccessKind::Open(AccessMode::Any)), false),
        (
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            false,
        ),
        (
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
            true,
        ),
    ] {
        assert_eq!(is_relevant(&kind), expected, "{kind:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_named_is_watched_where_its_links_lead() {
    let mut scene = Scene::of(|folder| write(folder.join("a.yaml"), "0").unwrap()).await;
    let other = tempfile::tempdir().unwrap();
    let root = other.path();
    create_dir(root.join("..1")).unwrap();
    write(root.join("..1/tls.crt"), "one").unwrap();
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/tls.crt", root.join("tls.crt")).unwrap();
    scene.beside.send_replace(vec![root.join("tls.crt")]);
    scene.expect("the look that follows another list").await;

    create_dir(root.join("..2")).unwrap();
    write(root.join("..2/tls.crt"), "two").unwrap();
    symlink("..2", root.join("..data_tmp")).unwrap();
    rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    scene.expect("a swap of its volume").await;
}
