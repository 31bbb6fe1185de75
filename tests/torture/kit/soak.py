"""Everything at once for minutes: all kinds of traffic, while the configuration changes every second.
Nothing may fail, and memory and descriptors must be flat. Prints a line a minute, and figures at the end."""
import asyncio
import hashlib
import os
import random
import shutil
import subprocess
import time

from . import clients, secure, upstream
from .proxy import Failed, Sluice

BODY = os.urandom(1 << 20)
DIGEST = hashlib.sha256(BODY).hexdigest()
# What may still grow once everything has been used: pools and allocators settle in the first minute.
GROWTH = 1.15


class Figures:
    def __init__(self):
        self.done, self.failed, self.took = {}, [], []

    def count(self, kind):
        self.done[kind] = self.done.get(kind, 0) + 1

    def percentile(self, part):
        took = sorted(self.took)
        return took[int((len(took) - 1) * part)] * 1000 if took else 0.0


def config(ports, generation, tls):
    """Another one each second: another header, another order of rules, one more rule that comes and goes."""
    extra = [f"    - {{path: /only-{generation}, upstreams: [good]}}\n" for _ in range(generation % 3)]
    rules = ["    - {path: /good, upstreams: [good]}\n", "    - {path: /body, upstreams: [body]}\n",
             "    - {path: /ws, upstreams: [echo]}\n", "    - {path: /stream, upstreams: [stream]}\n",
             "    - {path: /echo, upstreams: [builtin]}\n"]
    random.Random(generation).shuffle(rules)
    upstreams = "".join(f"    - {{id: {name}, url: 'http://127.0.0.1:{port}'}}\n" for name, port in ports.items())
    secure = (f"    - {{address: '127.0.0.2:0', tls: {{certificates: [{{cert: {tls[0]}, key: {tls[1]}}}]}}}}\n"
              if tls else "")
    return (f"server:\n  listen:\n    - {{address: '127.0.0.1:0'}}\n{secure}  workers: 2\n"
            f"  headers:\n    - {{key: x-generation, value: '{generation}'}}\n"
            f"  upstreams:\n{upstreams}    - {{id: builtin, url: 'builtin://echo'}}\n"
            f"  rules:\n{''.join(extra)}{''.join(rules)}"
            f"accessLog: {{mode: 'on', path: /dev/null}}\nadmin:\n  listen: 127.0.0.1:0\n"
            f"reload: {{debounce: 20ms}}\n")


class Traffic:
    """One client of each kind, asking until it is told to stop."""

    def __init__(self, port, secure, figures):
        self.port, self.secure, self.figures, self.over = port, secure, figures, False

    async def repeat(self, kind, ask, pause=0.005):
        while not self.over:
            began = time.monotonic()
            try:
                await asyncio.wait_for(ask(), 60)
                self.figures.count(kind)
                if kind == "a connection per request":
                    self.figures.took.append(time.monotonic() - began)
            except Exception as error:  # whatever it is, it is a request that failed
                self.figures.failed.append(f"{kind}: {type(error).__name__}: {error}")
            await asyncio.sleep(pause)

    async def once(self):
        reader, writer = await clients.connect(self.port)
        writer.write(b"GET /good HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        expect(await reader.read())
        writer.close()

    async def http_1_0(self):
        reader, writer = await clients.connect(self.port)
        writer.write(b"GET /good HTTP/1.0\r\n\r\n")
        expect(await reader.read())
        writer.close()

    async def kept(self):
        """Fifty requests over one connection; the proxy may close it between two, never within one."""
        reader, writer = await clients.connect(self.port)
        for _ in range(50):
            writer.write(b"GET /good HTTP/1.1\r\nHost: t\r\n\r\n")
            head, _ = await message(reader)
            expect(head)
            if b"connection: close" in head.lower():
                break
            await asyncio.sleep(0.002)
        writer.close()

    async def pipelined(self):
        reader, writer = await clients.connect(self.port)
        writer.write(b"GET /good HTTP/1.1\r\nHost: t\r\n\r\n" * 20)
        for _ in range(20):
            head, _ = await message(reader)
            expect(head)
        writer.close()

    async def upload(self):
        reader, writer = await clients.connect(self.port)
        writer.write(b"POST /body HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        writer.write(BODY)
        head, body = await message(reader)
        expect(head)
        if body.decode() != DIGEST:
            raise Failed("an upload arrived changed")
        writer.close()

    async def chunked_upload(self):
        reader, writer = await clients.connect(self.port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, 64 << 10, 4 << 10):
            writer.write(b"1000\r\n" + BODY[at:at + 4096] + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        head, body = await message(reader)
        expect(head)
        if b'"bodyBytes":65536' not in body:
            raise Failed(f"a chunked upload arrived changed: {body[-200:]!r}")
        writer.close()

    async def slow_download(self):
        """Takes a stream of two seconds as it comes."""
        reader, writer = await clients.connect(self.port)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        expect(answer)
        if not answer.endswith(b"0\r\n\r\n") or answer.count(b"data: ") != 20:
            raise Failed(f"a stream was cut: {answer[-60:]!r}")
        writer.close()

    async def websocket(self):
        """One connection through many reloads."""
        reader, writer = await clients.connect(self.port)
        writer.write(b"GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        expect(head, b"101")
        for number in range(200):
            said = b"message %03d" % number
            writer.write(said)
            if await reader.readexactly(len(said)) != said:
                raise Failed("a message came back changed")
            self.figures.count("WebSocket messages")
            if self.over:
                break
            await asyncio.sleep(0.05)
        writer.close()

    async def not_found(self):
        reader, writer = await clients.connect(self.port)
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        expect(await reader.read(), b"404")
        writer.close()

    async def over_tls(self):
        reader, writer = await asyncio.open_connection("127.0.0.2", self.secure, ssl=secure.trusting(), server_hostname="t")
        writer.write(b"GET /good HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        expect(await reader.read())
        writer.close()

    async def http_2(self):
        """Two hundred requests over four connections by nghttp2's client, which knows beforehand that the proxy speaks it."""
        command = ["h2load", "-n200", "-c4", "-m5", f"http://127.0.0.1:{self.port}/good"]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out = (await process.communicate())[0].decode()
        if "200 succeeded, 0 failed" not in out or "Application protocol: h2c" not in out:
            raise Failed(f"h2load: {out[-600:]}")

    def all(self, http_2):
        kinds = [("a connection per request", self.once, 0.005), ("HTTP/1.0", self.http_1_0, 0.05),
                 ("50 over one connection", self.kept, 0.01), ("20 pipelined", self.pipelined, 0.05),
                 ("uploads of 1 MiB", self.upload, 0.1), ("chunked uploads", self.chunked_upload, 0.05),
                 ("streams of 2 s", self.slow_download, 0.01), ("WebSocket connections", self.websocket, 0.01),
                 ("no rule", self.not_found, 0.1)]
        if self.secure:
            kinds.append(("TLS handshakes", self.over_tls, 0.05))
        if http_2 and shutil.which("h2load"):
            kinds.append(("200 over HTTP/2", self.http_2, 0.5))
        return [asyncio.create_task(self.repeat(*kind)) for kind in kinds for _ in range(2)]


def expect(answer, status=b"200"):
    if answer[9:12] != status:
        raise Failed(f"answered {answer[:200]!r} instead of {status.decode()}")


async def message(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head, await reader.readexactly(int(line.split(b":")[1]))
    raise Failed(f"no length: {head!r}")


async def digest(reader, writer):
    while head := await upstream.read_head(reader):
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                      if line.startswith(b"content-length:"))
        said = hashlib.sha256(await reader.readexactly(length)).hexdigest().encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
        await writer.drain()


async def events(reader, writer):
    if await upstream.read_head(reader):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(20):
            writer.write(b"data: %d\n\n" % number)
            await writer.drain()
            await asyncio.sleep(0.1)


async def echo(reader, writer):
    if await upstream.read_head(reader):
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def soak(options, folder):
    loop = asyncio.get_running_loop()
    serving = {name: await upstream.start(serve) for name, serve in
               (("good", upstream.good), ("body", digest), ("stream", events), ("echo", echo))}
    ports = {name: port for name, (_, port) in serving.items()}
    tls = None if "tls" in options.without else secure.certificate(folder)
    proxy = await loop.run_in_executor(None, lambda: Sluice(options.binary, config(ports, 0, tls)))
    over_tls = proxy.wait_line("listening", count=2) if tls else None
    figures, workers = Figures(), proxy.pids()
    traffic = Traffic(proxy.port, over_tls, figures)
    tasks = traffic.all(http_2="http2" not in options.without)
    began, reloads, early, printed = time.monotonic(), 0, None, 0
    try:
        while (passed := time.monotonic() - began) < options.soak:
            reloads += 1
            proxy.write(config(ports, reloads, tls))
            await asyncio.sleep(max(0.0, began + reloads - time.monotonic()))
            if early is None and passed >= min(60, options.soak / 3):
                early = (proxy.memory_kib(), proxy.descriptors())
            if passed // 60 > printed:
                printed = passed // 60
                print(f"  {passed:4.0f} s: {sum(figures.done.values())} done, {len(figures.failed)} failed, "
                      f"{proxy.memory_kib()} KiB, {proxy.descriptors()} descriptors", flush=True)
            if len(figures.failed) > 100:
                break
        late = (proxy.memory_kib(), proxy.descriptors())
        traffic.over = True
        await asyncio.gather(*tasks)
        if figures.failed:
            raise Failed(f"{len(figures.failed)} failed: {figures.failed[:5]}")
        if proxy.pids() != workers:
            raise Failed(f"workers {workers} became {proxy.pids()}")
        if late[0] > early[0] * GROWTH + 2048 or late[1] > early[1] + 64:
            raise Failed(f"memory and descriptors grew from {early} to {late}")
        committed = sum(1 for line in proxy.lines() if line.get("message") == "reload done")
        each = ", ".join(f"{count} {kind}" for kind, count in sorted(figures.done.items()))
        return (f"{options.soak} s, {committed} generations, 0 failed: {each}; memory {early[0]} -> {late[0]} KiB, "
                f"descriptors {early[1]} -> {late[1]}; a connection with one request p50 "
                f"{figures.percentile(0.5):.1f} ms, p99 {figures.percentile(0.99):.1f} ms")
    finally:
        traffic.over = True
        for server, _ in serving.values():
            server.close()
        status = await loop.run_in_executor(None, proxy.stop)
        if status != 0:
            raise Failed(f"the proxy exited with {status}")
