"""Reloads of a running Sluice: how long each takes, and what many of them leave behind. Requests run
meanwhile; one that fails ends the measurement."""
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

from . import proc

DEBOUNCE = 0.020
# The history is full after the second.
EARLY = (10, 30, 100, 1000)
# What a reload took is given back within so many seconds.
GIVEN_BACK = 3
CLIENTS = 2


def config(rules, mark):
    lines = "".join(
        f"    - {{host: h{n}.example.com, path: /p{n}, upstreams: [echo]}}\n" for n in range(rules)
    )
    return f"""server:
  listen: 127.0.0.1:0
  workers: 2
  headers:
    - {{key: x-mark, value: '{mark}'}}
  upstreams:
    - {{id: echo, url: 'builtin://echo'}}
  rules:
{lines}    - {{path: /, upstreams: [echo]}}
admin: {{listen: 127.0.0.1:0}}
reload: {{debounce: {int(DEBOUNCE * 1000)}ms}}
"""


class Sluice:
    def __init__(self, binary, text):
        self.folder = tempfile.TemporaryDirectory()
        self.config = Path(self.folder.name, "sluice.yaml")
        self.config.write_text(text)
        command = [binary, "run", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.address = None
        while (event := self.event())["message"] != "ready":
            if event["message"] == "listening":
                self.address = event["address"]

    def event(self):
        line = self.process.stderr.readline()
        if not line:
            sys.exit("sluice has ended")
        return json.loads(line)

    def reload(self, text):
        """Seconds from the rename to the commit of the last worker."""
        new = self.config.with_suffix(".new")
        new.write_text(text)
        began = time.time()
        os.rename(new, self.config)
        while True:
            event = self.event()
            if event["message"] == "reload done":
                ended = datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
                return ended.timestamp() - began - DEBOUNCE
            if event["message"] == "reload rejected":
                sys.exit(event["errors"])

    def pids(self):
        return proc.family(self.process.pid)

    def memory(self):
        return proc.pss_kib(self.pids()) / 1024

    def own_memory(self):
        return proc.own_kib(self.pids()) / 1024

    def end(self):
        self.process.terminate()
        self.process.stderr.read()
        self.process.wait()


class Load:
    def __init__(self, address):
        self.stopped, self.served, self.failed = False, 0, []
        self.threads = [threading.Thread(target=self.ask, args=(address,)) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def ask(self, address):
        connection = http.client.HTTPConnection(address)
        while not self.stopped:
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    raise OSError(f"status {answer.status}")
                self.served += 1
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(str(error))
                connection.close()
            time.sleep(0.001)

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join()


def percentile(times, part):
    return sorted(times)[int((len(times) - 1) * part)]


def many(binary, rules, reloads):
    """Milliseconds from the rename to the last commit, less the debounce, and MiB early and late."""
    sluice = Sluice(binary, config(rules, 0))
    load, times, memory, own = Load(sluice.address), [], {}, {}
    try:
        for mark in range(1, reloads + 1):
            times.append(sluice.reload(config(rules, mark)) * 1000)
            if mark in EARLY or mark == reloads:
                time.sleep(GIVEN_BACK)
                memory[mark], own[mark] = sluice.memory(), sluice.own_memory()
    finally:
        load.stop()
        sluice.end()
    if load.failed:
        sys.exit(f"{len(load.failed)} requests failed: {load.failed[0]}")
    return {"rules": rules, "reloads": reloads, "requests": load.served, "times_ms": times,
            "p50_ms": percentile(times, 0.50), "p99_ms": percentile(times, 0.99),
            "early_mib": memory[min(memory)], "late_mib": memory[reloads], "memory_mib": memory, "own_mib": own}


def each_second(binary, rules, seconds):
    """The share of one core, in per cent, that a reload a second takes, without requests."""
    sluice = Sluice(binary, config(rules, 0))
    try:
        pids = sluice.pids()
        before, began = proc.cpu_seconds(pids), time.monotonic()
        for mark in range(1, seconds + 1):
            sluice.reload(config(rules, mark))
            time.sleep(max(0, began + mark - time.monotonic()))
        spent, took = proc.cpu_seconds(pids) - before, time.monotonic() - began
    finally:
        sluice.end()
    return {"rules": rules, "reloads": seconds, "core_percent": 100 * spent / took}
