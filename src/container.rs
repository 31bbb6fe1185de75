//! What the container may use, its CPU and memory limits as cgroup v1 or v2 has them, and which pod
//! it is in.
//!
//! Not here: what follows from them; the supervisor counts workers by them and gives each its share.

use std::fs;
use std::path::{Path, PathBuf};

mod cgroup;
mod pod;

use cgroup::{Hierarchy, Membership};
pub use pod::Pod;

/// `None` where nothing limits it, or where it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// How many CPUs' worth of time.
    pub cpus: Option<f64>,
    /// In bytes.
    pub memory: Option<u64>,
}

/// What a supervisor takes, and a worker before its first connection, with some room.
const SUPERVISOR: u64 = 12 << 20;
const WORKER: u64 = 8 << 20;

impl Limits {
    /// How much of the memory the connections and requests of one of so many workers may take: a
    /// quarter is left for what nobody counts.
    pub fn memory_of_worker(&self, workers: u16) -> Option<u64> {
        let all = self.memory? / 4 * 3;
        let shared = all.saturating_sub(SUPERVISOR) / u64::from(workers.max(1));
        Some(shared.saturating_sub(WORKER))
    }
}

/// The limits of this process.
pub fn limits() -> Limits {
    limits_below(Path::new("/"))
}

/// As seen from another root directory.
fn limits_below(root: &Path) -> Limits {
    let memberships = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut limits = Limits::default();
    for membership in cgroup::memberships(&memberships) {
        for directory in directories(root, &membership) {
            let here = limits_in(&directory, membership.hierarchy);
            limits.cpus = smaller(limits.cpus, here.cpus);
            limits.memory = smaller(limits.memory, here.memory);
        }
    }
    limits
}

/// The group's directory and all above it, since every level limits. In a container the path is
/// often the host's, of which only the end of the way up is there: the root of the mount.
fn directories(root: &Path, membership: &Membership<'_>) -> Vec<PathBuf> {
    let mount = root.join("sys/fs/cgroup").join(membership.mount());
    let path = Path::new(membership.path.trim_start_matches('/'));
    path.ancestors().map(|above| mount.join(above)).collect()
}

fn limits_in(directory: &Path, hierarchy: Hierarchy) -> Limits {
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
    match hierarchy {
        Hierarchy::Unified => Limits {
            cpus: read("cpu.max").as_deref().and_then(cgroup::cpu_max),
            memory: read("memory.max").as_deref().and_then(cgroup::bytes),
        },
        Hierarchy::Cpu => {
            let quota = read("cpu.cfs_quota_us");
            let period = read("cpu.cfs_period_us");
            let cpus = quota.zip(period);
            Limits {
                cpus: cpus.and_then(|(quota, period)| cgroup::cpu_quota(&quota, &period)),
                memory: None,
            }
        }
        Hierarchy::Memory => Limits {
            cpus: None,
            memory: read("memory.limit_in_bytes")
                .as_deref()
                .and_then(cgroup::bytes),
        },
    }
}

fn smaller<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b < a { b } else { a }),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
