"""TLS handshakes one after the other, each with one request: with a new session each, or each resuming
the one before. Prints how many there were; a handshake that should have been resumed and was not, or an
answer that is not 200, is an error."""
import socket
import ssl
import sys
import time

port, seconds, mode = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
REQUEST = b"GET / HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n"


def exchange(session):
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, session=session, server_hostname="bench.test",
                                 suppress_ragged_eofs=True) as tls:
            if session is not None and not tls.session_reused:
                sys.exit("a session was not resumed")
            tls.sendall(REQUEST)
            answer = b""
            while piece := tls.recv(65536):
                answer += piece
            if not answer.startswith(b"HTTP/1.1 200"):
                sys.exit(f"answered {answer[:100]!r}")
            return tls.session


session = exchange(None) if mode == "resume" else None
count, end = 0, time.monotonic() + seconds
while time.monotonic() < end:
    last = exchange(session)
    session = last if mode == "resume" else None
    count += 1
print(count)
