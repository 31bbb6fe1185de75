"""The manifests of deploy/: valid, allowed by the restricted standard, and as the chart has it."""

import unittest

import yaml

import helm
import manifests
import schemas
import security
from cases import CHART, DEPLOY, KUBERNETES, ROOT


def sources():
    """Path -> objects of everything that kubectl would apply, overlays as kustomize makes them."""
    paths = [DEPLOY / "base" / "namespace.yaml", DEPLOY / "base" / "sluice.yaml"]
    paths += sorted(DEPLOY.glob("examples/**/*.yaml"))
    paths += [manifests.overlay_golden(name) for name in manifests.OVERLAYS]
    return {path.relative_to(ROOT): list(yaml.safe_load_all(path.read_text())) for path in paths}


class Manifests(unittest.TestCase):
    def test_every_manifest_is_valid_for_every_version(self):
        self.assertGreaterEqual(len(sources()), 7)
        for path, objects in sources().items():
            for kube in KUBERNETES:
                with self.subTest(path, kube=kube):
                    self.assertEqual(schemas.problems(objects, kube), [])

    def test_every_pod_passes_the_restricted_standard(self):
        seen = 0
        for path, objects in sources().items():
            for pod, spec in security.pod_specs(objects):
                with self.subTest(path, pod=pod):
                    self.assertEqual(security.violations(spec), [])
                    seen += 1
        self.assertGreaterEqual(seen, 6)

    def test_the_image_is_the_charts(self):
        [chart] = {c["image"] for _, c in proxies(helm.render(CHART))}
        for path, objects in sources().items():
            for pod, container in proxies(objects):
                with self.subTest(path, pod=pod):
                    self.assertEqual(container["image"], chart)

    def test_a_sidecar_is_ready_before_the_application_starts(self):
        for path, objects in sources().items():
            if "sidecar" not in str(path):
                continue
            for pod, container in proxies(objects):
                with self.subTest(path, pod=pod):
                    if container.get("restartPolicy") == "Always":
                        self.assertEqual(container["startupProbe"]["httpGet"]["path"], "/readyz")
                    else:
                        hook = container["lifecycle"]["postStart"]["exec"]["command"]
                        self.assertEqual(hook[:2], ["sluice", "wait-ready"])

    def test_a_config_map_is_never_mounted_by_sub_path(self):
        for path, objects in sources().items():
            for pod, container in proxies(objects):
                with self.subTest(path, pod=pod):
                    self.assertTrue(container["volumeMounts"])
                    self.assertFalse([m for m in container["volumeMounts"] if "subPath" in m])

    def test_the_edge_overlay_gives_its_drain_time(self):
        golden = yaml.safe_load_all(manifests.overlay_golden("edge").read_text())
        [spec] = [spec for pod, spec in security.pod_specs(golden) if pod.startswith("Deployment")]
        env = {e["name"]: e.get("value", "") for e in spec["containers"][0]["env"]}
        drain = sum(int(env[f"SLUICE_DRAIN_{k}"].removesuffix("s")) for k in ("MIN_DELAY", "TIMEOUT"))
        self.assertGreaterEqual(spec["terminationGracePeriodSeconds"], drain)


def proxies(objects):
    """Every container of the proxy, with its pod's name."""
    for pod, spec in security.pod_specs(objects):
        for container in security.containers(spec):
            if container["name"] == "sluice":
                yield pod, container


if __name__ == "__main__":
    unittest.main()
