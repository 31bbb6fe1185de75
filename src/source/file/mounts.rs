//! Is a file a mount of its own? A ConfigMap's key that is mounted by `subPath` is, and the kubelet
//! never updates it.

use std::path::{Path, PathBuf};

/// Whether the path, or the end of the symlinks that it leads to, is where something is mounted.
pub fn is_single_file_mount(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real.is_file() && is_mounted(&mounts, &real)
}

/// The fifth field of a line of mountinfo is the mount point.
fn is_mounted(mountinfo: &str, path: &Path) -> bool {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(unescape).any(|point| point == path)
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let plain = escapes
        .iter()
        .fold(field.to_owned(), |text, (from, to)| text.replace(from, to));
    PathBuf::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_A_POD: &str = "\
540 480 0:59 / /proc rw,nosuid - proc proc rw
613 480 259:1 /var/lib/kubelet/pods/1/volumes/config/sluice.yaml /etc/sluice/sluice.yaml ro - ext4 /dev/root rw
614 480 259:1 /x /etc/with\\040blank/a.yaml ro - ext4 /dev/root rw
615 480 259:1 /var/lib/kubelet/pods/1/volumes/whole /etc/whole ro - ext4 /dev/root rw
garbage
";

    #[test]
    fn a_sub_path_is_told_from_a_mounted_directory() {
        for (path, expected) in [
            ("/etc/sluice/sluice.yaml", true),
            ("/etc/with blank/a.yaml", true),
            ("/etc/whole/sluice.yaml", false),
            ("/etc/sluice", false),
        ] {
            assert_eq!(is_mounted(IN_A_POD, Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn an_ordinary_file_is_no_mount() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_single_file_mount(file.path()));
    }
}
