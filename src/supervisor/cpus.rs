//! How many workers `workers: auto` means: as many as the container's CPU quota allows, rounded up,
//! and never more than there are CPUs.
//!
//! Reading is the small part; what the files say is a pure function.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use crate::model::config::Workers;

const ROOT: &str = "/sys/fs/cgroup";

pub(super) fn workers(workers: Workers) -> u16 {
    match workers {
        Workers::Count(count) => count.get(),
        Workers::Auto => automatic(),
    }
}

fn automatic() -> u16 {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let quotas = groups
        .lines()
        .flat_map(quota_files)
        .filter_map(|files| match files {
            QuotaFiles::V2(max) => parse_v2(&read(&max)?),
            QuotaFiles::V1 { quota, period } => parse_v1(&read(&quota)?, &read(&period)?),
        });
    count(cpus, quotas)
}

/// The tightest quota of the group and all above it.
fn count(cpus: usize, quotas: impl Iterator<Item = Quota>) -> u16 {
    let allowed = quotas.map(Quota::cpus).min();
    let count = allowed.map_or(cpus, |allowed| allowed.min(cpus));
    u16::try_from(count)
        .ok()
        .and_then(NonZeroU16::new)
        .map_or(1, NonZeroU16::get)
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Microseconds of CPU in a period of microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quota {
    quota: u64,
    period: u64,
}

impl Quota {
    fn new(quota: &str, period: &str) -> Option<Quota> {
        let quota = quota.trim().parse().ok()?;
        let period = period.trim().parse().ok().filter(|period| *period > 0)?;
        Some(Quota { quota, period })
    }

    fn cpus(self) -> usize {
        usize::try_from(self.quota.div_ceil(self.period)).unwrap_or(usize::MAX)
    }
}

/// `cpu.max`: "200000 100000", or "max 100000" where there is no bound.
fn parse_v2(max: &str) -> Option<Quota> {
    let (quota, period) = max.trim().split_once(' ')?;
    Quota::new(quota, period)
}

/// `cpu.cfs_quota_us` and `cpu.cfs_period_us`; a quota of -1 is no bound.
fn parse_v1(quota: &str, period: &str) -> Option<Quota> {
    Quota::new(quota, period)
}

#[derive(Debug, PartialEq, Eq)]
enum QuotaFiles {
    V2(PathBuf),
    V1 { quota: PathBuf, period: PathBuf },
}

/// Where a line of /proc/self/cgroup says that quotas may stand, from the group up to the root.
/// Inside a container the path is often that of the host, and only the root is there to be read.
fn quota_files(line: &str) -> Vec<QuotaFiles> {
    let mut parts = line.splitn(3, ':');
    let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
    else {
        return Vec::new();
    };
    let group = Path::new(path.trim_start_matches('/'));
    let at = |root: PathBuf| group.ancestors().map(move |group| root.join(group));
    if controllers.is_empty() {
        let folders = at(PathBuf::from(ROOT));
        return folders
            .map(|folder| QuotaFiles::V2(folder.join("cpu.max")))
            .collect();
    }
    if !controllers.split(',').any(|controller| controller == "cpu") {
        return Vec::new();
    }
    let roots = [controllers, "cpu"].map(|name| Path::new(ROOT).join(name));
    let files = |folder: PathBuf| QuotaFiles::V1 {
        quota: folder.join("cpu.cfs_quota_us"),
        period: folder.join("cpu.cfs_period_us"),
    };
    roots.into_iter().flat_map(at).map(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_read_as_the_kernel_writes_them() {
        let quota = |quota, period| Some(Quota { quota, period });
        for (text, expected) in [
            ("200000 100000\n", quota(200_000, 100_000)),
            ("max 100000\n", None),
            ("50000 0\n", None),
            ("", None),
            ("nonsense", None),
            ("-1 100000", None),
        ] {
            assert_eq!(parse_v2(text), expected, "{text:?}");
        }
        assert_eq!(parse_v1("150000\n", "100000\n"), quota(150_000, 100_000));
        assert_eq!(parse_v1("-1\n", "100000\n"), None);
    }

    #[test]
    fn workers_are_the_quota_rounded_up_and_bounded_by_the_cpus() {
        let quota = |quota| Quota {
            quota,
            period: 100_000,
        };
        for (cpus, quotas, expected) in [
            (8, vec![], 8),
            (8, vec![quota(10_000)], 1),
            (8, vec![quota(100_000)], 1),
            (8, vec![quota(150_000)], 2),
            (8, vec![quota(400_000), quota(250_000)], 3),
            (2, vec![quota(1_600_000)], 2),
            (4, vec![quota(0)], 1),
            (100_000, vec![], 1),
        ] {
            assert_eq!(
                count(cpus, quotas.clone().into_iter()),
                expected,
                "{cpus} {quotas:?}"
            );
        }
    }

    #[test]
    fn files_are_looked_for_from_the_group_up_to_the_root() {
        let v2 = |path: &str| QuotaFiles::V2(PathBuf::from(path));
        assert_eq!(
            quota_files("0::/pods/a"),
            [
                v2("/sys/fs/cgroup/pods/a/cpu.max"),
                v2("/sys/fs/cgroup/pods/cpu.max"),
                v2("/sys/fs/cgroup/cpu.max"),
            ]
        );
        assert_eq!(quota_files("0::/"), [v2("/sys/fs/cgroup/cpu.max")]);
        let v1 = quota_files("4:cpu,cpuacct:/docker/x");
        let first = QuotaFiles::V1 {
            quota: "/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us".into(),
            period: "/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us".into(),
        };
        assert_eq!(v1.first(), Some(&first));
        assert_eq!(v1.len(), 6);
        assert!(quota_files("3:memory:/docker/x").is_empty());
        assert!(quota_files("nonsense").is_empty());
    }
}
