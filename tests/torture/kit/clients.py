"""Slow and hostile clients. Each gives what it was answered, or None where the proxy hung up."""
import asyncio


async def connect(port):
    return await asyncio.open_connection("127.0.0.1", port)


async def rest(reader, seconds=30):
    try:
        return await asyncio.wait_for(reader.read(), seconds)
    except ConnectionError:
        return b""


async def some(reader):
    """What comes next; nothing where the connection ends."""
    try:
        return await reader.read(65536)
    except ConnectionError:
        return b""


async def drip(port, data, pause):
    """Sends byte by byte; gives the answer, which may come before the last byte."""
    reader, writer = await connect(port)
    answer = asyncio.create_task(rest(reader, 60))
    try:
        for byte in data:
            if answer.done():
                break
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(pause)
    except ConnectionError:
        pass
    result = await answer
    writer.close()
    return result


async def flood(port, start, piece, most):
    """Sends `piece` again and again, up to `most` bytes or until the proxy has had enough."""
    reader, writer = await connect(port)
    answer = asyncio.create_task(rest(reader, 60))
    sent = len(start)
    try:
        writer.write(start)
        while sent < most and not answer.done():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # the honest client runs in the same loop
            sent += len(piece)
    except ConnectionError:
        pass
    result = await answer
    writer.close()
    return result, sent


async def never_reads(port, request, seconds):
    """Asks for much and reads nothing."""
    reader, writer = await connect(port)
    reader._transport.pause_reading()
    writer.write(request)
    await writer.drain()
    await asyncio.sleep(seconds)
    writer.transport.abort()


async def silent(port, count):
    """Connections that say nothing."""
    opened = []
    for _ in range(count):
        opened.append(await connect(port))
    return opened


async def cut_at(port, request, count):
    """Sends the first `count` bytes of a request and resets the connection."""
    reader, writer = await connect(port)
    writer.write(request[:count])
    await writer.drain()
    writer.transport.abort()


async def begin_upload(port):
    """The first 100,000 bytes of a long body; None where that is refused or reset."""
    try:
        _, writer = await asyncio.wait_for(connect(port), 10)
        writer.write(b"POST /good HTTP/1.1\r\nHost: t\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000)
        return writer
    except ConnectionError:
        return None
