"""HTTP/2: clients that send what only costs or take nothing, and upstreams that speak it badly."""
import asyncio

from . import cases, clients, frames, upstream
from .frames import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, PUSH_PROMISE, SETTINGS,
                     frame)
from .proxy import Failed, ask

HELLO = frames.PREFACE + frame(SETTINGS)
# More than any bound lets pass, less than what takes long.
MANY = 100_000
POST = b"\x83"


async def flooded(proxy, one):
    """Sends what `one(number)` gives again and again until the proxy ends the connection."""
    reader, writer = await clients.connect(proxy.port)
    ended = asyncio.create_task(frames.end(reader))
    sent = 0
    try:
        writer.write(HELLO)
        while not ended.done():
            if sent > MANY:
                raise Failed(f"{sent} frames were taken, such as {one(1)[:40]!r}")
            writer.write(b"".join(one(sent + number) for number in range(100)))
            sent += 100
            await writer.drain()
            await asyncio.sleep(0)  # the honest client runs in the same loop
    except ConnectionError:
        pass
    await asyncio.wait_for(ended, 30)
    writer.close()


def stream(number):
    return 2 * number + 1


OPEN = frame(HEADERS, END_HEADERS, 1, frames.request(b"/good", POST))
UNFINISHED = frame(HEADERS, END_STREAM, 1, frames.request(b"/good"))
FLOODS = {
    "PING": lambda _: frame(PING, payload=b"12345678"),
    "SETTINGS": lambda _: frame(SETTINGS),
    "PRIORITY": lambda number: frame(PRIORITY, 0, stream(number % 50), bytes(5)),
    "unknown frames": lambda _: frame(0xFA),
    "WINDOW_UPDATE": lambda _: frames.window(0, 1),
    "empty DATA": lambda number: (OPEN if number == 0 else b"") + frame(DATA, 0, 1),
    "rapid reset": lambda number: frames.get(stream(number), b"/good") + frames.reset(stream(number)),
    "CONTINUATION": lambda number: (UNFINISHED if number == 0 else b"") + frame(CONTINUATION, 0, 1),
    "malformed requests": lambda number: frame(HEADERS, END_HEADERS | END_STREAM, stream(number), b"\x82"),
}


async def floods(options):
    async def act(proxy):
        for count, one in enumerate(FLOODS.values(), 1):
            await flooded(proxy, one)
            await cases.off_loop(proxy.expect_reason, "http2_flood", count)
    return await cases.attack(options, act)


async def header_bombs(options):
    """One large entry in the table and a byte for each time that it is meant: 48 MB of headers in 16 KB."""
    async def act(proxy):
        for _ in range(20):
            reader, writer = await clients.connect(proxy.port)
            large = b"\x40\x01x" + b"\x7f\x81\x1e" + b"a" * 4000
            bomb = frames.request(b"/good") + large + b"\xbe" * 12_000
            writer.write(HELLO + frame(HEADERS, END_HEADERS | END_STREAM, 1, bomb))
            while got := await asyncio.wait_for(frames.read(reader), 10):
                if got[2] == 1 or got[0] == frames.GOAWAY:
                    break
            writer.close()
    return await cases.attack(options, act)


async def windows_that_stay_shut(options):
    """Asks for endless answers and lets none of their bytes pass, on many streams."""
    big = upstream.endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n")
    async def act(proxy):
        async def one():
            reader, writer = await clients.connect(proxy.port)
            writer.write(frames.PREFACE + frames.setting(frames.INITIAL_WINDOW_SIZE, 0))
            writer.write(b"".join(frames.get(stream(number), b"/bad") for number in range(20)))
            reset = set()
            while got := await asyncio.wait_for(frames.read(reader), 30):
                if got[0] == frames.RST_STREAM:
                    reset.add(got[2])
                if got[0] == frames.GOAWAY or len(reset) == 20:
                    break
            writer.close()
        await asyncio.gather(*(one() for _ in range(10)))
    return await cases.attack(options, act, bad=big, reason="client_stalled", extra=cases.SHORT)


async def heads_that_do_not_end(options):
    async def act(proxy):
        async def one():
            reader, writer = await clients.connect(proxy.port)
            writer.write(HELLO + UNFINISHED)
            ended = asyncio.create_task(frames.end(reader))
            while not ended.done():
                writer.write(frame(CONTINUATION, 0, 1, frames.field(b"x-a", b"b")))
                await asyncio.sleep(0.2)
            writer.close()
        await asyncio.gather(*(asyncio.wait_for(one(), 30) for _ in range(50)))
    return await cases.attack(options, act, reason="http2_flood", extra=cases.SHORT)


async def silence(options):
    """Connections that say hello and nothing else, and some that do not even finish that."""
    async def act(proxy):
        async def one(count):
            reader, writer = await clients.connect(proxy.port)
            writer.write(HELLO[:count])
            await clients.rest(reader)
            writer.close()
        await asyncio.gather(*(one(count) for count in range(1, len(HELLO) + 1) for _ in range(5)))
    return await cases.attack(options, act, extra=cases.SHORT)


async def cut_at_every_byte(options):
    exchange = (HELLO + frame(HEADERS, END_HEADERS, 1, frames.request(b"/good", POST))
                + frame(DATA, 0, 1, b"hello") + frame(DATA, END_STREAM, 1) + frame(SETTINGS, ACK) + frames.get(3, b"/good"))
    async def act(proxy):
        for count in range(len(exchange) + 1):
            await clients.cut_at(proxy.port, exchange, count)
    return await cases.attack(options, act)


def speaking(answer):
    """An upstream that shakes hands and then does `answer(writer, stream)` to each request."""
    async def serve(reader, writer):
        await reader.readexactly(len(frames.PREFACE))
        writer.write(frame(SETTINGS))
        while got := await frames.read(reader):
            kind, flags, number, _ = got
            if kind == SETTINGS and not flags & ACK:
                writer.write(frame(SETTINGS, ACK))
            if kind == HEADERS:
                await answer(writer, number)
                await writer.drain()
    return serve


def once(make):
    async def answer(writer, number):
        writer.write(make(number))
    return answer


def without_end(start, more):
    async def answer(writer, number):
        writer.write(start(number))
        await upstream.forever(writer, more(number))
    return answer


def head(number, block=frames.OK, flags=END_HEADERS):
    return frame(HEADERS, flags, number, block)


def whole(number):
    return head(number) + frame(DATA, 0, number, b"hello") + frame(DATA, END_STREAM, number)


def nothing(_):
    return b""


EARLY = b"\x08\x03103"
HOSTILE = {
    "garbage": (speaking(once(lambda _: b"\xff" * 100)), ["502"]),
    "HTTP/1": (upstream.answering(upstream.OK), ["502"]),
    "a head without end": (speaking(without_end(lambda n: head(n, flags=0),
                                                lambda n: frame(CONTINUATION, 0, n, frames.field(b"x-more", b"y" * 100)))),
                           ["502"]),
    "1xx without end": (speaking(without_end(nothing, lambda n: head(n, EARLY))), ["103", "502"]),
    "PING without end": (speaking(without_end(nothing, lambda _: frame(PING, payload=b"12345678"))), ["502"]),
    "SETTINGS without end": (speaking(without_end(nothing, lambda _: frame(SETTINGS))), ["502"]),
    "empty DATA without end": (speaking(without_end(head, lambda n: frame(DATA, 0, n))), ["200", "502", "RST"]),
    "every stream reset": (speaking(once(lambda n: frames.reset(n, 2))), ["502"]),
    "every stream refused": (speaking(once(lambda n: frames.reset(n, 7))), ["503", "502"]),
    "GOAWAY to everything": (speaking(once(lambda _: frames.goaway(0))), ["503", "502"]),
    "a push": (speaking(once(lambda n: frame(PUSH_PROMISE, END_HEADERS, n, (2).to_bytes(4, "big") + frames.request(b"/"))
                             + head(n, flags=END_HEADERS | END_STREAM))), ["502"]),
    "streams of its own": (speaking(once(lambda n: head(n + 100) + frame(DATA, END_STREAM, n + 100, b"hello"))), ["502"]),
    "more than the window": (speaking(without_end(head, lambda n: frame(DATA, 0, n, b"x" * 16384))), ["200", "RST", "502"]),
    "a lying length": (speaking(once(lambda n: head(n, frames.OK + frames.field(b"content-length", b"100"))
                                     + frame(DATA, END_STREAM, n, b"only this"))), ["200", "RST", "502"]),
}


def hostile(serve, statuses):
    async def case(options):
        async def act(proxy):
            async def asked():
                reader, writer = await clients.connect(proxy.port)
                writer.write(b"GET /bad HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                try:
                    answer = await asyncio.wait_for(reader.read(1 << 20), 30)
                except ConnectionError:
                    answer = b"HTTP/1.1 RST"
                writer.transport.abort()
                cases.expect(answer, statuses, "a hostile upstream")
            await asyncio.gather(*(asked() for _ in range(10)))
        return await cases.attack(options, act, bad=serve, extra=cases.SHORT,
                                  bad_is=", protocol: h2c, timeouts: {responseHeader: 3s, idle: 3s}")
    return case


async def upstream_cut_at_every_byte(options):
    """Each request finds an upstream that gives up one byte later."""
    length, count = len(whole(1)), [0]
    async def answer(writer, number):
        writer.write(whole(number)[:count[0]])
        await writer.drain()
        writer.transport.abort()
    async def act(proxy):
        for count[0] in range(length):
            try:
                answered = await ask(proxy.port, "/bad")
            except ConnectionError:
                answered = b""
            if answered.endswith(b"hello") or answered.endswith(b"0\r\n\r\n"):
                raise Failed(f"cut after {count[0]} bytes of {length}, and it looks whole: {answered!r}")
            if count[0] < 10:
                cases.expect(answered, ["502"], f"an upstream that ends after {count[0]} bytes")
    return await cases.attack(options, act, bad=speaking(answer), bad_is=", protocol: h2c")


MESSAGES = 6_000


async def measured_with_each_message(options):
    """No flood, though it looks like one: like peers of gRPC, both sides send a ping with each small message, the
    client gives room back, and both flush with nothing to flush."""
    async def serve(reader, writer):
        await reader.readexactly(len(frames.PREFACE))
        writer.write(frame(SETTINGS))
        heard = 0
        while got := await frames.read(reader):
            kind, flags, number, payload = got
            if kind == SETTINGS and not flags & ACK:
                writer.write(frame(SETTINGS, ACK))
            if kind == HEADERS:
                writer.write(head(number))
            if kind == DATA:
                heard += len(payload)
                writer.write(frame(PING, payload=b"measured") + frame(DATA, 0, number))
                if flags & END_STREAM:
                    writer.write(frame(DATA, END_STREAM, number, b"%d bytes" % heard))
                await writer.drain()
    message = frame(DATA, 0, 1, b"hello") + frame(DATA, 0, 1) + frame(PING, payload=b"measured") + frames.window(0, 5) + frames.window(1, 5)
    async def act(proxy):
        reader, writer = await clients.connect(proxy.port)
        measured = asyncio.Semaphore(0)
        async def answered():
            answer = b""
            while got := await frames.read(reader):
                if got[0] == PING:
                    measured.release()
                if got[0] == DATA:
                    answer += got[3]
                if got[0] in (DATA, HEADERS) and got[1] & END_STREAM:
                    return answer
            raise Failed("the connection was ended as if it were flooded")
        answer = asyncio.create_task(answered())
        writer.write(HELLO + frame(HEADERS, END_HEADERS, 1, frames.request(b"/bad", POST)))
        for _ in range(MESSAGES):
            writer.write(message)
            acknowledged = asyncio.create_task(measured.acquire())
            await asyncio.wait({acknowledged, answer}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                break
        writer.write(frame(DATA, END_STREAM, 1))
        if await asyncio.wait_for(answer, 30) != b"%d bytes" % (5 * MESSAGES):
            raise Failed(f"answered {answer.result()!r}")
        writer.close()
    return await cases.attack(options, act, bad=serve, bad_is=", protocol: h2c")


# As many as the window of a stream has bytes, but for some.
WAITING = 250_000
MESSAGE = b"m"
# Of some 250 bytes for each, which they may not take, and of what they may.
WAITING_KIB = 8 * 1024


async def small_messages_that_wait(options):
    """A quarter of a million small messages come each way for somebody who takes none of them yet: they wait, within the
    windows that there are and without much memory, and nobody's connection is ended for how many they are."""
    sent = asyncio.Event()
    async def serve(reader, writer):
        await reader.readexactly(len(frames.PREFACE))
        writer.write(frames.setting(frames.INITIAL_WINDOW_SIZE, 0) + frames.window(0, 1 << 20))
        heard = {}
        while got := await frames.read(reader):
            kind, flags, number, payload = got
            if kind == SETTINGS and not flags & ACK:
                writer.write(frame(SETTINGS, ACK))
            elif kind == HEADERS and flags & END_STREAM:
                writer.write(head(number) + frame(DATA, 0, number, MESSAGE) * WAITING)
                writer.write(frame(DATA, END_STREAM, number))
                await writer.drain()
                sent.set()
            elif kind == HEADERS:
                heard[number] = 0
            elif kind == DATA:
                heard[number] += len(payload)
                if flags & END_STREAM:
                    writer.write(head(number) + frame(DATA, END_STREAM, number, b"%d bytes" % heard[number]))
            if sent.is_set():
                writer.write(b"".join(frames.window(number, 1 << 20) for number in heard if not heard[number]))
            await writer.drain()
    async def act(proxy):
        memory = proxy.memory_kib()
        reader, writer = await clients.connect(proxy.port)
        writer.write(frames.PREFACE + frames.setting(frames.INITIAL_WINDOW_SIZE, 0))
        # Before its windows are known they are the least that there are.
        while (await frames.read(reader))[0] != SETTINGS:
            pass
        writer.write(frame(SETTINGS, ACK) + frames.get(1, b"/bad") + frame(HEADERS, END_HEADERS, 3, frames.request(b"/bad", POST)))
        writer.write(frame(DATA, 0, 3, MESSAGE) * WAITING + frame(DATA, END_STREAM, 3))
        await asyncio.wait_for(sent.wait(), 30)
        for _ in range(20):
            cases.expect(await ask(proxy.port, "/good"), ["200"], "somebody else meanwhile")
        if (grown := proxy.memory_kib() - memory) > WAITING_KIB:
            raise Failed(f"they take {grown} KiB")
        writer.write(frames.window(0, 1 << 20) + frames.window(1, 1 << 20) + frames.window(3, 1 << 20))
        bodies, open_ones = {1: b"", 3: b""}, {1, 3}
        while open_ones:
            got = await asyncio.wait_for(frames.read(reader), 30)
            if not got or got[0] in (frames.GOAWAY, frames.RST_STREAM):
                raise Failed(f"ended with {got}, {open_ones} were open")
            kind, flags, number, payload = got
            if kind == DATA:
                bodies[number] += payload
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                open_ones.discard(number)
        length = len(MESSAGE) * WAITING
        if len(bodies[1]) != length or bodies[3] != b"%d bytes" % length:
            raise Failed(f"{len(bodies[1])} bytes came back, and {bodies[3]!r}, of {length}")
        writer.close()
    return await cases.attack(options, act, bad=serve, bad_is=", protocol: h2c")


ALL = {
    "HTTP/2: small messages that wait": small_messages_that_wait,
    "HTTP/2: measured with each message": measured_with_each_message,
    "HTTP/2: floods": floods,
    "HTTP/2: header bombs": header_bombs,
    "HTTP/2: windows that stay shut": windows_that_stay_shut,
    "HTTP/2: heads that do not end": heads_that_do_not_end,
    "HTTP/2: silence": silence,
    "HTTP/2: client cut at every byte": cut_at_every_byte,
    "upstream over HTTP/2: cut at every byte": upstream_cut_at_every_byte,
    **{f"upstream over HTTP/2: {name}": hostile(*what) for name, what in HOSTILE.items()},
}
