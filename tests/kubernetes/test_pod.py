"""The chart's container with its own arguments, environment and ports, run by the real binary."""

import os
import tempfile
import unittest
import urllib.request
from pathlib import Path

import helm
from cases import CHART, cases, needs
from running import BINARY, Sluice, eventually, no_binary, own_network
from test_chart import one, proxy, workload

# Those whose configuration is in the chart, and needs no name to be resolved.
RUN = ["default", "nodeport", "loadbalancer", "daemonset"]


@needs(None if os.geteuid() == 0 else "network namespaces need root")
@needs(no_binary())
class Pod(unittest.TestCase):
    def test_every_probe_and_port_answers(self):
        for name in RUN:
            with self.subTest(name), own_network(), tempfile.TemporaryDirectory() as directory:
                objects = helm.render(CHART, cases()[name])
                container = proxy(objects)
                with Sluice(*launch(objects, container, directory)) as sluice:
                    self.assertEqual(answers(container, sluice), {})

    def test_the_drain_fits_into_the_grace_period(self):
        """What the binary is told by the environment wins over its file."""
        with own_network(), tempfile.TemporaryDirectory() as directory:
            objects = helm.render(CHART, {"drain": {"minDelay": "0s", "timeout": "1s"}})
            with Sluice(*launch(objects, proxy(objects), directory)) as sluice:
                sluice.process.terminate()
                grace = workload(objects)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
                self.assertEqual(sluice.process.wait(grace + 30), 0)


def launch(objects, container, directory):
    """Arguments and environment as a kubelet would give them."""
    [mount] = [m for m in container["volumeMounts"] if m["name"] == "config"]
    for key, text in one(objects, "ConfigMap")["data"].items():
        Path(directory, key).write_text(text)
    arguments = [a.replace(mount["mountPath"], directory) for a in container["args"]]
    environment = {e["name"]: e.get("value", "from-the-field") for e in container["env"]}
    return [BINARY, *arguments], environment


def answers(container, sluice):
    """Every probe and port that does not answer as it should, with what it does."""
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    wrong = {}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container[kind]["httpGet"]
        url = f"http://127.0.0.1:{ports[probe['port']]}{probe['path']}"
        eventually(f"{kind} succeeds", lambda: status(url) == 200, sluice.log)
    for name, port in ports.items():
        if name != "admin" and status(f"http://127.0.0.1:{port}/") not in (200, 404):
            wrong[name] = status(f"http://127.0.0.1:{port}/")
    return wrong


def status(url):
    try:
        return urllib.request.urlopen(url, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return error


if __name__ == "__main__":
    unittest.main()
