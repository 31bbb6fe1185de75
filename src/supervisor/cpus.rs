//! How many workers `workers: auto` means: as many as the container's CPU quota allows, rounded up,
//! and never more than there are CPUs.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::container;
use crate::model::config::Workers;

pub(super) fn workers(workers: Workers) -> u16 {
    match workers {
        Workers::Count(count) => count.get(),
        Workers::Auto => count(cpus(), container::limits().cpus),
    }
}

/// CPUs that this process may run on. std's `available_parallelism` is not asked: it has applied the
/// quota already, rounded down.
fn cpus() -> usize {
    let is_ours = |set: &CpuSet| {
        let ours = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true));
        ours.count()
    };
    sched_getaffinity(Pid::this()).map_or(1, |set| is_ours(&set))
}

fn count(cpus: usize, quota: Option<f64>) -> u16 {
    let cpus = u16::try_from(cpus).unwrap_or(u16::MAX);
    // A float becomes the nearest number that fits.
    let allowed = quota.map_or(cpus, |quota| quota.ceil() as u16);
    allowed.min(cpus).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_the_quota_rounded_up_and_bounded_by_the_cpus() {
        for (cpus, quota, expected) in [
            (8, None, 8),
            (8, Some(0.1), 1),
            (8, Some(1.0), 1),
            (8, Some(1.5), 2),
            (2, Some(16.0), 2),
            (4, Some(0.0), 1),
            (100_000, Some(1e9), u16::MAX),
            (1, Some(f64::NAN), 1),
        ] {
            assert_eq!(count(cpus, quota), expected, "{cpus} {quota:?}");
        }
    }
}
