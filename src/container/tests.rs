use super::*;

const MIB: u64 = 1024 * 1024;

/// A root directory with these files.
fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    root
}

fn limits_of(files: &[(&str, &str)]) -> Limits {
    limits_below(root(files).path())
}

#[test]
fn version_2_in_a_container_of_its_own_namespace() {
    let limits = limits_of(&[
        ("proc/self/cgroup", "0::/\n"),
        ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
        ("sys/fs/cgroup/memory.max", "67108864\n"),
    ]);
    let expected = Limits {
        cpus: Some(1.5),
        memory: Some(64 * MIB),
    };
    assert_eq!(limits, expected);
}

#[test]
fn version_2_takes_the_smallest_on_the_way_up() {
    let limits = limits_of(&[
        ("proc/self/cgroup", "0::/pods/one\n"),
        ("sys/fs/cgroup/pods/one/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/pods/one/memory.max", "268435456\n"),
        ("sys/fs/cgroup/pods/cpu.max", "50000 100000\n"),
        ("sys/fs/cgroup/pods/memory.max", "134217728\n"),
    ]);
    let expected = Limits {
        cpus: Some(0.5),
        memory: Some(128 * MIB),
    };
    assert_eq!(limits, expected);
}

#[test]
fn version_1_whose_path_is_that_of_the_host() {
    let limits = limits_of(&[
        (
            "proc/self/cgroup",
            "9:memory:/kubepods/pod1/abc\n4:cpu,cpuacct:/kubepods/pod1/abc\n2:pids:/kubepods\n",
        ),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "33554432\n"),
    ]);
    let expected = Limits {
        cpus: Some(2.0),
        memory: Some(32 * MIB),
    };
    assert_eq!(limits, expected);
}

#[test]
fn version_1_without_limits() {
    let limits = limits_of(&[
        ("proc/self/cgroup", "9:memory:/\n4:cpu,cpuacct:/\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        ),
    ]);
    assert_eq!(limits, Limits::default());
}

#[test]
fn what_cannot_be_read_is_no_limit() {
    assert_eq!(limits_of(&[]), Limits::default());
    let nonsense = [
        ("proc/self/cgroup", "0::/\nnonsense\n:\n"),
        ("sys/fs/cgroup/cpu.max", "0 0\n"),
        ("sys/fs/cgroup/memory.max", "a lot\n"),
    ];
    assert_eq!(limits_of(&nonsense), Limits::default());
}

#[test]
fn workers_share_what_the_processes_leave() {
    let limits = |memory| Limits { cpus: None, memory };
    assert_eq!(limits(None).memory_of_worker(2), None);
    // 96 MiB without the supervisor's 12, by two, without a worker's 8.
    assert_eq!(limits(Some(128 * MIB)).memory_of_worker(2), Some(34 * MIB));
    assert_eq!(limits(Some(16 * MIB)).memory_of_worker(4), Some(0));
    assert_eq!(
        limits(Some(64 * MIB)).memory_of_worker(0),
        limits(Some(64 * MIB)).memory_of_worker(1)
    );
}
