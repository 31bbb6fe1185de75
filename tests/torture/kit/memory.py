"""Little memory: a control group that holds the program or one worker of it, and clients that send what takes some."""
import asyncio
import os
import time

from . import cases, clients, frames, upstream
from .frames import ACK, DATA, END_HEADERS, HEADERS, SETTINGS, WINDOW_UPDATE, frame
from .proxy import DEADLINE, Failed, Honest, ask

LOST = (ConnectionError, asyncio.IncompleteReadError)
LITTLE = 128 << 20
LEAST_WINDOW = 65_535
POST = b"\x83"


class MemoryBound:
    """A control group whose processes may take so many bytes together, from when they enter it."""

    @classmethod
    def make(cls, size):
        for root, bound in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            path = f"{root}/torture-{os.getpid()}-{time.monotonic_ns()}"
            try:
                os.mkdir(path)
            except OSError:
                continue
            try:
                # Where no such hierarchy is mounted, there is no such file to be written.
                with open(f"{path}/{bound}", "r+") as f:
                    f.write(str(size))
                return cls(path)
            except OSError:
                os.rmdir(path)
        return None

    def __init__(self, path):
        self.path = path

    def most(self):
        """What its processes have taken at the most."""
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            if os.path.exists(f"{self.path}/{name}"):
                with open(f"{self.path}/{name}") as f:
                    return int(f.read())
        raise Failed("the control group does not say what was used")

    def take(self, pid):
        with open(f"{self.path}/cgroup.procs", "w") as f:
            f.write(str(pid))

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        """Once the last of its processes is gone."""
        for _ in range(500):
            try:
                return os.rmdir(self.path)
            except OSError:
                await asyncio.sleep(0.01)


async def worker_killed_for_memory(options):
    """The kernel kills one worker, whose control group has no memory left: it is replaced and counted, and
    what waited for it is answered."""
    bound = MemoryBound.make(1 << 20)
    if not bound:
        return "skipped: no control group can be made here"
    async with bound, cases.setting(options) as proxy:
        await ask(proxy.port, "/good")
        victim = proxy.pids()[0]
        async with Honest(proxy.port, tolerate=LOST) as honest:
            bound.take(victim)
            opened = []
            for _ in range(2000):
                if victim not in proxy.pids():
                    break
                if writer := await clients.begin_upload(proxy.port):
                    opened.append(writer)
            def replaced():
                return victim not in proxy.pids() and len(proxy.pids()) == 2
            await cases.off_loop(proxy.wait, replaced, "replacement of a worker without memory")
            for writer in opened:
                writer.transport.abort()
            for _ in range(20):
                cases.expect(await ask(proxy.port, "/good"), ["200"], "a request after the kill")
        if refused := [bad for bad in honest.bad if "Refused" in str(bad)]:
            raise Failed(f"connections were refused: {refused[:3]}")
        killed = [line for line in proxy.admin_text("/metrics").splitlines()
                  if line.startswith("sluice_worker_restarts_total") and 'reason="signal"' in line]
        if sum(float(line.rsplit(" ", 1)[1]) for line in killed) < 1:
            raise Failed(f"the kill is not counted: {killed}")
        return f"killed after {len(opened)} uploads and replaced, {honest.done} honest requests"


async def served_again(proxy):
    async def one():
        while not (await ask(proxy.port, "/good")).startswith(b"HTTP/1.1 200"):
            await asyncio.sleep(0.01)
    await asyncio.wait_for(one(), DEADLINE)


class Sender:
    """A client of HTTP/2 that sends as much of its bodies as it may, and reads nothing else."""

    @classmethod
    async def connect(cls, port):
        self = cls()
        self.reader, self.writer = await clients.connect(port)
        self.writer.write(frames.PREFACE + frame(SETTINGS))
        self.room, self.each, self.known = LEAST_WINDOW, 0, asyncio.Event()
        self.listening = asyncio.create_task(self.listen())
        await self.known.wait()
        return self

    async def listen(self):
        while got := await frames.read(self.reader):
            kind, flags, stream, payload = got
            if kind == SETTINGS and not flags & ACK:
                pairs = (payload[at:at + 6] for at in range(0, len(payload), 6))
                values = {int.from_bytes(pair[:2], "big"): int.from_bytes(pair[2:], "big") for pair in pairs}
                self.each = values.get(frames.INITIAL_WINDOW_SIZE, LEAST_WINDOW)
                self.writer.write(frame(SETTINGS, ACK))
                self.known.set()
            if kind == WINDOW_UPDATE and stream == 0:
                self.room += int.from_bytes(payload, "big")
        self.room = 0
        self.known.set()

    async def post(self, stream, piece, most):
        """`most` bytes of a body in frames of `piece`, or as many as it may send now."""
        self.writer.write(frame(HEADERS, END_HEADERS, stream, frames.request(b"/bad", POST)))
        left = min(self.each, most)
        while (some := min(left, self.room, 1000 * piece)) >= piece:
            self.writer.write(frame(DATA, 0, stream, b"x" * piece) * (some // piece))
            left -= some // piece * piece
            self.room -= some // piece * piece
            await asyncio.wait_for(self.writer.drain(), 10)

    def close(self):
        self.listening.cancel()
        self.writer.transport.abort()


async def takes_nothing(reader, writer):
    await reader.readexactly(len(frames.PREFACE))
    writer.write(frames.setting(frames.INITIAL_WINDOW_SIZE, 0))
    await reader.read()


# Connections, bodies of each, bytes of a frame and of a body.
BODIES = {
    "of one byte a frame": (200, 1, 1, 30_000),
    "of large frames": (120, 4, 16_384, 1 << 18),
    "more at once than are served": (100, 100, 600, 600),
}
# Of requests at once; that many are served by any one worker.
FEW = 200


async def bodies_that_nobody_takes(options):
    """Over HTTP/2 into a program of 128 MiB: what is beyond that waits at the clients or is answered 503, and no
    process is killed."""
    group = MemoryBound.make(LITTLE)
    if not group:
        return "skipped: no control group can be made here"
    story = []
    async with group, cases.setting(options, bad=takes_nothing, bad_is=", protocol: h2c", group=group.path) as proxy:
        workers = proxy.pids()
        for name, (connections, streams, piece, most) in BODIES.items():
            senders = [await Sender.connect(proxy.port) for _ in range(connections)]
            for sender in senders:
                for stream in range(streams):
                    await sender.post(2 * stream + 1, piece, most)
                good = ["200"] if connections * streams <= FEW else ["200", "503"]
                cases.expect(await ask(proxy.port, "/good"), good, f"a request beside bodies {name}")
            for sender in senders:
                sender.close()
            await served_again(proxy)
            if proxy.pids() != workers:
                raise Failed(f"bodies {name}: a worker was replaced")
            story.append(f"{name}: {group.most() >> 20} MiB")
    return f"at the most {', '.join(story)}"


async def swallows(reader, writer):
    while await reader.read(1 << 16):
        pass


async def windows_widen(options):
    """Where memory is bounded and there is some: a connection that has sent bodies may send more at once than at first."""
    group = MemoryBound.make(LITTLE)
    if not group:
        return "skipped: no control group can be made here"
    async with group, cases.setting(options, bad=swallows, group=group.path) as proxy:
        sender = await Sender.connect(proxy.port)
        cases.expect(await ask(proxy.port, "/good"), ["200"], "a request meanwhile")
        if sender.room != LEAST_WINDOW:
            raise Failed(f"a window of {sender.room} bytes to begin with")
        async def widened():
            stream = 1
            while sender.room <= LEAST_WINDOW:
                await sender.post(stream, 1_000, 1 << 18)
                stream += 2
                await asyncio.sleep(0.01)
        await asyncio.wait_for(widened(), DEADLINE)
        sender.close()
    return f"{sender.room >> 10} KiB instead of {LEAST_WINDOW >> 10}"


FIELD = b"v" * 100
HALF_A_HEAD = b"GET /good HTTP/1.1\r\nHost: t\r\n" + b"".join(b"X-%d: %s\r\n" % (n, FIELD) for n in range(95)) + b"X: " + b"v" * 20_000
HALF_A_SECTION = frames.PREFACE + frame(SETTINGS) + frame(
    HEADERS, 0, 1, frames.request(b"/good") + b"".join(frames.field(b"x-%d" % n, FIELD) for n in range(95)))


async def heads_that_do_not_end(options):
    """Of as many connections as there may be, into a program of 128 MiB: whole requests are answered beside them,
    and no process is killed."""
    group = MemoryBound.make(LITTLE)
    if not group:
        return "skipped: no control group can be made here"
    story = []
    async with group, cases.setting(options, group=group.path) as proxy:
        workers = proxy.pids()
        for name, half in (("HTTP/1", HALF_A_HEAD), ("HTTP/2", HALF_A_SECTION)):
            opened = []
            for number in range(3_000):
                _, writer = await asyncio.wait_for(clients.connect(proxy.port), 10)
                writer.write(half)
                opened.append(writer)
                if number % 100 == 99:
                    cases.expect(await ask(proxy.port, "/good"), ["200"], f"a request beside half heads of {name}")
            for writer in opened:
                writer.transport.abort()
            if proxy.pids() != workers:
                raise Failed(f"half heads of {name}: a worker was replaced")
            story.append(f"{name}: {group.most() >> 20} MiB")
        await cases.off_loop(proxy.expect_reason, "overloaded")
    return f"at the most {', '.join(story)}"


MOST_ROOM = frames.setting(frames.INITIAL_WINDOW_SIZE, 0x7FFFFFFF) + frames.window(0, 0x7FFF0000 - LEAST_WINDOW)


async def answers_that_nobody_reads(options):
    """A hundred at once over each of many connections, each answer endless and as much of it asked for as there can be, in
    128 MiB. Others may have to wait for a connection; no process is killed, neither then nor when all of them go at once."""
    group = MemoryBound.make(LITTLE)
    if not group:
        return "skipped: no control group can be made here"
    endless = upstream.endless(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"x" * 65_536)
    async with group, cases.setting(options, bad=endless, group=group.path) as proxy:
        workers = proxy.pids()
        asked = frames.PREFACE + MOST_ROOM + b"".join(frames.get(2 * n + 1, b"/bad") for n in range(100))
        opened = []
        for _ in range(1_000):
            _, writer = await asyncio.wait_for(clients.connect(proxy.port), 10)
            writer.transport.pause_reading()
            writer.write(asked)
            opened.append(writer)
        def taken_in():
            return sum(proxy.errors(reason) for reason in ("overloaded", "too_many_connections")) >= 5_000
        await cases.off_loop(proxy.wait, taken_in, "5,000 requests that are shed")
        for writer in opened:
            writer.transport.abort()
        await served_again(proxy)
        if proxy.pids() != workers:
            raise Failed("a worker was replaced")
        return f"{len(opened) * 100} of them: at the most {group.most() >> 20} MiB"


ALL = {
    "windows widen where there is memory": windows_widen,
    "answers that nobody reads, in little memory": answers_that_nobody_reads,
    "heads that do not end, in little memory": heads_that_do_not_end,
    "worker killed for memory": worker_killed_for_memory,
    "bodies that nobody takes, in little memory": bodies_that_nobody_takes,
}
