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
    """`{name}` is replaced where the name is given; all other braces stay as they are. In templates for
    YAML and HAProxy a brace that could be taken for one is written twice."""
    with open(os.path.join(HERE, "peers", template)) as f:
        text = f.read()
    doubled = template.endswith((".yaml", ".cfg"))
    if doubled:
        text = text.replace("{{", "\0").replace("}}", "\1")
    for key, value in values.items():
        text = text.replace("{" + key + "}", str(value))
    return text.replace("\0", "{").replace("\1", "}") if doubled else text


def wait_for(port, process, what):
    deadline = time.monotonic() + 120  # nginx takes its time over 20,000 locations
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended at once with status {process.returncode}")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.001)
    raise RuntimeError(f"{what} does not listen on {port} after 120 s")


class Running:
    """A started program; `stop` ends it and waits."""

    def __init__(self, name, process, port, began):
        self.name, self.process, self.port, self.began = name, process, port, began

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


def certificate(directory):
    """One key and certificate for all; HAProxy wants both in one file."""
    cert, key, both = (os.path.join(directory, name) for name in ("cert.pem", "key.pem", "both.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes", "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=bench.test",
                    "-addext", "subjectAltName=DNS:bench.test,IP:127.0.0.1"], check=True, capture_output=True)
    with open(both, "w") as f:
        f.write(open(cert).read() + open(key).read())
    return cert, key, both


def start_echo(log):
    """The upstream of WebSocket messages."""
    port = free_port()
    command = ["python3", os.path.join(HERE, "kit", "clients", "echo.py"), str(port)]
    return launch("echo", command, port, LOAD_CORE, log)


def launch(name, command, port, core, log):
    if shutil.which(command[0]) is None:
        raise RuntimeError(f"{command[0]} is not installed")
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=log, stderr=log,
                               env={**os.environ, "SLUICE_DRAIN_MIN_DELAY": "0s"},
                               preexec_fn=core is not None and (lambda: os.sched_setaffinity(0, {core})) or None)
    wait_for(port, process, name)
    return Running(name, process, port, started)


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


class Stage:
    """What all runs share: the folder, the upstreams, the certificate and the binary."""

    def __init__(self, directory, log, binary):
        self.directory, self.log, self.binary = directory, log, binary
        self.certificate = certificate(directory)
        self.upstream = start_upstream(directory, log)
        self.echo = start_echo(log)

    def stop(self):
        self.upstream.stop()
        self.echo.stop()

    def start(self, name, workload, core=PROXY_CORE):
        """One of the proxies, set as the workload wants it."""
        port, home = free_port(), os.path.join(self.directory, name)
        shutil.rmtree(home, ignore_errors=True)
        os.makedirs(home)
        values = dict(dir=home, port=port, upstream=self.upstream.port, echo=self.echo.port,
                      workers=workload.workers, admin=free_port(), rules=rules_for(name, workload.rules),
                      maxconn=resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 300)
        values |= {"nginx": nginx, "haproxy": haproxy, "sluice": sluice}[name](self, workload, home, port)
        template = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "sluice": "sluice.yaml"}[name]
        path = os.path.join(home, template)
        with open(path, "w") as f:
            f.write(fill(template, **values))
        command = {"nginx": ["nginx", "-c", path, "-p", home],
                   "haproxy": ["haproxy", "-db", "-f", path],
                   "sluice": [self.binary, "run", "-c", path]}[name]
        running = launch(name, command, port, core, self.log)
        running.home, running.config = home, path
        return running


def nginx(stage, workload, home, _):
    cert, key, _ = stage.certificate
    listen = "reuseport" if workload.workers > 1 else ""
    if workload.tls:
        listen += " ssl http2" if workload.client == "h2" else " ssl"
    return {
        "listen": listen,
        "tls": f"    ssl_certificate {cert};\n    ssl_certificate_key {key};\n"
               "    ssl_session_cache shared:tls:8m;\n    ssl_protocols TLSv1.2 TLSv1.3;" if workload.tls else "",
        "headers": "    proxy_set_header X-Real-IP $remote_addr;\n    proxy_set_header X-Asked $request_method;\n"
                   '    proxy_set_header Authorization "Bearer xyz";' if workload.headers else "",
        "websocket": '    location /ws {\n      proxy_set_header Upgrade $http_upgrade;\n'
                     '      proxy_set_header Connection "upgrade";\n      proxy_read_timeout 3600s;\n'
                     f"      proxy_pass http://127.0.0.1:{stage.echo.port};\n    }}"
                     if workload.client == "websocket" else "",
        "access_log": f"{home}/access.log" if workload.access_log else "off",
    }


def haproxy(stage, workload, _home, _port):
    alpn = "h2,http/1.1" if workload.client == "h2" else "http/1.1"
    return {
        "listen": f"ssl crt {stage.certificate[2]} alpn {alpn}" if workload.tls else "",
        "headers": "  http-request set-header X-Real-IP %[src]\n  http-request set-header X-Asked %[method]\n"
                   "  http-request set-header Authorization Bearer\\ xyz" if workload.headers else "",
        "websocket": "  use_backend ws if { path_beg /ws }" if workload.client == "websocket" else "",
        # It cannot write to a file itself: its standard output goes to the benchmark's log.
        "access_log": "option httplog\n  log stdout format raw local0" if workload.access_log else "",
    }


def sluice(stage, workload, home, port):
    cert, key, _ = stage.certificate
    plain = f"127.0.0.1:{port}"
    return {
        "listen": f"[{{address: '{plain}', tls: {{certificates: [{{cert: {cert}, key: {key}}}]}}}}]"
                  if workload.tls else plain,
        "headers": "  headers:\n    - {key: x-real-ip, value: $ip}\n    - {key: x-asked, value: $method}\n"
                   "    - {key: authorization, value: Bearer xyz}" if workload.headers else "",
        "websocket": "    - path: /ws\n      upstreams: [ws]" if workload.client == "websocket" else "",
        "access_log": f"accessLog:\n  mode: on\n  path: {home}/access.log" if workload.access_log else "",
    }
