//! `process_*`, summed over the supervisor and its workers, from /proc. A process that is gone
//! meanwhile counts nothing.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use prometheus::proto::MetricFamily;

use super::admission::Admission;
use super::{catalog, seconds, single};
use crate::admin::status::Status;

/// What /proc counts CPU time in: fixed by the kernel's interface on every architecture of ours.
const TICKS_PER_SECOND: f64 = 100.0;

/// One process, or several together.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Usage {
    processes: u32,
    cpu_seconds: f64,
    resident: u64,
    virtual_: u64,
    open_fds: u64,
}

pub(super) fn families(status: &Status, admission: &mut Admission) -> Vec<MetricFamily> {
    let mut all = read(status.pid, Descendants::Reaped).unwrap_or_default();
    let workers = status.workers.iter().filter(|worker| worker.pid != 0);
    for usage in workers.filter_map(|worker| read(worker.pid, Descendants::None)) {
        all.add(&usage);
    }
    admission.cpu_seconds = admission.cpu_seconds.max(all.cpu_seconds);
    let mut families = vec![
        single(&catalog::PROCESSES, f64::from(all.processes)),
        single(&catalog::CPU, admission.cpu_seconds),
        single(&catalog::RESIDENT, all.resident as f64),
        single(&catalog::VIRTUAL, all.virtual_ as f64),
        single(&catalog::OPEN_FDS, all.open_fds as f64),
        single(&catalog::START_TIME, seconds(status.started_at)),
    ];
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        families.push(single(&catalog::MAX_FDS, soft as f64));
    }
    families
}

/// Whose CPU time counts beside the process's own: the dead workers' is the supervisor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Descendants {
    Reaped,
    None,
}

fn read(pid: u32, descendants: Descendants) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let open_fds = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |fds| fds.count() as u64);
    Some(Usage {
        processes: 1,
        cpu_seconds: cpu_seconds(&stat, descendants)?,
        resident: kib(&status, "VmRSS:").unwrap_or_default() * 1024,
        virtual_: kib(&status, "VmSize:").unwrap_or_default() * 1024,
        open_fds,
    })
}

/// The command's name, in parentheses, may hold anything: fields are counted from its end.
fn cpu_seconds(stat: &str, descendants: Descendants) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let counted = if descendants == Descendants::Reaped {
        4
    } else {
        2
    };
    let ticks = fields.split_ascii_whitespace().skip(11).take(counted);
    let ticks: u64 = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>().ok()?;
    Some(ticks as f64 / TICKS_PER_SECOND)
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

impl Usage {
    fn add(&mut self, other: &Usage) {
        self.processes += other.processes;
        self.cpu_seconds += other.cpu_seconds;
        self.resident += other.resident;
        self.virtual_ += other.virtual_;
        self.open_fds += other.open_fds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 300 100 20 0 1 0 99 1 2";
        assert_eq!(cpu_seconds(stat, Descendants::None), Some(2.0));
        assert_eq!(cpu_seconds(stat, Descendants::Reaped), Some(6.0));
        assert_eq!(cpu_seconds("7 (x", Descendants::None), None);
    }

    #[test]
    fn our_own_process_uses_something() {
        let usage = read(std::process::id(), Descendants::Reaped).expect("we live");
        assert!(usage.resident > 0 && usage.virtual_ > usage.resident && usage.open_fds > 2);
        assert_eq!(read(u32::MAX, Descendants::None), None);
    }
}
