//! The directories in which something can change what a path leads to: that of the file, that of each
//! symlink on the way, and where something is missing, the one in which it would appear.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// What leads to some files.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// To be watched.
    pub(super) directories: BTreeSet<PathBuf>,
    /// Whatever else happens in those directories changes nothing: others keep their logs there.
    pub(super) places: HashSet<PathBuf>,
}

impl Ways {
    pub(super) fn to<'p>(paths: impl Iterator<Item = &'p Path>) -> Ways {
        let mut ways = Ways::default();
        for path in paths {
            let found = directories(path, &mut ways.places);
            ways.directories.extend(found);
        }
        ways
    }

    /// Whether an event at this path may be of importance.
    pub(super) fn lead_by(&self, path: &Path) -> bool {
        self.places.contains(path) || self.directories.contains(path)
    }
}

fn directories(path: &Path, places: &mut HashSet<PathBuf>) -> BTreeSet<PathBuf> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut found = BTreeSet::new();
    let (mut here, mut rest, mut links) = (PathBuf::from("/"), parts(&path), 0);
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        places.insert(next.clone());
        match std::fs::read_link(&next) {
            Ok(target) => {
                found.insert(here.clone());
                links += 1;
                if links > MAX_LINKS {
                    return found;
                }
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                for part in parts(&target).into_iter().rev() {
                    rest.push_front(part);
                }
            }
            Err(_) if rest.is_empty() || std::fs::symlink_metadata(&next).is_err() => {
                found.insert(here);
                return found;
            }
            Err(_) => here = next,
        }
    }
    found
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    fn directories(path: &Path) -> BTreeSet<PathBuf> {
        Ways::to([path].into_iter()).directories
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    fn set(paths: &[PathBuf]) -> BTreeSet<PathBuf> {
        paths.iter().cloned().collect()
    }

    #[test]
    fn a_plain_file_is_watched_in_its_directory() {
        let (_keep, root) = folder();
        write(root.join("a.yaml"), "").unwrap();
        assert_eq!(directories(&root.join("a.yaml")), set(&[root]));
    }

    #[test]
    fn a_config_map_is_watched_where_its_links_are_swapped_and_where_it_stands() {
        let (_keep, root) = folder();
        create_dir_all(root.join("..2026_1")).unwrap();
        write(root.join("..2026_1/a.yaml"), "").unwrap();
        symlink("..2026_1", root.join("..data")).unwrap();
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        let ways = Ways::to([root.join("a.yaml").as_path()].into_iter());
        assert_eq!(
            ways.directories,
            set(&[root.clone(), root.join("..2026_1")])
        );
        for (place, leads) in [
            ("a.yaml", true),
            ("..data", true),
            ("..2026_1", true),
            ("..2026_1/a.yaml", true),
            ("..2026_1/b.yaml", false),
            ("..data_tmp", false),
            ("access.log", false),
        ] {
            assert_eq!(ways.lead_by(&root.join(place)), leads, "{place}");
        }
    }

    #[test]
    fn chains_and_linked_directories_are_followed() {
        let (_keep, root) = folder();
        for name in ["real", "links", "more"] {
            create_dir_all(root.join(name)).unwrap();
        }
        write(root.join("real/a.yaml"), "").unwrap();
        symlink("../real", root.join("links/dir")).unwrap();
        symlink(root.join("links/dir/a.yaml"), root.join("more/a.yaml")).unwrap();
        let found = directories(&root.join("more/a.yaml"));
        assert_eq!(
            found,
            set(&[root.join("links"), root.join("more"), root.join("real")])
        );
    }

    #[test]
    fn what_is_missing_is_waited_for_where_it_would_appear() {
        let (_keep, root) = folder();
        assert_eq!(
            directories(&root.join("a.yaml")),
            BTreeSet::from([root.clone()])
        );
        assert_eq!(
            directories(&root.join("b/c/a.yaml")),
            BTreeSet::from([root.clone()])
        );
        symlink("gone/a.yaml", root.join("a.yaml")).unwrap();
        assert_eq!(directories(&root.join("a.yaml")), set(&[root]));
    }

    #[test]
    fn a_circle_ends() {
        let (_keep, root) = folder();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert_eq!(directories(&root.join("a")), set(&[root]));
    }
}
