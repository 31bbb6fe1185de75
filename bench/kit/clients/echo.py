"""The upstream of WebSocket messages: agrees to the upgrade, then sends back whatever comes. Messages are
not looked into: they come back masked as they came, which no proxy sees."""
import asyncio
import base64
import hashlib
import re
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.head = transport, b""

    def data_received(self, data):
        if self.head is None:
            self.transport.write(data)
            return
        self.head += data
        if not self.head.endswith(b"\r\n\r\n"):
            return
        key = re.search(rb"(?i)sec-websocket-key: *([^\r]+)", self.head)
        if not key:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.head = b""
            return
        accept = base64.b64encode(hashlib.sha1(key.group(1) + GUID).digest())
        self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        self.head = None


async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()


asyncio.run(main())
