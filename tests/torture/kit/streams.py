"""What flows and is not taken: uploads, answers, tunnels, copies and trailers, over HTTP/1."""
import asyncio

from . import cases, clients, upstream
from .proxy import Failed, ask

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def swallow(reader, writer):
    await reader.read()


async def reads_nothing(reader, writer):
    """Takes the head and none of the body."""
    if await upstream.read_head(reader):
        reader._transport.pause_reading()
        await asyncio.sleep(6)


async def upload_that_nobody_takes(options):
    """Twenty clients send as much as they can to an upstream that reads nothing: what they send waits with
    them, and the upstream is given up."""
    async def act(proxy):
        start = b"POST /bad HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        piece = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        for answer, sent in await asyncio.gather(*(clients.flood(proxy.port, start, piece, 1 << 30) for _ in range(20))):
            if sent > 64 << 20:
                raise Failed(f"{sent} bytes were taken for an upstream that takes none")
            cases.expect(answer or b"HTTP/1.1 504", ["504"], "an upload that nobody takes")
    return await cases.attack(options, act, bad=reads_nothing, reason="upstream_stalled",
                              extra="  limits: {writeTimeout: 3s, bodyTimeout: 20s}\n")


async def pipeline_that_is_not_read(options):
    """Ten thousand requests, and none of the answers is taken."""
    async def act(proxy):
        one = b"GET /good HTTP/1.1\r\nHost: t\r\n\r\n"
        await asyncio.gather(*(clients.never_reads(proxy.port, one * 10_000, 4) for _ in range(10)))
    return await cases.attack(options, act, extra=cases.SHORT)


async def answer_cut_at_every_byte(options):
    """A client that takes so many bytes of an answer and resets."""
    async def steady(reader, writer):
        while await upstream.read_head(reader):
            for piece in (CHUNKED, b"5\r\nhello\r\n", b"5\r\nagain\r\n", b"0\r\n\r\n"):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
    async def act(proxy):
        whole = len(await ask(proxy.port, "/bad"))
        for count in range(whole + 1):
            reader, writer = await clients.connect(proxy.port)
            writer.write(b"GET /bad HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            if count:
                await asyncio.wait_for(reader.readexactly(count), 10)
            writer.transport.abort()
    return await cases.attack(options, act, bad=steady)


async def gone_while_it_is_served(options):
    """A hundred clients ask for what never ends and are gone: their requests end at the upstream too."""
    open_ones = [0]
    async def drips(reader, writer):
        if await upstream.read_head(reader):
            open_ones[0] += 1
            try:
                writer.write(CHUNKED)
                while True:
                    writer.write(b"1\r\na\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.05)
            finally:
                open_ones[0] -= 1
    async def act(proxy):
        async def one():
            reader, writer = await clients.connect(proxy.port)
            writer.write(b"GET /bad HTTP/1.1\r\nHost: t\r\n\r\n")
            await asyncio.wait_for(reader.readuntil(b"a"), 20)
            writer.transport.abort()
        await asyncio.gather(*(one() for _ in range(100)))
        for _ in range(2000):
            if not open_ones[0]:
                return
            await asyncio.sleep(0.01)
        raise Failed(f"{open_ones[0]} requests go on at the upstream without a client")
    return await cases.attack(options, act, bad=drips, reason="client_gone")


async def tunnel_that_is_not_read(options):
    """Upgraded connections whose clients take nothing while the upstream sends and sends."""
    switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    async def act(proxy):
        request = b"GET /bad HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        await asyncio.gather(*(clients.never_reads(proxy.port, request, 3) for _ in range(50)))
    return await cases.attack(options, act, bad=upstream.endless(switched, b"x" * 65536))


async def copies_that_are_not_taken(options):
    """Every request is copied to an upstream that reads nothing: nobody waits for it, and copies are bounded."""
    async def act(proxy):
        body = b"x" * 60_000
        async def one():
            reader, writer = await clients.connect(proxy.port)
            writer.write(b"POST /copied HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            cases.expect(await clients.rest(reader), ["200"], "a request that is copied")
            writer.close()
        for _ in range(20):
            await asyncio.gather(*(one() for _ in range(50)))
    rule = "    - {path: /copied, upstreams: [echo], mirror: {upstream: bad}}\n"
    return await cases.attack(options, act, bad=reads_nothing, extra=rule,
                              more_upstreams="    - {id: echo, url: 'builtin://echo'}\n")


async def endless_trailers(options):
    async def act(proxy):
        start = b"POST /bad HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
        for piece in (b"X-More: " + b"y" * 100 + b"\r\n", b"z" * 4096):
            answer, _ = await clients.flood(proxy.port, start, piece, 64 << 20)
            cases.expect(answer or b"HTTP/1.1 400", ["400"], "endless trailers")
    return await cases.attack(options, act, bad=swallow, reason="malformed_body")


async def asked_often(proxy, check):
    async def one():
        try:
            return await ask(proxy.port, "/bad")
        except ConnectionResetError:
            return b""
    for answer in await asyncio.gather(*(one() for _ in range(10))):
        if answer.endswith(b"0\r\n\r\n"):
            raise Failed(f"{check} looks whole: {answer[-200:]!r}")


def broken_off(what, start, piece):
    """An upstream whose chunked answer never comes to its end: broken off, and visibly."""
    async def case(options):
        async def act(proxy):
            await asked_often(proxy, what)
        return await cases.attack(options, act, bad=upstream.endless(CHUNKED + start, piece),
                                  reason="upstream_body_broken", extra=cases.SHORT)
    return case


ALL = {
    "upload that nobody takes": upload_that_nobody_takes,
    "pipeline that is not read": pipeline_that_is_not_read,
    "answer cut at every byte": answer_cut_at_every_byte,
    "gone while it is served": gone_while_it_is_served,
    "tunnel that is not read": tunnel_that_is_not_read,
    "copies that are not taken": copies_that_are_not_taken,
    "endless trailers": endless_trailers,
    "upstream: endless trailers": broken_off("endless trailers", b"5\r\nhello\r\n0\r\n", b"X-More: " + b"y" * 100 + b"\r\n"),
    "upstream: endless chunk extension": broken_off("an endless extension", b"5", b";ext=" + b"v" * 1000),
}
