"""The clients: wrk for a closed loop, h2load for a fixed rate and for HTTP/2. Each gives counts, and
refuses a run in which anything but 200 was answered."""
import os
import re
import socket
import subprocess
import tempfile
import time

from .peers import LOAD_CORE


class Refused(RuntimeError):
    """The run cannot be used: someone answered something else than 200."""


def pinned(command):
    return ["taskset", "-c", str(LOAD_CORE)] + command


def run(command):
    done = subprocess.run(pinned(command), capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise Refused(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-400:]}")
    return done.stdout


def wrk(port, path, connections, seconds, lua=None, tls=False):
    """A closed loop; gives the number of requests answered."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    script = None
    if lua:
        script = tempfile.NamedTemporaryFile("w", suffix=".lua", delete=False)
        script.write(lua)
        script.close()
        command += ["-s", script.name]
    try:
        out = run(command + [f"{'https' if tls else 'http'}://127.0.0.1:{port}{path}"])
    finally:
        if script:
            os.unlink(script.name)
    if "Non-2xx" in out or "Socket errors" in out:
        raise Refused(out)
    return int(re.search(r"(\d+) requests in", out).group(1))


POST_64K = 'wrk.method = "POST"\nwrk.body = string.rep("x", 65536)\n'
TWENTY_HEADERS = "".join(f'wrk.headers["X-Ask-{i}"] = "value number {i} of twenty"\n' for i in range(20))
CLOSE = 'wrk.headers["Connection"] = "close"\n'


def h2load_total(out):
    """Requests done, when every one was answered with 2xx."""
    done = re.search(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed", out)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", out)
    if not done or not codes or done.group(4) != "0" or codes.group(2, 3, 4) != ("0", "0", "0"):
        raise Refused(out)
    return int(done.group(2))


def h2(port, path, connections, seconds):
    """HTTP/2 by ALPN, ten requests at once over each connection; gives the number answered."""
    out = run(["h2load", f"-c{connections}", "-m10", "-t1", f"-D{seconds}", "--npn-list=h2",
               f"https://127.0.0.1:{port}{path}"])
    if "Application protocol: h2" not in out:
        raise Refused(f"no HTTP/2 was spoken:\n{out}")
    return h2load_total(out)


def client(name, *args):
    """One of the clients in Python beside this file; gives the number it counted."""
    return int(run(["python3", os.path.join(os.path.dirname(__file__), "clients", name), *map(str, args)]))


def handshakes(port, seconds, resume):
    return client("handshakes.py", port, seconds, "resume" if resume else "new")


def websocket(port, connections, seconds):
    return client("websocket.py", port, connections, seconds)


def fixed_rate(port, path, connections, per_second, seconds):
    """Latencies in microseconds, sorted, of requests sent at a fixed rate over HTTP/1.1."""
    with tempfile.NamedTemporaryFile(suffix=".tsv") as log:
        out = run(["h2load", "--h1", f"-c{connections}", "-t1", f"--rps={per_second / connections:.3f}",
                   f"-D{seconds}", f"--log-file={log.name}", f"http://127.0.0.1:{port}{path}"])
        h2load_total(out)
        rows = [line.split("\t") for line in open(log.name)]
    if not rows or any(row[1] != "200" for row in rows):
        raise Refused("h2load's log has an answer that is not 200, or none at all")
    return sorted(int(row[2]) for row in rows)


def one(port):
    """One request, asked until there is an answer: what it takes is part of the time to start."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port)) as s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = s.recv(65536)
        except OSError:
            answer = b""
        if answer.startswith(b"HTTP/1.1 200"):
            return
        if answer:
            raise Refused(f"answered {answer[:60]!r}")
        time.sleep(0.001)
    raise Refused("no answer within a minute")


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]
