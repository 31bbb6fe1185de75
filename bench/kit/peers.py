"""The programs that are measured, and the upstream behind them. Each is started from a template in
bench/peers, pinned to its core, and known by its process id and port."""
import os
import resource
import shutil
import signal
import socket
import subprocess
import time

from . import proc

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROXY_CORE, LOAD_CORE = 0, 1
NAMES = ["sluice", "nginx", "haproxy"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def fill(template, **values):
    """`{name}` is replaced where the name is given; all other braces stay as they are."""
    with open(os.path.join(HERE, "peers", template)) as f:
        text = f.read()
    for key, value in values.items():
        text = text.replace("{" + key + "}", str(value))
    return text.replace("{{", "{").replace("}}", "}") if template.endswith((".yaml", ".cfg")) else text


def wait_for(port, process, what):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended at once with status {process.returncode}")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise RuntimeError(f"{what} does not listen on {port} after 30 s")


class Running:
    """A started program; `stop` ends it and waits."""

    def __init__(self, name, process, port, started):
        self.name, self.process, self.port, self.started = name, process, port, started

    def pids(self):
        return proc.family(self.process.pid)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL if self.name == "haproxy" else signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                for pid in self.pids():
                    os.kill(pid, signal.SIGKILL)
                self.process.wait()


def launch(name, command, port, core, log):
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=log, stderr=log,
                               env={**os.environ, "SLUICE_DRAIN_MIN_DELAY": "0s"},
                               preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    wait_for(port, process, name)
    return Running(name, process, port, time.monotonic() - started)


def start_upstream(directory, log):
    www = os.path.join(directory, "www", "file")
    os.makedirs(www, exist_ok=True)
    for name, size in (("64k", 64 << 10), ("1m", 1 << 20)):
        with open(os.path.join(www, name), "wb") as f:
            f.write(os.urandom(size))
    port = free_port()
    headers = "\n".join(f'      add_header X-Answer-{i} "value number {i} of twenty";' for i in range(20))
    path = os.path.join(directory, "upstream.conf")
    with open(path, "w") as f:
        f.write(fill("upstream.conf", dir=directory, upstream=port, sink=free_port(), headers=headers))
    return launch("upstream", ["nginx", "-c", path, "-p", directory], port, LOAD_CORE, log)


def rules_for(name, count):
    """`count` rules that do not match before the one that does; literal prefixes, as people write."""
    if name == "nginx":
        return "\n".join(f"    location /rule-{i}/ {{ proxy_pass http://up; }}" for i in range(count))
    if name == "haproxy":
        return "\n".join(f"  use_backend b if {{ path_beg /rule-{i}/ }}" for i in range(count))
    return "\n".join(f"    - path: /rule-{i}/\n      upstreams: [up]" for i in range(count))


def start(name, directory, upstream, log, binary, workers=1, rules=0, access_log=False, core=PROXY_CORE):
    port, home = free_port(), os.path.join(directory, name)
    shutil.rmtree(home, ignore_errors=True)
    os.makedirs(home)
    values = dict(dir=home, port=port, upstream=upstream, workers=workers, admin=free_port(),
                  rules=rules_for(name, rules), reuseport="reuseport" if workers > 1 else "",
                  maxconn=resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 300)
    template = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "sluice": "sluice.yaml"}[name]
    values["access_log"] = access_log_setting(name, home, access_log)
    path = os.path.join(home, template)
    with open(path, "w") as f:
        f.write(fill(template, **values))
        if name == "sluice":
            f.write(values["access_log"])
    command = {"nginx": ["nginx", "-c", path, "-p", home],
               "haproxy": ["haproxy", "-db", "-f", path],
               "sluice": [binary, "run", "-c", path]}[name]
    running = launch(name, command, port, core, log)
    running.home, running.config = home, path
    return running


def access_log_setting(name, home, wanted):
    if name == "nginx":
        return f"{home}/access.log" if wanted else "off"
    if name == "haproxy":
        return "option httplog\n  log stdout format raw local0" if wanted else ""
    return f"accessLog:\n  mode: on\n  path: {home}/access.log\n" if wanted else ""
