"""Faults of the machine beneath the proxy: no memory, no disk, no file, a clock that jumps. The honest
client beside them must not notice, but for a worker's own death."""
import asyncio
import glob
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time

from . import cases, clients
from .proxy import Failed, Honest, ask

FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
NOBODY = 65534


async def disk_full(options):
    """The access log's disk is full: lines are dropped and counted, requests are answered."""
    async def act(proxy):
        for _ in range(50):
            cases.expect(await ask(proxy.port, "/good"), ["200"], "a request while the disk is full")
        def dropped():
            text = proxy.admin_text("/metrics")
            return any(line.startswith('sluice_access_log_lines_total{outcome="dropped"}') and not line.endswith(" 0")
                       for line in text.splitlines())
        await cases.off_loop(proxy.wait, dropped, "a dropped line in the metrics")
    extra = "accessLog: {mode: 'on', path: /dev/full}\n"
    return await cases.attack(options, act, extra=extra)


async def disk_that_fills_up(options):
    """A small disk takes the access log until it is full, and again once there is room."""
    home = tempfile.mkdtemp(prefix="torture-disk-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0777", "tmpfs", home], capture_output=True)
    if mounted.returncode:
        os.rmdir(home)
        return "skipped: nothing can be mounted here"
    path = os.path.join(home, "access.log")
    def lines(proxy, outcome):
        found = re.findall(rf'^sluice_access_log_lines_total{{outcome="{outcome}"}} (\d+)$', proxy.admin_text("/metrics"), re.M)
        return sum(int(count) for count in found)
    async def until(proxy, what, enough):
        for _ in range(2000):
            cases.expect(await ask(proxy.port, "/good"), ["200"], "a request while the disk is full")
            if await cases.off_loop(enough):
                return
        raise Failed(f"no {what} after 2,000 requests")
    async def act(proxy):
        await until(proxy, "dropped line", lambda: lines(proxy, "dropped") > 0)
        os.truncate(path, 0)
        before = lines(proxy, "written")
        await until(proxy, "line after there was room", lambda: lines(proxy, "written") > before + 10)
        if not os.path.getsize(path):
            raise Failed("lines are counted as written and are not in the file")
    try:
        return await cases.attack(options, act, extra=f"accessLog: {{mode: 'on', path: '{path}'}}\n")
    finally:
        subprocess.run(["umount", "-l", home], check=True)
        os.rmdir(home)


async def config_unreadable(options):
    """The file goes, its folder goes, both come back: it serves on, says so, and takes the next change."""
    async def act(proxy):
        text = open(proxy.path).read()
        aside = proxy.home + ".aside"
        os.rename(proxy.home, aside)
        await still_good(proxy)
        os.rename(aside, proxy.home)
        os.unlink(proxy.path)
        await still_good(proxy)
        proxy.write(text.replace("rules:\n", "rules:\n    - {path: /new, upstreams: [good]}\n"))
        def taken():
            return len([line for line in proxy.lines() if line.get("message") == "reload done"]) >= 2
        await cases.off_loop(proxy.wait, taken, "generation after the folder came back")
        cases.expect(await ask(proxy.port, "/new"), ["200"], "a rule of the new file")
    return await cases.attack(options, act)


async def config_forbidden(options):
    """As somebody who may not read the folder any more. Root may read everything, so it is not root."""
    async def act(proxy):
        os.chmod(proxy.home, 0o000)
        await still_good(proxy)
        proxy.process.send_signal(signal.SIGHUP)
        await still_good(proxy)
        os.chmod(proxy.home, 0o755)
        text = open(proxy.path).read()
        proxy.write(text.replace("rules:\n", "rules:\n    - {path: /new, upstreams: [good]}\n"))
        os.chmod(proxy.path, 0o644)
        def taken():
            return len([line for line in proxy.lines() if line.get("message") == "reload done"]) >= 2
        await cases.off_loop(proxy.wait, taken, "generation after the folder could be read again")
        cases.expect(await ask(proxy.port, "/new"), ["200"], "a rule of the new file")
    return await cases.attack(options, act, user=NOBODY if os.getuid() == 0 else None)


async def still_good(proxy, times=10):
    for _ in range(times):
        cases.expect(await ask(proxy.port, "/good"), ["200"], "a request while the file cannot be read")
        await asyncio.sleep(0.02)


async def clock_jumps(options):
    """The time of day goes a day forth and two back. Deadlines are kept by the other clock."""
    if not FAKETIME:
        if os.environ.get("CI") == "true":
            raise Failed("libfaketime is not installed")
        return "skipped: libfaketime is not installed"
    jumps = ["+1d", "-1d", "+0", "-3600", "+30d", "+0"]
    async def act(proxy):
        for jump in jumps:
            with open(control + ".new", "w") as f:
                f.write(jump + "\n")
            os.rename(control + ".new", control)
            for _ in range(10):
                cases.expect(await ask(proxy.port, "/good"), ["200"], f"a request after a jump of {jump}")
                await asyncio.sleep(0.05)
        if proxy.pids() != workers[0]:
            raise Failed(f"workers were replaced: {workers[0]} became {proxy.pids()}")
    workers = []
    home = f"/tmp/torture-clock-{os.getpid()}"
    os.makedirs(home, exist_ok=True)
    control = os.path.join(home, "now")
    with open(control, "w") as f:
        f.write("+0\n")
    environment = {"LD_PRELOAD": FAKETIME[0], "FAKETIME_TIMESTAMP_FILE": control, "FAKETIME_NO_CACHE": "1",
                   "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    def remember(proxy):
        workers.append(proxy.pids())
    try:
        return await cases.attack(options, act, environment=environment, before=remember)
    finally:
        shutil.rmtree(home)


async def worker_out_of_memory(options):
    """One worker may take no more address space than it has: whatever it has to refuse or to die of, it
    is replaced, the other one serves on, and the shortage ends with it."""
    lost = (ConnectionError, asyncio.IncompleteReadError)
    async with cases.setting(options) as proxy:
        await ask(proxy.port, "/good")
        before = proxy.pids()
        async with Honest(proxy.port, tolerate=lost) as honest:
            space = int(open(f"/proc/{before[0]}/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.prlimit(before[0], resource.RLIMIT_AS, (space, space))
            opened = []
            for _ in range(300):
                if writer := await clients.begin_upload(proxy.port):
                    opened.append(writer)
            await asyncio.sleep(2)
            for writer in opened:
                writer.transport.abort()
            def whole():
                return len(proxy.pids()) == 2
            await cases.off_loop(proxy.wait, whole, "two workers after the shortage")
            for _ in range(20):
                cases.expect(await ask(proxy.port, "/good"), ["200", "503"], "a request after the shortage")
        refused = [bad for bad in honest.bad if "Refused" in str(bad)]
        if refused:
            raise Failed(f"connections were refused: {refused[:3]}")
        replaced = "replaced" if proxy.pids() != before else "the same"
        return f"300 uploads into a worker without memory; workers {replaced}, {honest.done} honest requests"


async def one_worker_without_descriptors(options):
    """One of two workers has no descriptor to spare, under load: it does not spin, does not die, and what
    it has accepted is answered; when descriptors are back, it accepts again."""
    async with cases.setting(options) as proxy:
        await ask(proxy.port, "/good")
        victim = proxy.pids()[0]
        limits = resource.prlimit(victim, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{victim}/fd"))
        resource.prlimit(victim, resource.RLIMIT_NOFILE, (used, limits[1]))
        answered = []
        async def one():
            try:
                answered.append((await ask(proxy.port, "/good", timeout=30))[9:12])
            except (ConnectionError, asyncio.TimeoutError) as error:
                answered.append(type(error).__name__)
        waiting = [asyncio.create_task(one()) for _ in range(40)]
        began, ticks = time.monotonic(), cpu_ticks(victim)
        await asyncio.sleep(2)
        busy = (cpu_ticks(victim) - ticks) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)
        resource.prlimit(victim, resource.RLIMIT_NOFILE, limits)
        await asyncio.gather(*waiting)
        if busy > 0.5:
            raise Failed(f"the worker took {busy:.0%} of a core while it waited for descriptors")
        odd = [word for word in answered if word not in (b"200", b"503", b"502")]
        if odd or victim not in proxy.pids():
            raise Failed(f"answers {answered}, workers {proxy.pids()}, the victim was {victim}")
        return f"{answered.count(b'200')} of 40 answered 200, none lost; {busy:.0%} of a core meanwhile"


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


ALL = {
    "disk full for the access log": disk_full,
    "disk that fills up": disk_that_fills_up,
    "configuration gone": config_unreadable,
    "configuration forbidden": config_forbidden,
    "the clock jumps": clock_jumps,
    "a worker without memory": worker_out_of_memory,
    "a worker without descriptors": one_worker_without_descriptors,
}
