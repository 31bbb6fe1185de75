"""The image: what is in it, and that the proxy runs from it as a cluster would run it.

Takes a static binary from SLUICE_STATIC_BIN; needs root for its namespaces.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

import container
from cases import needs

BINARY = os.environ.get("SLUICE_STATIC_BIN")
CONFIG = """
server:
  listen: 127.0.0.1:0
  workers: 2
  upstreams:
    - id: echo
      url: builtin://echo
    - id: named
      url: http://localhost-of-the-test:{port}
  rules:
    - path: /named
      upstreams: [named]
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
            answer = json.load(urllib.request.urlopen(f"http://{proxy.address}/hello", timeout=20))
            self.assertEqual(answer["path"], "/hello")
            status = proxy.status()
            self.assertEqual(status["Uid"].split(), ["65532"] * 4)
            self.assertEqual(int(status["CapEff"], 16), 0)
            self.assertEqual(status["NSpid"].split()[-1], "1")
            os.kill(proxy.pid, signal.SIGTERM)
            self.assertEqual(proxy.process.wait(60), 0, proxy.log())

    def test_an_orphan_is_reaped(self):
        """A child whose parent has died becomes PID 1's; it must not stay as a zombie."""
        with Proxy(self) as proxy:
            inside = ["nsenter", "--target", str(proxy.pid), "--pid", "sh", "-c"]
            # The outer shell ends at once, so that the inner one, which outlives it, is an orphan.
            subprocess.run([*inside, "(sleep 0.2; exit 7) & exit 0"], check=True)
            deadline = time.monotonic() + 20
            while zombies := proxy.zombies():
                self.assertLess(time.monotonic(), deadline, f"zombies: {zombies}\n{proxy.log()}")
                time.sleep(0.1)


class Proxy:
    """The proxy of the image, started; its address is read from its log."""

    def __init__(self, test):
        self.test = test
        environment = {"SLUICE_ADMIN_LISTEN": "127.0.0.1:0", "SLUICE_DRAIN_MIN_DELAY": "0s"}
        self.launch = test.command(environment=environment)

    def __enter__(self):
        command, environment = self.launch
        self.stderr = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, env=environment, stderr=self.stderr)
        try:
            self.address = self.wait_for(r'"listening".*?"address":"([0-9.:]+)"')
            self.wait_for(r'("ready")')
            self.pid = self.wait_for_pid()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.stderr.close()

    def wait_for(self, pattern):
        deadline = time.monotonic() + 30
        while not (found := re.search(pattern, self.log())):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.05)
        return found[1]

    def wait_for_pid(self):
        """The one child of `unshare` is PID 1 in there."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[0])

    def log(self):
        return os.pread(self.stderr.fileno(), 1 << 20, 0).decode()

    def status(self):
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return dict(line.split(":", 1) for line in lines)

    def zombies(self):
        """Children of PID 1 that nobody has waited for."""
        command = ["ps", "--ppid", str(self.pid), "-o", "pid=,stat=,comm="]
        lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
        return [line for line in lines if line.split()[1].startswith("Z")]


if __name__ == "__main__":
    unittest.main()
