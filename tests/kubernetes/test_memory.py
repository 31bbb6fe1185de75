"""A container with little memory sheds load with 503; the kernel never has to kill it."""

import collections
import contextlib
import os
import re
import resource
import selectors
import socket
import tempfile
import threading
import time
import unittest
import urllib.request
from pathlib import Path

from cases import needs
from running import BINARY, Sluice, eventually, no_binary

MEBIBYTE = 1 << 20
LIMIT = 64 * MEBIBYTE
CONNECTIONS = 3000
# Far more than a connection's share, so that every buffer on the way is filled.
SENT = 256 * 1024

CONFIG = """
admin: {{listen: "127.0.0.1:0"}}
server:
  listen: 127.0.0.1:0
  workers: 2
  upstreams:
    - {{id: silent, url: "http://127.0.0.1:{silent}"}}
    - {{id: echo, url: "builtin://echo"}}
  rules:
    - {{path: /silent, upstreams: [silent]}}
    - {{path: /, upstreams: [echo]}}
"""


class Group:
    """A memory cgroup of version 1 or 2, with a process in it."""

    def __init__(self, parent, limit_file, fails):
        self.directory = Path(parent, f"sluice-test-{os.getpid()}")
        self.limit_file, self.fails = limit_file, fails

    @staticmethod
    def find():
        """One that can be made here, or None."""
        for group in (
            Group("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"),
            Group("/sys/fs/cgroup", "memory.max", "memory.events"),
        ):
            with contextlib.suppress(OSError):
                group.directory.mkdir()
                if (group.directory / group.limit_file).exists():
                    return group
                group.directory.rmdir()
        return None

    def enter(self):
        (self.directory / "cgroup.procs").write_text(str(os.getpid()))

    def kills(self):
        return int(re.search(r"oom_kill (\d+)", (self.directory / self.fails).read_text())[1])

    def remove(self):
        eventually("the group is empty", lambda: not (self.directory / "cgroup.procs").read_text())
        self.directory.rmdir()


@needs(no_binary())
class Memory(unittest.TestCase):
    def setUp(self):
        self.group = Group.find()
        if not self.group:
            print("\nno memory cgroup can be made here: the bound on memory is not tried")
            self.skipTest("no memory cgroup can be made here")
        self.addCleanup(self.group.remove)
        (self.group.directory / self.group.limit_file).write_text(str(LIMIT))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def test_load_is_shed_before_the_kernel_kills(self):
        silent = self.enterContext(socket.create_server(("127.0.0.1", 0), backlog=4096))
        threading.Thread(target=accept_and_ignore, args=(silent,), daemon=True).start()
        directory = self.enterContext(tempfile.TemporaryDirectory())
        config = Path(directory, "sluice.yaml")
        config.write_text(CONFIG.format(silent=silent.getsockname()[1]))
        environment = dict(os.environ)
        sluice = Sluice([BINARY, "run", "-c", config], environment, preexec=self.group.enter)
        with sluice:
            workers = sluice.workers()
            answers = flood(sluice.address("listening"))
            print(f"\n{CONNECTIONS} uploads at {LIMIT // MEBIBYTE} MiB: {dict(answers)}")
            self.assertGreater(answers["under way"], 50)
            self.assertGreater(answers["HTTP/1.1 503"], CONNECTIONS / 2)
            self.assertEqual(answers["HTTP/1.1 503"] + answers["under way"], CONNECTIONS, answers)
            self.assertEqual(self.group.kills(), 0)
            self.assertEqual(sluice.workers(), workers, sluice.log())
            url = f"http://{sluice.address('listening')}/"
            eventually("it serves again", lambda: status(url) == 200, sluice.log)


def accept_and_ignore(listener):
    """Takes every connection and reads nothing."""
    kept = []
    with contextlib.suppress(OSError):
        while True:
            kept.append(listener.accept()[0])


def flood(address):
    """Uploads on many connections at once; what each of them has come to, counted."""
    host, port = address.rsplit(":", 1)
    head = f"POST /silent HTTP/1.1\r\nHost: x\r\nContent-Length: {100 * SENT}\r\n\r\n".encode()
    selector, states = selectors.DefaultSelector(), {}
    for _ in range(CONNECTIONS):
        client = socket.create_connection((host, int(port)), timeout=60)
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
        states[client] = [head + b"x" * SENT, "under way"]
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 3:
        for key, events in selector.select(0.1):
            if step(selector, key.fileobj, events, states[key.fileobj]):
                quiet_since = time.monotonic()
    for client in states:
        client.close()
    return collections.Counter(state for _, state in states.values())


def step(selector, client, events, state):
    """One read or write; whether anything has moved."""
    try:
        if events & selectors.EVENT_READ:
            state[1] = client.recv(4096)[:12].decode() or "closed"
            selector.unregister(client)
            client.close()
            return True
        sent = client.send(state[0])
        state[0] = state[0][sent:]
        if not state[0]:
            selector.modify(client, selectors.EVENT_READ)
        return sent > 0
    except BlockingIOError:
        return False
    except OSError as error:
        state[1] = type(error).__name__
        selector.unregister(client)
        return True


def status(url):
    try:
        return urllib.request.urlopen(url, timeout=20).status
    except OSError as error:
        return error


if __name__ == "__main__":
    unittest.main()
