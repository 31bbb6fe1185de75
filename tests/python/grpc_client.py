"""A gRPC client: grpc_client.py ADDRESS SCENARIO [PORT]. Ends with an exception where something is not so.
With an authority's file as GRPC_CA it speaks TLS, to `a.test` at the address."""

import os
import sys
import threading

import grpc

TIMEOUT = 60
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Echo:
    def __init__(self, address):
        ca = os.environ.get("GRPC_CA")
        if ca is None:
            self.channel = grpc.insecure_channel(address, options=UNLIMITED)
            return
        believed = grpc.ssl_channel_credentials(open(ca, "rb").read())
        name = [("grpc.ssl_target_name_override", "a.test")]
        self.channel = grpc.secure_channel(address, believed, options=UNLIMITED + name)

    def unary(self, method="Unary"):
        return self.channel.unary_unary(f"/test.Echo/{method}")

    def stream(self, method="ServerStream"):
        return self.channel.unary_stream(f"/test.Echo/{method}")

    def client_stream(self):
        return self.channel.stream_unary("/test.Echo/ClientStream")

    def bidi(self):
        return self.channel.stream_stream("/test.Echo/Bidi")


def code_of(work):
    try:
        work()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def expect(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found!r} instead of {wanted!r}")


def calls(echo):
    """The four kinds, metadata, and a status of the server's."""
    reply, call = echo.unary().with_call(b"hello", timeout=TIMEOUT, metadata=(("x-ask", "me"),))
    expect(reply, b"hello")
    expect(dict(call.trailing_metadata()).get("x-trailer"), "me")
    numbers = list(echo.stream()(b"100", timeout=TIMEOUT))
    expect(numbers, [str(number).encode() for number in range(100)])
    expect(echo.client_stream()(iter([b"a" * 10] * 50), timeout=TIMEOUT), b"500")
    lines = [str(number).encode() for number in range(50)]
    expect(list(echo.bidi()(iter(lines), timeout=TIMEOUT)), [b"re: " + line for line in lines])
    failed = code_of(lambda: echo.unary("Fail")(b"", timeout=TIMEOUT))
    expect(failed, (grpc.StatusCode.NOT_FOUND, "nothing here"))


def deadline(echo):
    """It ends the call for the client, and the work at the server; also after the answer has begun."""
    for request in (b"", b"after a message"):
        code, _ = code_of(lambda: list(echo.stream("Sleep")(request, timeout=1)))
        expect(code, grpc.StatusCode.DEADLINE_EXCEEDED)
        expect(echo.unary("WaitForCancel")(b"", timeout=TIMEOUT), b"yes")


def cancellation(echo):
    answer = echo.stream("Sleep")(b"after a message", timeout=TIMEOUT)
    expect(next(answer), b"first")
    answer.cancel()
    expect(echo.unary("WaitForCancel")(b"", timeout=TIMEOUT), b"yes")


def large(echo):
    message = bytes(range(256)) * 4096 * 16
    expect(echo.unary()(message, timeout=TIMEOUT) == message, True)
    replies = list(echo.bidi()(iter([message, message]), timeout=TIMEOUT))
    expect([reply == b"re: " + message for reply in replies], [True, True])


def unavailable(echo):
    code, details = code_of(lambda: echo.unary()(b"", timeout=TIMEOUT))
    expect(code, grpc.StatusCode.UNAVAILABLE)
    print(details)


def unimplemented(echo):
    code, details = code_of(lambda: echo.unary()(b"", timeout=TIMEOUT))
    expect((code, details), (grpc.StatusCode.UNIMPLEMENTED, "Rule not found"))


def busy(echo, port):
    """Calls of which those to the server at this port fail; how many of twenty did."""
    codes = [code_of(lambda: echo.unary()(b"x", timeout=TIMEOUT, metadata=(("x-busy", port),))) for _ in range(20)]
    failed = [code for code in codes if code != (grpc.StatusCode.OK, "")]
    expect(set(failed) - {(grpc.StatusCode.UNAVAILABLE, "busy")}, set())
    print(len(failed))


def hold(echo):
    """A stream that says something whenever it is told to; and calls beside it all the time."""
    stop, failures, served = threading.Event(), [], []

    def call():
        while not stop.is_set():
            code, details = code_of(lambda: echo.unary()(b"x", timeout=TIMEOUT, wait_for_ready=True))
            (served if code == grpc.StatusCode.OK else failures).append((code, details))

    caller = threading.Thread(target=call)
    caller.start()

    def lines():
        yield b"begin"
        for line in sys.stdin:
            yield line.strip().encode()

    try:
        for reply in echo.bidi()(lines()):
            print(reply.decode(), flush=True)
    finally:
        stop.set()
        caller.join()
    expect(failures, [])
    print(f"{len(served)} served", flush=True)


def main():
    address, scenario, *more = sys.argv[1:]
    echo = Echo(address)
    {
        "calls": calls,
        "deadline": deadline,
        "cancellation": cancellation,
        "large": large,
        "unavailable": unavailable,
        "unimplemented": unimplemented,
        "busy": busy,
        "hold": hold,
    }[scenario](echo, *more)


main()
