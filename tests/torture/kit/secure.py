"""TLS, on both sides: handshakes that do not end, are cut, or are none."""
import asyncio
import os
import random
import shutil
import ssl
import subprocess
import tempfile

from . import cases, clients, upstream
from .proxy import Failed, ask

SHORT = "  limits: {handshakeTimeout: 2s, handshakes: 64, headerTimeout: 2s, idleTimeout: 2s, bodyTimeout: 2s}\n"


def certificate(folder):
    """Paths of a certificate for 127.0.0.1 and its key; None without openssl."""
    if not shutil.which("openssl"):
        if os.environ.get("CI") == "true":
            raise Failed("openssl is not installed")
        return None
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=t", "-addext",
                    "subjectAltName=DNS:t,IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


def trusting():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def first_flight():
    """A client's hello, as it is sent."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting().wrap_bio(incoming, outgoing, server_hostname="t")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class Client:
    """A TLS client whose bytes can be held back and cut."""

    @classmethod
    async def connect(cls, secure):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.2", secure)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = trusting().wrap_bio(self.incoming, self.outgoing, server_hostname="t")
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.writer.write(self.outgoing.read())
                self.incoming.write(await self.reader.read(65536))
        self.writer.write(self.outgoing.read())
        return self

    def sealed(self, data):
        """What `data` looks like on the wire."""
        self.tls.write(data)
        return self.outgoing.read()

    async def answer(self):
        got = b""
        while data := await asyncio.wait_for(clients.some(self.reader), 30):
            self.incoming.write(data)
            try:
                while piece := self.tls.read(65536):
                    got += piece
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                break
        self.writer.close()
        return got


async def over_tls(options, act, count=None, **kwargs):
    """`act(proxy, secure)` beside honest clients, one of which speaks TLS and must not notice either."""
    folder = tempfile.mkdtemp(prefix="torture-tls-")
    try:
        paths = certificate(folder)
        if not paths:
            return "skipped: openssl is not installed"
        # The plain address is the first that is said to listen: the order of the file.
        listen = (f"[{{address: '127.0.0.1:0'}}, {{address: '127.0.0.2:0', tls: "
                  f"{{certificates: [{{cert: {paths[0]}, key: {paths[1]}}}]}}}}]")
        async def both(proxy):
            secure = await cases.off_loop(lambda: proxy.wait_line("listening", count=2))
            over, bad, done = False, [], [0]
            async def honest():
                while not over:
                    try:
                        reader, writer = await asyncio.wait_for(
                            asyncio.open_connection("127.0.0.2", secure, ssl=trusting(), server_hostname="t"), 20)
                        writer.write(b"GET /good HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                        cases.expect(await asyncio.wait_for(reader.read(), 20), ["200"], "an honest client over TLS")
                        writer.close()
                        done[0] += 1
                    except Exception as error:  # whatever it is, an honest client must not see it
                        bad.append(repr(error))
                    await asyncio.sleep(0.01)
            task = asyncio.create_task(honest())
            await act(proxy, secure)
            while not done[0] and not bad:
                await asyncio.sleep(0.01)
            over = True
            await task
            if bad:
                raise Failed(f"an honest client over TLS suffered {len(bad)} times in {done[0]}: {bad[:3]}")
            if count:
                await cases.off_loop(proxy.wait, lambda: handshakes(proxy, count) > 0, f"handshake that ended as {count}")
        return await cases.attack(options, both, extra=SHORT, listen=listen, **kwargs)
    finally:
        shutil.rmtree(folder)


def handshakes(proxy, result):
    lines = proxy.admin_text("/metrics").splitlines()
    found = [line for line in lines if line.startswith("sluice_tls_handshakes_total") and f'result="{result}"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


async def silent(secure, data):
    """Says `data` and no more, until the proxy hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.2", secure)
    writer.write(data)
    await clients.rest(reader)
    writer.close()


async def handshakes_that_do_not_end(options):
    """Half hellos; fewer than the bound, so that time alone ends them."""
    hello = first_flight()
    async def act(_, secure):
        await asyncio.gather(*(silent(secure, hello[:count]) for count in range(0, len(hello), len(hello) // 40)))
    return await over_tls(options, act, count="timeout")


async def more_handshakes_than_allowed(options):
    """Ten times the bound: the oldest are let go, and who is honest gets in."""
    hello = first_flight()
    async def act(_, secure):
        await asyncio.gather(*(silent(secure, hello[:100]) for _ in range(1280)))
    return await over_tls(options, act, count="crowded")


async def hello_cut_at_every_byte(options):
    hello = first_flight()
    async def act(_, secure):
        for count in range(len(hello) + 1):
            _, writer = await asyncio.open_connection("127.0.0.2", secure)
            writer.write(hello[:count])
            await writer.drain()
            writer.transport.abort()
    return await over_tls(options, act, count="closed")


async def hello_changed_at_every_byte(options):
    """One byte of the hello is another: it is refused, or taken, and never waited for without an end."""
    hello, chance = first_flight(), random.Random(options.seed)
    async def act(_, secure):
        changed = [hello[:at] + bytes([hello[at] ^ chance.randrange(1, 256)]) + hello[at + 1:] for at in range(len(hello))]
        for some in (changed[at:at + 40] for at in range(0, len(changed), 40)):
            await asyncio.gather(*(silent_for(secure, data, 0.05) for data in some))
    return await over_tls(options, act, count="malformed")


async def silent_for(secure, data, seconds):
    reader, writer = await asyncio.open_connection("127.0.0.2", secure)
    writer.write(data)
    try:
        await asyncio.wait_for(clients.some(reader), seconds)
    except asyncio.TimeoutError:
        pass
    writer.transport.abort()


async def no_tls_at_all(options):
    async def act(_, secure):
        for data in (b"GET / HTTP/1.1\r\nHost: t\r\n\r\n", os.urandom(4096), b"\x16\x03\x01\xff\xff" + b"a" * 65536,
                     b"\x17\x03\x03\x00\x00" * 1000, b"\x15\x03\x01\x00\x02\x01\x00" * 1000):
            await asyncio.gather(*(silent(secure, data) for _ in range(20)))
    return await over_tls(options, act, count="plaintext", reason="plain_http")


async def exchange_cut_at_every_byte(options):
    """The records of a request with a body, cut anywhere by a reset."""
    async def act(_, secure):
        request = b"POST /good HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        most = None
        count = 0
        while most is None or count <= most:
            client = await Client.connect(secure)
            wire = client.sealed(request[:40]) + client.sealed(request[40:])
            most = len(wire)
            client.writer.write(wire[:count])
            await client.writer.drain()
            client.writer.transport.abort()
            count += 1
    return await over_tls(options, act)


async def slow_inside(options):
    """Whole handshakes, and a head that does not end within them: a record for each of its bytes."""
    async def act(_, secure):
        async def one():
            client = await Client.connect(secure)
            answer = asyncio.create_task(client.answer())
            try:
                for byte in b"GET /good HTTP/1.1\r\nHost: t\r\nX-Slow: " + b"a" * 2000:
                    if answer.done():
                        break
                    client.writer.write(client.sealed(bytes([byte])))
                    await asyncio.sleep(0.05)
            except ConnectionError:
                pass
            cases.expect(await answer, ["408"], "a head that never ends")
        await asyncio.gather(*(one() for _ in range(30)))
    return await over_tls(options, act, reason="header_timeout")


async def broken_records(options):
    """A record that was changed on its way ends the connection, and is not read."""
    async def act(_, secure):
        for at in range(0, 60):
            client = await Client.connect(secure)
            wire = bytearray(client.sealed(b"GET /good HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"))
            wire[5 + at] ^= 1
            client.writer.write(bytes(wire))
            got = await client.answer()
            if b" 200 " in got:
                raise Failed(f"a record changed at {at} was answered: {got!r}")
    return await over_tls(options, act)


def hostile(serve, statuses, reason):
    """An upstream that is asked for TLS."""
    async def case(options):
        async def act(proxy):
            for answer in await asyncio.gather(*(ask(proxy.port, "/bad") for _ in range(10))):
                cases.expect(answer, statuses, "a hostile upstream")
        return await cases.attack(options, act, bad=serve, reason=reason, extra=cases.SHORT, bad_scheme="https",
                                  bad_is=", tls: {verify: false}, timeouts: {tls: 2s}")
    return case


async def swallow(reader, writer):
    await reader.read()


async def says_garbage(reader, writer):
    writer.write(os.urandom(4096))
    await writer.drain()
    await reader.read()


async def record_without_end(reader, writer):
    writer.write(b"\x16\x03\x03\x40\x00")
    await upstream.forever(writer, b"a" * 1024)


async def alerts_without_end(reader, writer):
    await upstream.forever(writer, b"\x15\x03\x03\x00\x02\x01\x64")


ALL = {
    "TLS: handshakes that do not end": handshakes_that_do_not_end,
    "TLS: more handshakes than allowed": more_handshakes_than_allowed,
    "TLS: hello cut at every byte": hello_cut_at_every_byte,
    "TLS: hello changed at every byte": hello_changed_at_every_byte,
    "TLS: no TLS at all": no_tls_at_all,
    "TLS: exchange cut at every byte": exchange_cut_at_every_byte,
    "TLS: slow headers": slow_inside,
    "TLS: broken records": broken_records,
    "upstream over TLS: silence": hostile(swallow, ["504"], "upstream_tls_timeout"),
    "upstream over TLS: garbage": hostile(says_garbage, ["502"], "upstream_tls"),
    "upstream over TLS: a record without end": hostile(record_without_end, ["502"], "upstream_tls"),
    "upstream over TLS: alerts without end": hostile(alerts_without_end, ["502"], "upstream_tls"),
}
