"""What the chart says and what the binary and Prometheus take are the same thing."""

import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

import helm
from cases import CHART, DEPLOY, cases, needs
from running import BINARY, no_binary
from test_chart import one
from test_manifests import sources

# Where the chart mounts `tlsSecrets`.
MOUNTED = "/etc/sluice-tls"


def configurations():
    """Name -> text of every configuration that is rendered or committed for Kubernetes."""
    rendered = {f"chart: {name}": helm.render(CHART, values) for name, values in cases().items()}
    committed = {str(path): objects for path, objects in sources().items()}
    for name, objects in (rendered | committed).items():
        for obj in objects:
            if obj["kind"] == "ConfigMap":
                for key, text in obj.get("data", {}).items():
                    if key.endswith(".yaml"):
                        yield f"{name}: {obj['metadata']['name']}", text


def with_secrets(text, directory):
    """With a certificate for each mounted Secret that the text names, where a test can make one."""
    for name in set(re.findall(rf"{MOUNTED}/([^/]+)/", text)):
        secret = directory / name
        secret.mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-subj", "/CN=www.example.com", "-addext", "subjectAltName=DNS:www.example.com",
             "-keyout", secret / "tls.key", "-out", secret / "tls.crt"],
            check=True, capture_output=True)
    return text.replace(MOUNTED, str(directory))


@needs(no_binary())
class Configurations(unittest.TestCase):
    def test_every_configuration_passes_check(self):
        checked = 0
        for name, text in configurations():
            with self.subTest(name), tempfile.TemporaryDirectory() as directory:
                path = Path(directory, "sluice.yaml")
                path.write_text(with_secrets(text, Path(directory)))
                done = subprocess.run([BINARY, "check", "-c", path], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                checked += 1
        self.assertGreaterEqual(checked, 13)


@needs(None if shutil.which("promtool") else "no promtool")
class Rules(unittest.TestCase):
    def test_the_rendered_rules_pass_promtool(self):
        rule = one(helm.render(CHART, cases()["everything"]), "PrometheusRule")
        with tempfile.TemporaryDirectory() as directory:
            rules = Path(directory, "rules.yaml")
            rules.write_text(json.dumps(rule["spec"]))
            self.promtool("check", "rules", rules)
            # The tests name their rules as a file beside them.
            tests = shutil.copy(DEPLOY / "prometheus" / "rules.test.yaml", directory)
            self.promtool("test", "rules", tests)

    def promtool(self, *arguments):
        done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
