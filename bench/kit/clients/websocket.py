"""WebSocket messages there and back: over each connection one message of 100 bytes after the other, the
next when the one before has come back. Prints how many came back; anything else that comes is an error."""
import base64
import os
import selectors
import socket
import struct
import sys
import time

port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
PAYLOAD = bytes(100)
MASK = b"abcd"
MESSAGE = struct.pack("!BB", 0x82, 0x80 | len(PAYLOAD)) + MASK + bytes(b ^ MASK[i % 4] for i, b in enumerate(PAYLOAD))


def opened():
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(f"GET /ws HTTP/1.1\r\nHost: bench.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            sys.exit(f"answered {answer!r}")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 101"):
        sys.exit(f"answered {answer!r}")
    connection.setblocking(False)
    return connection


selector, back = selectors.DefaultSelector(), 0
for _ in range(connections):
    connection = opened()
    selector.register(connection, selectors.EVENT_READ, [0])
    connection.send(MESSAGE)
end = time.monotonic() + seconds
while time.monotonic() < end:
    for key, _ in selector.select(1):
        piece = key.fileobj.recv(65536)
        if not piece:
            sys.exit("a connection was closed")
        key.data[0] += len(piece)
        if key.data[0] == len(MESSAGE):
            key.data[0] = 0
            back += 1
            key.fileobj.send(MESSAGE)
        elif key.data[0] > len(MESSAGE):
            sys.exit("more came back than was sent")
print(back)
