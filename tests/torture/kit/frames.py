"""HTTP/2 by hand: frames and a header block that needs no table, for clients and upstreams that no library
would play."""
import asyncio

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INITIAL_WINDOW_SIZE = 4


def frame(kind, flags=0, stream=0, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def setting(name, value):
    return frame(SETTINGS, payload=name.to_bytes(2, "big") + value.to_bytes(4, "big"))


def reset(stream, code=8):
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last, code=0):
    return frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big"))


def window(stream, more):
    return frame(WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def text(value):
    assert len(value) < 127
    return bytes([len(value)]) + value


def field(name, value):
    """A literal without indexing."""
    return b"\x00" + text(name) + text(value)


def request(path, method=b"\x82"):
    """`method` as the static table has it: 0x82 is GET, 0x83 POST."""
    return method + b"\x86" + b"\x04" + text(path) + b"\x01" + text(b"t")


OK = b"\x88"


def get(stream, path):
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, request(path))


async def read(reader):
    """The next frame, as (kind, flags, stream, payload); None where the connection ends."""
    try:
        head = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, payload


async def end(reader):
    """Reads to the end of the connection; the code of the GOAWAY, if one came."""
    code = None
    while got := await read(reader):
        if got[0] == GOAWAY:
            code = int.from_bytes(got[3][4:8], "big")
    return code
