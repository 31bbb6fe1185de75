//! A ConfigMap volume as the kubelet writes it, system call by system call: a new directory of its own
//! for each version, `..data` renamed over the old link, the keys as links through it. What a watcher
//! sees was recorded on a real kubelet: creations, `ATTRIB`, the rename, the old directory gone.
//!
//! Not here: the minute that a kubelet takes to notice.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const DATA: &str = "..data";
const DATA_TMP: &str = "..data_tmp";

pub(crate) struct Volume {
    directory: tempfile::TempDir,
    versions: u32,
}

impl Volume {
    /// Mounted and not filled yet.
    pub(crate) fn empty() -> Volume {
        let directory = tempfile::tempdir().unwrap();
        Volume {
            directory,
            versions: 0,
        }
    }

    pub(crate) fn with(keys: &[(&str, &str)]) -> Volume {
        let mut volume = Volume::empty();
        volume.write(keys);
        volume
    }

    /// What the container is told.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.directory.path().join(key)
    }

    /// Brings the volume to these keys; the same contents again write nothing.
    pub(crate) fn write(&mut self, keys: &[(&str, &str)]) {
        let keys: BTreeMap<&str, &str> = keys.iter().copied().collect();
        let root = self.directory.path();
        let old = read_link(&root.join(DATA));
        if old.as_ref().is_some_and(|old| same(&root.join(old), &keys)) {
            return;
        }
        self.versions += 1;
        let new = format!("..2026_11_23_23_00_00.{:09}", self.versions);
        fill(&root.join(&new), &keys);
        symlink(&new, root.join(DATA_TMP)).unwrap();
        fs::rename(root.join(DATA_TMP), root.join(DATA)).unwrap();
        self.link(&keys);
        self.unlink(&keys);
        if let Some(old) = old {
            fs::remove_dir_all(root.join(old)).unwrap();
        }
    }

    /// What a volume with `fsGroup` sees at each sync: every file's group and mode set again.
    pub(crate) fn touch_attributes(&self) {
        let root = self.directory.path();
        let data = root.join(read_link(&root.join(DATA)).unwrap());
        for entry in fs::read_dir(&data).unwrap() {
            let file = entry.unwrap().path();
            fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
        }
        fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(root, Permissions::from_mode(0o755)).unwrap();
    }

    fn link(&self, keys: &BTreeMap<&str, &str>) {
        for key in keys.keys() {
            let link = self.path(key);
            if read_link(&link).is_none() {
                symlink(Path::new(DATA).join(key), link).unwrap();
            }
        }
    }

    fn unlink(&self, keys: &BTreeMap<&str, &str>) {
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.starts_with("..") && !keys.contains_key(name.as_str()) {
                fs::remove_file(self.path(&name)).unwrap();
            }
        }
    }
}

fn fill(directory: &Path, keys: &BTreeMap<&str, &str>) {
    fs::create_dir(directory).unwrap();
    fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    for (key, text) in keys {
        let file = directory.join(key);
        fs::write(&file, text).unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
    }
}

fn same(directory: &Path, keys: &BTreeMap<&str, &str>) -> bool {
    let entries = fs::read_dir(directory).unwrap();
    let written = entries.map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read_to_string(entry.path()).unwrap())
    });
    let written: BTreeMap<String, String> = written.collect();
    let wanted = keys
        .iter()
        .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
    written == wanted.collect()
}

fn read_link(path: &Path) -> Option<PathBuf> {
    match fs::read_link(path) {
        Ok(target) => Some(target),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}
