"""Faults of processes under load: killed, stopped, out of memory, out of descriptors; the supervisor's death."""
import asyncio
import contextlib
import os
import random
import resource
import signal
import time

from . import cases, clients, upstream
from .proxy import Failed, Honest, Sluice, ask

LOST = (ConnectionError, asyncio.IncompleteReadError)


async def workers_killed_stopped_and_starved(options):
    """Under load: a killed worker loses what it had, a stopped one is replaced, one without descriptors for a
    while stays; new connections are served. The history is printed with its seed."""
    seed = options.seed
    chance = random.Random(seed)
    history = []
    async with cases.setting(options, extra="worker: {hangTimeout: 2s}\n") as proxy:
        async with Honest(proxy.port, tolerate=LOST) as honest:
            for _ in range(options.faults):
                pids = proxy.pids()
                if len(pids) == 2:
                    victim = chance.choice(pids)
                    what = chance.choice(["SIGKILL", "SIGSTOP", "starve"])
                    history.append(f"{what} {pids.index(victim)}")
                    if what == "starve":
                        await starve(victim, chance.random())
                        if victim not in proxy.pids():
                            raise Failed(f"seed {seed}, {history}: a worker without descriptors is gone")
                    else:
                        os.kill(victim, signal.Signals[what])
                        gone = lambda: victim not in proxy.pids() and len(proxy.pids()) == 2
                        await cases.off_loop(proxy.wait, gone, f"replacement ({history})")
                await asyncio.sleep(chance.random() * 0.2)
            for _ in range(20):
                cases.expect(await ask(proxy.port, "/good"), ["200"], "a request after the faults")
        bad = [b for b in honest.bad if b"HTTP/1.1 2" not in (b if isinstance(b, bytes) else b.encode())]
        refused = [b for b in bad if "Refused" in str(b)]
        if refused:
            raise Failed(f"seed {seed}, {history}: connections were refused: {refused[:3]}")
        return f"seed {seed}: {', '.join(history)}; {honest.done} requests"


async def starve(pid, seconds):
    """No descriptor is to be had but those that are open."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, limits[1]))
    await asyncio.sleep(seconds)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


async def few_descriptors(options):
    """A worker that runs out of descriptors survives and serves again when there are some."""
    async with cases.setting(options, limit_descriptors=128) as proxy:
        opened = []
        for _ in range(400):
            try:
                opened.append(await asyncio.wait_for(clients.connect(proxy.port), 5))
            except (ConnectionError, asyncio.TimeoutError):
                break
        for _, writer in opened:
            writer.transport.abort()
        def serves():
            try:
                return asyncio.run(ask(proxy.port, "/good", timeout=2)).startswith(b"HTTP/1.1 200")
            except (ConnectionError, asyncio.TimeoutError):
                return False
        await cases.off_loop(proxy.wait, serves, "answer after the shortage")
        return f"{len(opened)} connections were opened with 128 descriptors a process"


async def supervisor_killed(options):
    """Workers drain and end, and a new supervisor takes the address."""
    async with cases.setting(options, status=-signal.SIGKILL) as proxy:
        workers = proxy.pids()
        os.kill(proxy.process.pid, signal.SIGKILL)
        proxy.process.wait()
        deadline = time.monotonic() + 40
        while any(os.path.exists(f"/proc/{pid}") for pid in workers):
            if time.monotonic() > deadline:
                raise Failed("workers outlive their supervisor")
            await asyncio.sleep(0.02)
        async with successor(options, proxy) as second:
            cases.expect(await ask(second.port, "/good"), ["200"], "a request to the second supervisor")
        return "workers ended, the address was taken over"


@contextlib.asynccontextmanager
async def successor(options, proxy):
    """A second supervisor, with the configuration of the one that was killed, at its address."""
    text = open(proxy.path).read().replace("listen: 127.0.0.1:0\n  workers", f"listen: 127.0.0.1:{proxy.port}\n  workers")
    second = await cases.off_loop(lambda: Sluice(options.binary, text))
    try:
        yield second
    finally:
        await cases.off_loop(second.stop)


async def stopped_workers_leave_nobody_behind(options):
    """Both workers are stopped while they have nothing under way: whoever comes then waits in their sockets
    until they are replaced, and is answered."""
    async with cases.setting(options, extra="worker: {hangTimeout: 2s}\n") as proxy:
        await ask(proxy.port, "/good")
        before = proxy.pids()
        for pid in before:
            os.kill(pid, signal.SIGSTOP)
        for answer in await asyncio.gather(*(ask(proxy.port, "/good", timeout=30) for _ in range(100))):
            cases.expect(answer, ["200"], "a request to a stopped worker")
        if set(before) & set(proxy.pids()):
            raise Failed(f"of {before} some still are: {proxy.pids()}")
        restarts = proxy.admin_text("/metrics")
        hung = [line for line in restarts.splitlines()
                if line.startswith("sluice_worker_restarts_total") and 'reason="hang"' in line]
        if sum(float(line.rsplit(" ", 1)[1]) for line in hung) < 2:
            raise Failed(f"the restarts are not counted as hangs: {hung}")
        return "100 requests to two stopped workers were answered by their replacements, none lost"


async def supervisor_killed_under_load(options):
    """Streams under way go on to their end, and a supervisor that is started at once takes the address
    while they do."""
    async def events(reader, writer):
        if await upstream.read_head(reader):
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(30):
                writer.write(b"5\r\nhello\r\n")
                await writer.drain()
                await asyncio.sleep(0.1)
            writer.write(b"0\r\n\r\n")
    async with cases.setting(options, bad=events, status=-signal.SIGKILL) as proxy:
        workers, streams = proxy.pids(), []
        for _ in range(20):
            reader, writer = await clients.connect(proxy.port)
            writer.write(b"GET /bad HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            await asyncio.wait_for(reader.readuntil(b"hello"), 20)
            streams.append((reader, writer))
        async with Honest(proxy.port, tolerate=LOST) as honest:
            os.kill(proxy.process.pid, signal.SIGKILL)
            await cases.off_loop(proxy.process.wait)
            async with successor(options, proxy) as second:
                draining = [pid for pid in workers if os.path.exists(f"/proc/{pid}")]
                if not draining:
                    raise Failed("the workers did not wait for their streams")
                for answer in await asyncio.gather(*(clients.rest(reader) for reader, _ in streams)):
                    if not answer.endswith(b"0\r\n\r\n") or answer.count(b"hello") != 29:
                        raise Failed(f"a stream was cut by the supervisor's death: {answer[-100:]!r}")
                def ended():
                    return not any(os.path.exists(f"/proc/{pid}") for pid in workers)
                await cases.off_loop(second.wait, ended, "end of the first supervisor's workers")
                for _ in range(20):
                    cases.expect(await ask(second.port, "/good"), ["200"], "a request to the second supervisor")
                bad = list(honest.bad)
        if bad:
            raise Failed(f"wrong answers meanwhile: {bad[:3]}")
        return f"20 streams went on to their end beside the second supervisor, {honest.done} requests meanwhile"


def done(proxy, message="reload done"):
    return len([line for line in proxy.lines() if line.get("message") == message])


async def reload_without_descriptors(options):
    """A reload adds sixty sockets, and the supervisor, then a worker, has no descriptor for them: nothing
    changes for anybody, and with descriptors the same file is taken."""
    async with cases.setting(options) as proxy:
        story = []
        async with Honest(proxy.port) as honest:
            for number, who in enumerate(("supervisor", "worker")):
                pid = proxy.process.pid if who == "supervisor" else proxy.pids()[0]
                before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                used = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd")) + 1
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 4, before[1]))
                taken, refused = done(proxy), done(proxy, "reload rejected")
                text = open(proxy.path).read()
                more = ", ".join(f"'127.0.{number + 1}.{n}:0'" for n in range(1, 31))
                proxy.write(text.replace("listen: 127.0.0.1:0\n  w", f"listen: ['127.0.0.1:0', {more}]\n  w"))
                decided = lambda: done(proxy) > taken or done(proxy, "reload rejected") > refused
                await cases.off_loop(proxy.wait, decided, "decision about the reload")
                was = "refused" if done(proxy, "reload rejected") > refused else "taken"
                story.append(f"{who}: {was}")
                for _ in range(10):
                    cases.expect(await ask(proxy.port, "/good"), ["200"], f"a request while the {who} has no descriptors")
                if os.path.exists(f"/proc/{pid}"):
                    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
                if was == "refused":
                    proxy.process.send_signal(signal.SIGHUP)
                    await cases.off_loop(proxy.wait, lambda: done(proxy) > taken, "reload with descriptors")
                for _ in range(10):
                    cases.expect(await ask(proxy.port, "/good"), ["200"], "a request after the shortage")
                proxy.write(text)
                await cases.off_loop(proxy.wait, lambda: done(proxy) > taken + 1, "reload back")
        return f"{honest.check()}; {', '.join(story)}"


ALL = {
    "workers killed, stopped and starved": workers_killed_stopped_and_starved,
    "stopped workers leave nobody behind": stopped_workers_leave_nobody_behind,
    "few descriptors": few_descriptors,
    "reload without descriptors": reload_without_descriptors,
    "supervisor killed": supervisor_killed,
    "supervisor killed under load": supervisor_killed_under_load,
}
