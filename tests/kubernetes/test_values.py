"""values.yaml, its schema and its table agree; bad values are refused with a word on why."""

import json
import unittest

import helm
import values_table
from cases import CHART

BAD = {
    "a typo at the top": ({"replicaCout": 2}, "replicaCout"),
    "a typo further down": ({"service": {"port": 80}}, "port"),
    "a typo in a probe": ({"livenessProbe": {"periodSecond": 3}}, "periodSecond"),
    "a wrong type": ({"replicaCount": "two"}, "replicaCount"),
    "a kind that is neither": ({"kind": "StatefulSet"}, "DaemonSet"),
    "a service type that is none": ({"service": {"type": "LoadBalncer"}}, "LoadBalancer"),
    "a duration without a unit": ({"drain": {"timeout": 30}}, "timeout"),
    "a duration with a wrong unit": ({"drain": {"minDelay": "5 seconds"}}, "minDelay"),
    "a low container port": ({"containerPorts": {"http": 80}}, "http"),
    "a port that is none": ({"service": {"ports": {"http": {"port": 70000}}}}, "port"),
    "a port name too long": ({"containerPorts": {"a-name-that-is-too-long": 8080}}, "too-long"),
    "a digest that is none": ({"image": {"digest": "sha256:abc"}}, "digest"),
    "a quantity that is none": ({"resources": {"limits": {"memory": "256 MB"}}}, "memory"),
    "a family that is none": ({"service": {"ipFamilies": ["IPv5"]}}, "ipFamilies"),
    "a secret without its name": ({"tlsSecrets": [{"name": "www"}]}, "secretName"),
    "a port that nothing listens on": ({"containerPorts": {"http": 9090}}, "server.listen"),
    "a config that is not YAML": ({"config": "server:\n\tlisten"}, "not YAML"),
    "a grace period shorter than the drain": ({"terminationGracePeriodSeconds": 10}, "before the drain ends"),
    "an autoscaler for a DaemonSet": ({"kind": "DaemonSet", "autoscaling": {"enabled": True}}, "Deployment"),
    "a monitor without its service": (
        {"metrics": {"serviceMonitor": {"enabled": True}}, "admin": {"service": {"enabled": False}}},
        "admin.service.enabled",
    ),
    "an external name without the name": ({"service": {"type": "ExternalName"}}, "externalName"),
}


class Values(unittest.TestCase):
    def test_bad_values_are_refused(self):
        for name, (values, why) in BAD.items():
            with self.subTest(name):
                self.assertIn(why, helm.values_error(CHART, values) or "accepted")

    def test_the_schema_and_the_values_have_the_same_keys(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        # Helm's own, given to every chart.
        del schema["properties"]["global"]
        in_schema = set(_schema_paths(schema))
        in_values = {path for path, _, _ in values_table.rows()}
        missing = [v for v in in_values if not any(v == s or s.startswith(v + ".") for s in in_schema)]
        undocumented = [s for s in in_schema if not any(s == v or s.startswith(v + ".") for v in in_values)]
        self.assertEqual((sorted(missing), sorted(undocumented)), ([], []))
        self.assertGreater(len(in_values), 80)

    def test_every_value_is_used_by_a_template(self):
        templates = "".join(p.read_text() for p in CHART.glob("templates/**/*") if p.is_file())
        for path, _, _ in values_table.rows():
            with self.subTest(path):
                self.assertRegex(templates, rf"\b{path.split('.')[-1]}\b")


def _schema_paths(schema, prefix=""):
    for key, value in schema["properties"].items():
        if "properties" in value:
            yield from _schema_paths(value, f"{prefix}{key}.")
        else:
            yield prefix + key


if __name__ == "__main__":
    unittest.main()
