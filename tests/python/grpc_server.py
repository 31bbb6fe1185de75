"""A gRPC server whose messages are plain bytes: grpc_server.py [CERT KEY]. Prints its port, and ends with
its standard input."""

import os
import sys
import threading
from concurrent import futures

import grpc

cancelled = threading.Semaphore(0)


def unary(request, context):
    """The same again, unless it is to be of the server at this port that it is busy."""
    sent = dict(context.invocation_metadata())
    if sent.get("x-busy") == os.environ.get("PORT"):
        context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
    context.set_trailing_metadata((("x-trailer", sent.get("x-ask", "none")),))
    return request


def server_stream(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def client_stream(requests, context):
    return str(sum(len(request) for request in requests)).encode()


def bidi(requests, context):
    for request in requests:
        yield b"re: " + request


def sleep(request, context):
    """Until the caller gives up; after a first message if asked for one."""
    context.add_callback(cancelled.release)
    if request == b"after a message":
        yield b"first"
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait(60)


def wait_for_cancel(request, context):
    return b"yes" if cancelled.acquire(timeout=25) else b"no"


def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing here")


def check(request, context):
    """The health service: this one serves, any other is unknown."""
    service = request[2:].decode()
    if service not in ("", "test.Echo"):
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return b"\x08\x01"


def main():
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
        "Sleep": grpc.unary_stream_rpc_method_handler(sleep),
        "WaitForCancel": grpc.unary_unary_rpc_method_handler(wait_for_cancel),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=unlimited)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    health = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    name = "grpc.health.v1.Health"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, health),))
    if len(sys.argv) > 1:
        cert, key = (open(path, "rb").read() for path in sys.argv[1:])
        secrets = grpc.ssl_server_credentials([(key, cert)])
        port = server.add_secure_port("127.0.0.1:0", secrets)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    os.environ["PORT"] = str(port)
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0)


main()
