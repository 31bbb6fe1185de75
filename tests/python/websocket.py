"""WebSocket peers for tests/integration/websocket.rs: a server that echoes, and clients of it."""

import asyncio
import sys

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

LARGE = 64 * 1024 * 1024
# Nothing here waits for wall-clock time to show something; these are what a busy machine may take.
OPTIONS = {
    "subprotocols": ["chat"],
    "compression": None,
    "max_size": LARGE,
    "open_timeout": 120,
    "close_timeout": 120,
    "ping_interval": None,
}


async def server():
    """Echoes; ends a connection with the code that it is told by `close CODE`."""

    async def echo(socket):
        try:
            async for message in socket:
                if isinstance(message, str) and message.startswith("close "):
                    await socket.close(int(message.split()[1]), "as told")
                    return
                await socket.send(message)
        except websockets.ConnectionClosed:
            print(f"closed {socket.close_code}", flush=True)

    async with serve(echo, "127.0.0.1", 0, **OPTIONS) as running:
        print(running.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def conversation(url):
    """Text, binary, a large message, pings and both ways to close."""
    async with connect(url, **OPTIONS) as socket:
        assert socket.subprotocol == "chat", socket.subprotocol
        for message in ["text", "gr\u00fc\u00dfe \U0001f600", b"\0\1\2", "", b"x" * 200_000]:
            await socket.send(message)
            assert await socket.recv() == message
        for payload in [b"", b"are you there"]:
            await (await socket.ping(payload))
        large = bytes(range(256)) * (LARGE // 256)
        await socket.send(large)
        assert await socket.recv() == large
        await socket.send(iter(["in ", "three ", "pieces"]))
        assert await socket.recv() == "in three pieces"
        await socket.close(4001, "enough")
    async with connect(url, **OPTIONS) as socket:
        await socket.send("close 4002")
        try:
            await socket.recv()
        except websockets.ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4002, "as told"), closed
    print("done", flush=True)


async def crowd(url, count):
    """So many at once, all talking until the input ends."""
    sockets = []
    for _ in range(0, count, 50):
        opening = [connect(url, **OPTIONS) for _ in range(50)]
        sockets += await asyncio.gather(*opening)
    print("open", flush=True)
    told = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    rounds = 0
    while not told.done() or rounds < 2:
        await asyncio.gather(*(say(socket, f"{rounds} {at}") for at, socket in enumerate(sockets)))
        rounds += 1
    await asyncio.gather(*(socket.close() for socket in sockets))
    assert all(socket.close_code == 1000 for socket in sockets)
    print(f"{len(sockets)} stayed", flush=True)


async def say(socket, message):
    await socket.send(message)
    assert await socket.recv() == message


PLAYS = {"server": server, "conversation": conversation, "crowd": crowd}
play, *arguments = sys.argv[1:]
asyncio.run(PLAYS[play](*(int(one) if one.isdigit() else one for one in arguments)))
