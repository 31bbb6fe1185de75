//! The formats of cgroup files. Pure: text in, numbers out; what cannot be read is no limit.

/// Which limits a group's directory has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hierarchy {
    /// Version 2: all of them.
    Unified,
    /// Version 1, mounted on their own.
    Cpu,
    Memory,
}

/// A line of `/proc/self/cgroup` that says something of CPU or memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Membership<'t> {
    pub(super) hierarchy: Hierarchy,
    /// The names of the controllers, as version 1 calls the mount; empty with version 2.
    controllers: &'t str,
    pub(super) path: &'t str,
}

impl Membership<'_> {
    /// Below `/sys/fs/cgroup`.
    pub(super) fn mount(&self) -> &str {
        self.controllers
    }
}

/// From this on a limit of version 1 means that there is none: it says so by the greatest number of
/// whole pages.
const UNLIMITED: u64 = 1 << 62;

pub(super) fn memberships(text: &str) -> impl Iterator<Item = Membership<'_>> {
    text.lines().filter_map(membership)
}

/// `ID:CONTROLLERS:PATH`.
fn membership(line: &str) -> Option<Membership<'_>> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let has = |name| controllers.split(',').any(|controller| controller == name);
    let hierarchy = match controllers {
        "" => Hierarchy::Unified,
        _ if has("cpu") => Hierarchy::Cpu,
        _ if has("memory") => Hierarchy::Memory,
        _ => return None,
    };
    Some(Membership {
        hierarchy,
        controllers,
        path,
    })
}

/// `QUOTA PERIOD`, where the quota may be `max`.
pub(super) fn cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    cpu_quota(quota, period)
}

/// Both in the same unit; a quota that is no positive number is no limit.
pub(super) fn cpu_quota(quota: &str, period: &str) -> Option<f64> {
    let quota: u32 = quota.trim().parse().ok()?;
    let period: u32 = period.trim().parse().ok()?;
    (quota > 0 && period > 0).then(|| f64::from(quota) / f64::from(period))
}

/// A number, or `max`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let bytes = text.trim().parse().ok()?;
    (bytes < UNLIMITED).then_some(bytes)
}
