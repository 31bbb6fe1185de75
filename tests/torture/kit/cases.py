"""The cases: what is done to the proxy, and what must hold afterwards. In each the answer is bounded,
memory is bounded, an honest client notices nothing, and the reason is counted."""
import asyncio
import contextlib
import time

from . import clients, upstream
from .proxy import Failed, Honest, Sluice, ask

GROWTH_KIB = 64 * 1024
# Not a measure of speed: who waits as long has waited for an attack to end, or for one of its timeouts.
PATIENCE_SECONDS = 10
# What idle connections to upstreams may hold on to after an attack.
SPARE_DESCRIPTORS = 24


@contextlib.asynccontextmanager
async def setting(options, bad=None, extra="", bad_is="", bad_scheme="http", more_upstreams="", listen="127.0.0.1:0",
                  status=0, **kwargs):
    """A proxy before a good upstream at /good and, where there is one, a bad one at /bad, of which
    `bad_is` may say more. Where all went well, it has to end with `status`."""
    servers = [await upstream.start(upstream.good)]
    upstreams = f"    - {{id: good, url: 'http://127.0.0.1:{servers[0][1]}'}}\n"
    rules = "    - {path: /good, upstreams: [good]}\n    - {path: '/', pathType: exact, upstreams: [good]}\n"
    if bad:
        servers.append(await upstream.start(bad))
        upstreams += f"    - {{id: bad, url: '{bad_scheme}://127.0.0.1:{servers[1][1]}'{bad_is}}}\n"
        rules += "    - {path: /bad, upstreams: [bad]}\n"
    config = (f"server:\n  listen: {listen}\n  workers: 2\n  upstreams:\n{upstreams}{more_upstreams}  rules:\n{rules}"
              f"{extra}admin:\n  listen: 127.0.0.1:0\n")
    proxy = await off_loop(lambda: Sluice(options.binary, config, **kwargs))
    try:
        yield proxy
    finally:
        for server, _ in servers:
            server.close()
        ended = await off_loop(proxy.stop)
    if ended != status:
        raise Failed(f"the proxy exited with {ended}")


async def off_loop(function, *args):
    """What waits for the proxy, beside the clients that torment it."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


def expect(answer, statuses, what):
    status = answer[9:12].decode(errors="replace") if answer else "nothing"
    if status not in statuses:
        raise Failed(f"{what}: answered {status}, expected one of {statuses}: {answer[:200]!r}")


async def attack(options, act, bad=None, reason=None, extra="", before=None, **kwargs):
    """Runs `act(proxy)` beside an honest client, then looks at its patience, memory, descriptors, reason
    and exit."""
    async with setting(options, bad, extra, **kwargs) as proxy:
        await ask(proxy.port, "/good")
        if before:
            before(proxy)
        memory, descriptors = proxy.memory_kib(), proxy.descriptors()
        async with Honest(proxy.port) as honest:
            await act(proxy)
        story = honest.check()
        grown = proxy.memory_kib() - memory
        if grown > GROWTH_KIB:
            raise Failed(f"memory grew by {grown} KiB")
        if honest.slowest > PATIENCE_SECONDS:
            raise Failed(f"an honest client had to wait: {story}")
        if reason:
            await off_loop(proxy.expect_reason, reason)
        most = descriptors + SPARE_DESCRIPTORS
        await off_loop(proxy.wait, lambda: proxy.descriptors() <= most, f"end at {most} descriptors")
        return f"{story}, memory {grown:+} KiB"


SHORT = "  limits: {headerTimeout: 2s, bodyTimeout: 2s, writeTimeout: 2s, idleTimeout: 2s}\n"


async def slow_headers(options):
    async def act(proxy):
        request = b"GET /good HTTP/1.1\r\nHost: t\r\nX-Slow: " + b"a" * 2000
        for answer in await asyncio.gather(*(clients.drip(proxy.port, request, 0.05) for _ in range(50))):
            expect(answer, ["408"], "a head that never ends")
    return await attack(options, act, reason="header_timeout", extra=SHORT)


async def slow_body(options):
    async def swallow(reader, writer):
        await reader.read()
    async def act(proxy):
        async def one():
            reader, writer = await clients.connect(proxy.port)
            writer.write(b"POST /bad HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\nsome")
            expect(await clients.rest(reader), ["408"], "a body that never ends")
            writer.close()
        await asyncio.gather(*(one() for _ in range(50)))
    return await attack(options, act, bad=swallow, reason="body_timeout", extra=SHORT)


async def slow_reading(options):
    big = upstream.endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n")
    async def act(proxy):
        request = b"GET /bad HTTP/1.1\r\nHost: t\r\n\r\n"
        await asyncio.gather(*(clients.never_reads(proxy.port, request, 5) for _ in range(20)))
    return await attack(options, act, bad=big, reason="client_stalled", extra=SHORT)


async def silent_connections(options):
    async def act(proxy):
        opened = await clients.silent(proxy.port, options.connections)
        for _ in range(20):
            expect(await ask(proxy.port, "/good"), ["200"], "a request beside silent connections")
        for _, writer in opened:
            writer.close()
    return await attack(options, act, extra="  limits: {idleTimeout: 60s}\n")


async def endless_headers(options):
    async def act(proxy):
        for piece in (b"X-More: " + b"y" * 100 + b"\r\n", b"z" * 4096):
            start = b"GET /good HTTP/1.1\r\nHost: t\r\nA: "
            answer, _ = await clients.flood(proxy.port, start, piece, 64 << 20)
            expect(answer or b"HTTP/1.1 431", ["431"], "endless headers")
    return await attack(options, act, reason="headers_too_large")


async def endless_chunk_extension(options):
    async def swallow(reader, writer):
        await reader.read()
    async def act(proxy):
        start = b"POST /bad HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5"
        answer, _ = await clients.flood(proxy.port, start, b";ext=" + b"v" * 4000, 64 << 20)
        expect(answer or b"HTTP/1.1 400", ["400"], "an endless chunk extension")
    return await attack(options, act, bad=swallow, reason="malformed_body")


async def long_pipeline(options):
    count = 10_000
    async def act(proxy):
        reader, writer = await clients.connect(proxy.port)
        one = b"GET /good HTTP/1.1\r\nHost: t\r\n\r\n"
        async def send():
            writer.write(one * (count - 1))
            writer.write(one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await writer.drain()
        sending = asyncio.create_task(send())
        answers = await clients.rest(reader, 120)
        await sending
        got = answers.count(b"HTTP/1.1 200 OK")
        if got != count:
            raise Failed(f"{got} answers to {count} pipelined requests")
    return await attack(options, act)


async def client_cut_at_every_byte(options):
    request = b"POST /good HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    async def act(proxy):
        for count in range(len(request) + 1):
            await clients.cut_at(proxy.port, request, count)
    return await attack(options, act)


async def asked(port):
    """The answer, or a reset: both tell the client where it stands."""
    try:
        return await ask(port, "/bad")
    except ConnectionResetError:
        return b"HTTP/1.1 RST"


def hostile(serve, statuses, reason=None):
    """An upstream that misbehaves: every client of it gets a bounded answer."""
    async def case(options):
        async def act(proxy):
            for answer in await asyncio.gather(*(asked(proxy.port) for _ in range(10))):
                expect(answer, statuses, "a hostile upstream")
        return await attack(options, act, bad=serve, reason=reason, extra=SHORT)
    return case


async def lying_length(options):
    """More was promised than comes: the client must be able to tell."""
    async def short(reader, writer):
        if await upstream.read_head(reader):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            await writer.drain()
    async def act(proxy):
        try:
            answer = await ask(proxy.port, "/bad")
        except ConnectionError:
            return
        if b"ontent-length: 100" in answer and answer.endswith(b"only this"):
            return  # closed short of its length: visible
        raise Failed(f"a short body looks whole: {answer!r}")
    return await attack(options, act, bad=short, reason="upstream_body_broken")


async def upstream_reset_at_every_byte(options):
    async def act(proxy):
        for count in range(len(upstream.OK)):
            server, port = await upstream.start(upstream.reset_after(count))
            proxy.write(open(proxy.path).read().split("    - {id: bad")[0]
                        + f"    - {{id: bad, url: 'http://127.0.0.1:{port}'}}\n"
                        + "  rules:\n" + open(proxy.path).read().split("  rules:\n")[1])
            def switched():
                found = [l for l in proxy.lines() if (l.get("fields") or l).get("message") == "reload done"]
                return len(found) >= count + 1
            await off_loop(proxy.wait, switched, "reload")
            try:
                answer = await ask(proxy.port, "/bad")
            except ConnectionError:
                answer = b""
            head_whole = count >= upstream.OK.index(b"\r\n\r\n") + 4
            if head_whole and answer.endswith(b"hello"):
                raise Failed(f"cut after {count} bytes, and the client got all of it")
            if not head_whole:
                expect(answer, ["502"], f"an upstream that resets after {count} bytes")
            server.close()
    return await attack(options, act, bad=upstream.reset_after(0))


async def endless_body_is_not_collected(options):
    serve = upstream.endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536)
    async def act(proxy):
        reader, writer = await clients.connect(proxy.port)
        writer.write(b"GET /bad HTTP/1.1\r\nHost: t\r\n\r\n")
        taken = 0
        until = time.monotonic() + 5
        while time.monotonic() < until:
            taken += len(await reader.read(1 << 20))
        writer.transport.abort()
        if taken < 1 << 20:
            raise Failed(f"only {taken} bytes came")
    return await attack(options, act, bad=serve)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ALL = {
    "slow headers": slow_headers,
    "slow body": slow_body,
    "slow reading": slow_reading,
    "silent connections": silent_connections,
    "endless headers": endless_headers,
    "endless chunk extension": endless_chunk_extension,
    "pipeline of 10,000": long_pipeline,
    "client cut at every byte": client_cut_at_every_byte,
    "upstream: garbage": hostile(upstream.answering(b"\x16\x03\x01 this is not HTTP\r\n\r\n"), ["502"], "upstream_malformed"),
    "upstream: endless headers": hostile(upstream.endless(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"y" * 1000 + b"\r\n"), ["502"], "upstream_headers_too_large"),
    "upstream: response first": hostile(upstream.before_the_request, ["200", "502"]),
    "upstream: 1xx without end": hostile(upstream.endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), ["103", "502"], "upstream_malformed"),
    "upstream: bad chunk size": hostile(upstream.answering(CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"), ["200", "RST"], "upstream_body_broken"),
    "upstream: both lengths": hostile(upstream.answering(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n") + b"0\r\n\r\n"), ["502"], "upstream_malformed"),
    "upstream: lying length": lying_length,
    "upstream: reset at every byte": upstream_reset_at_every_byte,
    "upstream: endless body": endless_body_is_not_collected,
}
