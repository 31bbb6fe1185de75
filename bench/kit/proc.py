"""What the kernel says of a set of processes: CPU time, memory, descriptors. No timing of its own."""
import os
import time


def family(root):
    """The process and all its descendants that live now."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


def cpu_seconds(pids):
    """Time on a core of all threads that there ever were, user and system together, to the nanosecond."""
    total = 0
    for pid in pids:
        try:
            # The CPU clock of a process, as clock_getcpuclockid(3) names it.
            total += time.clock_gettime(~pid << 3 | 2)
        except OSError:
            raise RuntimeError(f"process {pid} went away while it was measured")
    return total


def pss_kib(pids):
    """Proportional set size of all of them together. What they share with other programs, such as the C library,
    counts the less the more of those run."""
    return rollup_kib(pids, "Pss:")


def own_kib(pids):
    """What all of them together have written themselves: heaps, stacks and the like."""
    return rollup_kib(pids, "Anonymous:")


def rollup_kib(pids, key):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            for line in f:
                if line.startswith(key):
                    total += int(line.split()[1])
    return total


def pin(pids, core):
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {core})
