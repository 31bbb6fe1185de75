"""The proxy under attack: started on free ports, looked at from outside (its metrics, its processes),
and asked honest questions while somebody else torments it."""
import asyncio
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.request

DEADLINE = 30


class Failed(AssertionError):
    """What a case found; carries all the evidence there is."""


class Sluice:
    def __init__(self, binary, config, limit_descriptors=None, environment=None, user=None, group=None):
        self.home = os.path.join(tempfile.mkdtemp(prefix="torture-"), "config")
        os.makedirs(self.home)
        self.path = os.path.join(self.home, "sluice.yaml")
        self.log_path = os.path.join(os.path.dirname(self.home), "log")
        self.write(config)
        command = [binary, "run", "-c", self.path]
        if limit_descriptors:
            command = ["prlimit", f"--nofile={limit_descriptors}", *command]
        if group:
            command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', f"{group}/cgroup.procs", *command]
        self.log = open(self.log_path, "wb")
        if user is not None:
            for path in (os.path.dirname(self.home), self.home):
                os.chown(path, user, user)
            os.chmod(self.path, 0o644)
        self.process = subprocess.Popen(command, stderr=self.log, stdout=self.log, user=user,
                                        env={**os.environ, "SLUICE_DRAIN_MIN_DELAY": "0s", **(environment or {})})
        self.port = self.wait_line("listening")
        self.admin = self.wait_line("admin listening")
        self.wait_line("ready", None)

    def write(self, config):
        temporary = self.path + ".new"
        with open(temporary, "w") as f:
            f.write(config)
        os.rename(temporary, self.path)

    def lines(self):
        with open(self.log_path, errors="replace") as f:
            return [json.loads(line) for line in f if line.startswith("{")]

    def wait_line(self, message, field="address", count=1):
        """The port in the `count`-th line of the log with that message."""
        def find():
            found = [line for line in self.lines() if text_of(line) == message]
            if len(found) >= count:
                return fields_of(found[count - 1])
        fields = self.wait(find, f"{count} lines {message!r} in the log")
        return int(str(fields[field]).rsplit(":", 1)[1]) if field else None

    def wait(self, look, what, seconds=DEADLINE):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            if self.process.poll() is not None and "exit" not in what:
                self.fail(f"the proxy ended with {self.process.returncode} while waiting for {what}")
            time.sleep(0.02)
        self.fail(f"no {what} within {seconds} s")

    def fail(self, why):
        with open(self.log_path, errors="replace") as f:
            tail = f.read()[-4000:]
        raise Failed(f"{why}\n--- configuration\n{open(self.path).read()}\n--- log\n{tail}")

    def admin_text(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=10) as answer:
            return answer.read().decode()

    def errors(self, reason):
        """How often the proxy has counted this reason."""
        pattern = rf'^sluice_errors_total{{reason="{reason}"}} ([0-9.e+]+)$'
        return sum(float(n) for n in re.findall(pattern, self.admin_text("/metrics"), re.M))

    def expect_reason(self, reason, least=1):
        self.wait(lambda: self.errors(reason) >= least, f"{least} of sluice_errors_total{{reason={reason}}}")

    def pids(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
            return [int(pid) for pid in f.read().split()]

    def memory_kib(self):
        return sum(resident_kib(pid) for pid in [self.process.pid, *self.pids()])

    def descriptors(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in [self.process.pid, *self.pids()])

    def stop(self):
        """TERM, and the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.fail("TERM did not end the proxy within 60 s")
        if panics := [line for line in open(self.log_path, errors="replace") if "panicked" in line]:
            self.fail(f"a process panicked: {panics}")
        return status


def text_of(line):
    return line.get("message") or line.get("fields", {}).get("message")


def fields_of(line):
    return {**line, **line.get("fields", {})}


def resident_kib(pid):
    try:
        with open(f"/proc/{pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
    except (FileNotFoundError, StopIteration):
        return 0


async def ask(port, path="/", headers="", timeout=20):
    """One honest request over a new connection; the whole answer."""
    async def whole():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{headers}\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer
    return await asyncio.wait_for(whole(), timeout)


class Honest:
    """A client that behaves, all the while: it must never notice anything."""

    def __init__(self, port, path="/good", tolerate=()):
        self.port, self.path, self.tolerate = port, path, tolerate
        self.done, self.bad, self.slowest, self.over = 0, [], 0.0, False

    async def __aenter__(self):
        self.task = asyncio.create_task(self.run())
        return self

    async def run(self):
        while not self.over:
            began = time.monotonic()
            try:
                answer = await ask(self.port, self.path)
                if not answer.startswith(b"HTTP/1.1 200"):
                    self.bad.append(answer[:200])
            except self.tolerate:
                pass
            except Exception as error:  # whatever it is, an honest client must not see it
                self.bad.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.done += 1
            await asyncio.sleep(0.005)

    async def __aexit__(self, *_):
        for _ in range(DEADLINE * 100):  # a short attack leaves no time for one question
            if self.done:
                break
            await asyncio.sleep(0.01)
        self.over = True
        await self.task

    def check(self):
        if self.bad:
            raise Failed(f"an honest client suffered {len(self.bad)} times in {self.done}: {self.bad[:3]}")
        if not self.done:
            raise Failed("the honest client did not get one answer")
        return f"{self.done} honest requests, slowest {self.slowest * 1000:.0f} ms"
