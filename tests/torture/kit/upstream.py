"""Upstream servers: a good one, and one for each way of being bad."""
import asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def read_head(reader):
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def good(reader, writer):
    while await read_head(reader):
        writer.write(OK)
        await writer.drain()


async def forever(writer, piece):
    """Sends until the other side has had enough."""
    try:
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # the honest client runs in the same loop
    except ConnectionError:
        pass


def answering(answer):
    async def serve(reader, writer):
        if await read_head(reader):
            writer.write(answer)
            await writer.drain()
            await reader.read()  # until the proxy closes: this side never does it first
    return serve


def endless(start, piece):
    async def serve(reader, writer):
        if await read_head(reader):
            writer.write(start)
            await forever(writer, piece)
    return serve


async def before_the_request(reader, writer):
    """Answers first, and hears the question later."""
    writer.write(OK)
    await writer.drain()
    await reader.read()


def reset_after(count):
    """The first `count` bytes of a good answer, then a reset."""
    async def serve(reader, writer):
        if await read_head(reader):
            writer.write(OK[:count])
            await writer.drain()
        writer.transport.abort()
    return serve


async def start(serve):
    """A server on a free port; whatever a client does to it stays between the two."""
    async def guarded(reader, writer):
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
    server = await asyncio.start_server(guarded, "127.0.0.1", 0, backlog=1024)
    return server, server.sockets[0].getsockname()[1]
