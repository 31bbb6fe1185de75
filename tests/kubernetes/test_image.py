"""The image: what is in it, and that the proxy runs from it as a cluster would run it.

Takes a static binary from SLUICE_STATIC_BIN; needs root for its namespaces.
"""

import http.server
import json
import os
import shutil
import signal
import socketserver
import struct
import subprocess
import tempfile
import threading
import unittest
import urllib.request
from pathlib import Path

import container
from cases import needs
from running import Sluice, children, eventually, own_network

BINARY = os.environ.get("SLUICE_STATIC_BIN")
CONFIG = """
server:
  listen: 127.0.0.1:0
  workers: 2
  upstreams:
    - id: echo
      url: builtin://echo
    - id: hosts
      url: http://in-hosts:{port}
    - id: dns
      url: http://in-dns.example:{port}
  rules:
    - path: /hosts
      upstreams: [hosts]
    - path: /dns
      upstreams: [dns]
    - path: /
      upstreams: [echo]
"""
MEGABYTE = 1_000_000


def missing():
    """Why the tests cannot run here, or None."""
    if not BINARY:
        return "SLUICE_STATIC_BIN names no binary"
    if os.geteuid() != 0:
        return "namespaces and chroot need root"
    if not shutil.which("buildah"):
        return "no buildah"
    return None


@needs(missing())
class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.image = container.build(BINARY)
        mount = container.mounted()
        cls.rootfs = mount.__enter__()
        cls.addClassCleanup(mount.__exit__, None, None, None)
        # Before the tests put mount points there.
        cls.files = sorted(
            str(p.relative_to(cls.rootfs)) for p in cls.rootfs.rglob("*") if not p.is_dir()
        )

    def setUp(self):
        self.config = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.config.chmod(0o755)
        (self.config / "sluice.yaml").write_text(CONFIG.format(port=1))

    def command(self, *arguments, environment=None):
        return container.command(self.image, self.rootfs, self.config, list(arguments), environment)

    def run_once(self, *arguments):
        command, environment = self.command(*arguments)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    def test_it_has_the_binary_and_the_certificates_and_nothing_else(self):
        self.assertEqual(self.files, ["etc/ssl/certs/ca-certificates.crt", "usr/bin/sluice"])

    def test_it_is_20_megabytes_or_less(self):
        size = sum((self.rootfs / f).stat().st_size for f in self.files)
        print(f"\nthe image is {size / MEGABYTE:.1f} MB")
        self.assertLessEqual(size, 20 * MEGABYTE)

    def test_user_entry_point_and_labels(self):
        config = self.image["config"]
        self.assertRegex(config["User"], r"^[1-9][0-9]*:[1-9][0-9]*$")
        self.assertEqual(config["Entrypoint"], ["/usr/bin/sluice"])
        for label in ("title", "description", "licenses", "version", "revision"):
            self.assertIn(f"org.opencontainers.image.{label}", config["Labels"])

    def test_check_runs_in_it(self):
        done = self.run_once("check", "-c", "/etc/sluice/sluice.yaml")
        self.assertEqual(done.returncode, 0, done.stderr)
        (self.config / "sluice.yaml").write_text("server:\n  lisen: 8080\n")
        done = self.run_once("check", "-c", "/etc/sluice/sluice.yaml")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("listen", done.stdout + done.stderr)

    def test_the_proxy_serves_from_it_and_ends_by_term(self):
        with Proxy(self) as proxy:
            url = f"http://{proxy.address('listening')}/hello"
            answer = json.load(urllib.request.urlopen(url, timeout=20))
            self.assertEqual(answer["path"], "/hello")
            status = proxy.status()
            self.assertEqual(status["Uid"].split(), ["65532"] * 4)
            self.assertEqual(int(status["CapEff"], 16), 0)
            self.assertEqual(status["NSpid"].split()[-1], "1")
            os.kill(proxy.pid(), signal.SIGTERM)
            self.assertEqual(proxy.process.wait(60), 0, proxy.log())

    def test_names_are_resolved_by_hosts_and_dns(self):
        """Nothing of NSS is in the image; what a kubelet mounts is."""
        (self.rootfs / "etc/hosts").write_text("127.0.0.1 in-hosts\n")
        (self.rootfs / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        with own_network():
            upstream = self.server(http.server.HTTPServer(("127.0.0.1", 0), Answers))
            self.server(socketserver.UDPServer(("127.0.0.1", 53), Names))
            text = CONFIG.format(port=upstream.server_port)
            (self.config / "sluice.yaml").write_text(text)
            with Proxy(self) as proxy:
                for path in ("/hosts", "/dns"):
                    url = f"http://{proxy.address('listening')}{path}"
                    self.assertEqual(urllib.request.urlopen(url, timeout=20).status, 200)

    def server(self, server):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def test_an_orphan_is_reaped(self):
        """A child whose parent has died becomes PID 1's; it must not stay as a zombie."""
        with Proxy(self) as proxy:
            inside = ["nsenter", "--target", str(proxy.pid()), "--pid", "sh", "-c"]
            # The outer shell ends at once, so that the inner one, which outlives it, is an orphan.
            subprocess.run([*inside, "(sleep 0.2; exit 7) & exit 0"], check=True)
            eventually("no zombie", lambda: not proxy.zombies(), proxy.log)


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Names(socketserver.BaseRequestHandler):
    """A name server that has one address for every name: 127.0.0.1."""

    def handle(self):
        query, reply = self.request
        question = query[12 : query.index(b"\0", 12) + 5]
        is_a = question[-3] == 1
        header = query[:2] + b"\x81\x80" + struct.pack(">4H", 1, is_a, 0, 0)
        record = b"\xc0\x0c" + struct.pack(">HHIH4B", 1, 1, 60, 4, 127, 0, 0, 1)
        reply.sendto(header + question + record * is_a, self.client_address)


class Proxy(Sluice):
    """The proxy of the image, as PID 1 of its own."""

    def __init__(self, test):
        environment = {"SLUICE_ADMIN_LISTEN": "127.0.0.2:0", "SLUICE_DRAIN_MIN_DELAY": "0s"}
        super().__init__(*test.command(environment=environment))

    def pid(self):
        """`unshare` has one child, which is PID 1 in there."""
        return children(self.process.pid)[0]

    def status(self):
        lines = Path(f"/proc/{self.pid()}/status").read_text().splitlines()
        return dict(line.split(":", 1) for line in lines)

    def zombies(self):
        """Children of PID 1 that nobody has waited for."""
        stats = [Path(f"/proc/{child}/stat") for child in children(self.pid())]
        # Behind the name, which may hold anything.
        read = [stat.read_text() for stat in stats if stat.exists()]
        return [stat for stat in read if stat.rpartition(")")[2].split()[0] == "Z"]


if __name__ == "__main__":
    unittest.main()
