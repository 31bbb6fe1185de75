"""The real binary and a network of its own to run it in, where the ports of a pod are free."""

import contextlib
import ctypes
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from cases import ROOT

BINARY = Path(os.environ.get("SLUICE_BIN", ROOT / "target" / "debug" / "sluice"))
DEADLINE = 60

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def no_binary():
    """Why the binary cannot be run, or None."""
    return None if BINARY.exists() else f"no binary at {BINARY}"


@contextlib.contextmanager
def own_network():
    """This thread, and what it starts, in a network namespace with loopback alone. Needs root."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as outside:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "no network namespace")
        try:
            with socket.socket() as any_socket:
                request = struct.pack("16sh", b"lo", IFF_UP)
                fcntl.ioctl(any_socket, SIOCSIFFLAGS, request.ljust(40, b"\0"))
            yield
        finally:
            libc.setns(outside.fileno(), CLONE_NEWNET)


def children(pid):
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def eventually(what, fact, evidence=lambda: ""):
    """Looks at the fact until it is true; gives it back."""
    deadline = time.monotonic() + DEADLINE
    while not (value := fact()):
        assert time.monotonic() < deadline, f"not true in time: {what}\n{evidence()}"
        time.sleep(0.1)
    return value


class Sluice:
    """A running program; its log is kept and searched."""

    def __init__(self, command, environment, preexec=None):
        self.log_file = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=self.log_file,
            preexec_fn=preexec,
        )

    def __enter__(self):
        self.wait_for(r'"message":"(ready)"')
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.kill(self.pid(), signal.SIGINT)
        try:
            self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.log_file.close()

    def pid(self):
        """Of the supervisor."""
        return self.process.pid

    def wait_for(self, pattern):
        """The first group of the first line that has it."""

        def found():
            assert self.process.poll() is None, self.log()
            return re.search(pattern, self.log())

        return eventually(f"log line {pattern}", found, self.log)[1]

    def log(self):
        return os.pread(self.log_file.fileno(), 1 << 22, 0).decode()

    def address(self, message):
        """Of a line like `listening`, whatever the order of its fields."""
        self.wait_for(f'"message":"({message})"')
        lines = [line for line in self.log().splitlines() if f'"message":"{message}"' in line]
        return re.search(r'"address":"([^"]+)"', lines[-1])[1]

    def workers(self):
        return children(self.pid())
