"""The other ways in: the admin port, listeners behind a load balancer, listeners that pass TLS on by its name."""
import asyncio

from . import cases, clients, secure
from .proxy import Failed, ask

SHORT = "  limits: {handshakeTimeout: 2s, headerTimeout: 2s, idleTimeout: 2s}\n"


async def admin_besieged(options):
    """Silent, slow and endless clients of the admin port: probes and metrics are answered all the while."""
    async def act(proxy):
        opened = await clients.silent(proxy.admin, 500)
        half = await clients.silent(proxy.admin, 100)
        for _, writer in half:
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: t\r\n")
        greedy = [asyncio.create_task(clients.never_reads(proxy.admin, b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n" * 200, 2))
                  for _ in range(20)]
        floods = [asyncio.create_task(clients.flood(proxy.admin, b"GET / HTTP/1.1\r\nA: ", b"z" * 4096, 16 << 20))
                  for _ in range(5)]
        for _ in range(20):
            cases.expect(await ask(proxy.admin, "/readyz"), ["200"], "a probe beside them")
            await asyncio.sleep(0.05)
        for answer, sent in await asyncio.gather(*floods):
            if sent >= 16 << 20:
                raise Failed("the admin port takes heads without an end")
        await asyncio.gather(*greedy, return_exceptions=True)
        for _, writer in opened + half:
            writer.transport.abort()
        await cases.off_loop(proxy.admin_text, "/metrics")
    return await cases.attack(options, act)


async def say(port, data):
    """Says so much and nothing more, until the proxy ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.2", port)
    writer.write(data)
    await clients.rest(reader)
    writer.close()


V2 = (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes([192, 0, 2, 1, 192, 0, 2, 2]) + b"\x10\x00\x00\x50")
V1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 4096 80\r\n"


async def proxy_header_cut_at_every_byte(options):
    """Reset, and silent, after each byte of both versions; endless and absurd ones."""
    async def act(proxy):
        port = await cases.off_loop(lambda: proxy.wait_line("listening", count=2))
        request = b"GET /good HTTP/1.1\r\nHost: t\r\n\r\n"
        for header in (V1, V2):
            for count in range(len(header) + 1):
                _, writer = await asyncio.open_connection("127.0.0.2", port)
                writer.write((header + request)[:count])
                await writer.drain()
                writer.transport.abort()
            await asyncio.gather(*(say(port, header[:count]) for count in range(len(header))))
        absurd = [b"PROXY " + b"A" * 100_000, V2[:14] + b"\xff\xff" + b"a" * 100_000, V2[:12] + b"\xff" * 100,
                  b"PROXY TCP4 999.0.0.1 1.1.1.1 1 1\r\n", V1 + V1 + request, V2 + V2 + request]
        await asyncio.gather(*(say(port, data) for data in absurd))
        for reason in ("proxy_header_timeout", "proxy_header_malformed"):
            await cases.off_loop(proxy.expect_reason, reason)
    listen = "[{address: '127.0.0.1:0'}, {address: '127.0.0.2:0', proxyProtocol: {timeout: 2s, trustedSources: ['127.0.0.0/8']}}]"
    return await cases.attack(options, act, extra=SHORT, listen=listen)


async def hello_to_nobody(options):
    """A listener that passes connections on by their server name, and hellos that do not say one."""
    hello = secure.first_flight()
    async def act(proxy):
        port = await cases.off_loop(lambda: proxy.wait_line("listening", count=2))
        for count in range(len(hello)):
            _, writer = await asyncio.open_connection("127.0.0.2", port)
            writer.write(hello[:count])
            await writer.drain()
            writer.transport.abort()
        await asyncio.gather(*(say(port, hello[:count]) for count in range(0, len(hello), 7)))
        endless = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"a" * 100_000
        others = (endless, b"\x16\x03\x01\x00\x00" * 5000, b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.gather(*(say(port, data) for data in others))
        for reason in ("client_hello_timeout", "unknown_server_name"):
            await cases.off_loop(proxy.expect_reason, reason)
    listen = ("[{address: '127.0.0.1:0'}, {address: '127.0.0.2:0', protocol: tcp, "
              "routes: [{sni: [somebody.example], upstream: good}]}]")
    return await cases.attack(options, act, extra=SHORT, listen=listen)


ALL = {
    "admin port besieged": admin_besieged,
    "PROXY header cut at every byte": proxy_header_cut_at_every_byte,
    "hello to nobody": hello_to_nobody,
}
