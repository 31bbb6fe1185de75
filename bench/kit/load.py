"""The clients: wrk for a closed loop, h2load for a fixed rate and for HTTP/2. Each gives counts, and
refuses a run in which anything but 200 was answered."""
import os
import re
import subprocess
import tempfile

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


def wrk(port, path, connections, seconds, lua=None):
    """A closed loop; gives the number of requests answered."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    script = None
    if lua:
        script = tempfile.NamedTemporaryFile("w", suffix=".lua", delete=False)
        script.write(lua)
        script.close()
        command += ["-s", script.name]
    try:
        out = run(command + [f"http://127.0.0.1:{port}{path}"])
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


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]
