"""What the chart renders, over the matrix of values files and Kubernetes versions."""

import copy
import json
import unittest

import yaml

import helm
import schemas
import security
from cases import CHART, DEPLOY, KUBERNETES, NEWEST, OLDEST, cases

# These ask for the node's network, which the restricted standard does not allow.
ON_THE_NODE = {"daemonset", "everything", "example-node-ports"}


def one(objects, kind, suffix=""):
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"].endswith(suffix)]
    assert found, f"no {kind} named *{suffix}"
    return found[0]


def workload(objects):
    return next(o for o in objects if o["kind"] in ("Deployment", "DaemonSet"))


def proxy(objects):
    containers = workload(objects)["spec"]["template"]["spec"]["containers"]
    return next(c for c in containers if c["name"] == "sluice")


class Matrix(unittest.TestCase):
    def test_lint_has_no_remark(self):
        for name, values in cases().items():
            for kube in (OLDEST, NEWEST):
                with self.subTest(name, kube=kube):
                    self.assertEqual(helm.lint(CHART, values, kube), [])

    def test_every_object_is_valid_for_every_version(self):
        checked = 0
        for name, values in cases().items():
            for kube in KUBERNETES:
                with self.subTest(name, kube=kube):
                    objects = helm.render(CHART, values, kube)
                    self.assertEqual(schemas.problems(objects, kube), [])
                    checked += len(objects)
        self.assertGreater(checked, 100)

    def test_an_unknown_kind_version_or_key_is_an_error(self):
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {}}
        self.assertEqual(schemas.problems([service], NEWEST), [])
        rule = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "x"},
            "spec": {"groups": []},
        }
        self.assertEqual(schemas.problems([rule], NEWEST), [])
        for bad in (
            service | {"kind": "Servce"},
            service | {"apiVersion": "v9"},
            service | {"spec": {"typ": "NodePort"}},
            rule | {"spec": {"group": []}},
        ):
            with self.subTest(bad=bad):
                self.assertEqual(len(schemas.problems([bad], NEWEST)), 1)

    def test_names_fit_whatever_the_release_is_called(self):
        for name, values in cases().items():
            with self.subTest(name):
                for obj in helm.render(CHART, values, release="r" * 53):
                    self.assertLessEqual(len(obj["metadata"]["name"]), 63)

    def test_a_field_newer_than_the_cluster_is_left_out(self):
        values = {"service": {"trafficDistribution": "PreferClose"}}
        for kube, expected in (("1.30", None), ("1.31", "PreferClose")):
            service = one(helm.render(CHART, values, kube), "Service", "sluice")
            self.assertEqual(service["spec"].get("trafficDistribution"), expected)


class Pods(unittest.TestCase):
    def test_pods_pass_the_restricted_standard(self):
        for name, values in cases().items():
            for pod, spec in security.pod_specs(helm.render(CHART, values)):
                with self.subTest(name, pod=pod):
                    found = security.violations(spec)
                    if name in ON_THE_NODE:
                        found = [v for v in found if v != "hostNetwork" and "hostPort" not in v]
                    self.assertEqual(found, [])

    def test_the_standard_is_really_looked_at(self):
        for context in ({"allowPrivilegeEscalation": True}, {"capabilities": None}, {"runAsUser": 0}):
            objects = helm.render(CHART, {"securityContext": context})
            [spec] = [s for pod, s in security.pod_specs(objects) if pod.startswith("Deployment")]
            self.assertNotEqual(security.violations(spec), [], context)

    def test_the_root_file_system_is_read_only_and_no_privilege_needed_for_ports(self):
        for name, values in cases().items():
            container = proxy(helm.render(CHART, values))
            with self.subTest(name):
                self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
                for port in container["ports"]:
                    self.assertGreater(port["containerPort"], 1024)

    def test_probes_and_services_name_ports_that_exist(self):
        for name, values in cases().items():
            objects = helm.render(CHART, values)
            ports = {p["name"] for p in proxy(objects)["ports"]}
            numbers = {p["containerPort"] for p in proxy(objects)["ports"]}
            with self.subTest(name):
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    if probe in proxy(objects):
                        self.assertIn(proxy(objects)[probe]["httpGet"]["port"], ports)
                for service in (o for o in objects if o["kind"] == "Service"):
                    for port in service["spec"]["ports"]:
                        self.assertIn(port["targetPort"], ports | numbers)

    def test_selectors_take_the_proxy_and_not_the_test_pod(self):
        for name, values in cases().items():
            objects = helm.render(CHART, values)
            labels = workload(objects)["spec"]["template"]["metadata"]["labels"]
            test_pod = one(objects, "Pod", "-test")["metadata"]["labels"]
            selectors = [
                o["spec"]["selector"].get("matchLabels", o["spec"]["selector"])
                for o in objects
                if o["kind"] in ("Deployment", "DaemonSet", "Service", "PodDisruptionBudget", "PodMonitor")
                and "selector" in o["spec"]
            ]
            with self.subTest(name):
                self.assertTrue(selectors)
                for selector in selectors:
                    self.assertLessEqual(selector.items(), labels.items())
                    self.assertFalse(selector.items() <= test_pod.items())

    def test_a_service_monitor_selects_the_admin_service_alone(self):
        objects = helm.render(CHART, cases()["everything"])
        selector = one(objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
        services = [o for o in objects if o["kind"] == "Service"]
        selected = [s["metadata"]["name"] for s in services if selector.items() <= s["metadata"]["labels"].items()]
        self.assertEqual(selected, ["sluice-proxy-admin"])


class Monitoring(unittest.TestCase):
    def test_the_rules_are_those_of_deploy_and_the_groups_added(self):
        rule = one(helm.render(CHART, cases()["everything"]), "PrometheusRule")
        shipped = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())["groups"]
        self.assertEqual(rule["spec"]["groups"][: len(shipped)], shipped)
        self.assertEqual([g["name"] for g in rule["spec"]["groups"][len(shipped) :]], ["own"])

    def test_the_dashboard_is_that_of_deploy(self):
        config_map = one(helm.render(CHART, cases()["everything"]), "ConfigMap", "-dashboard")
        shipped = json.loads((DEPLOY / "grafana" / "sluice.json").read_text())
        self.assertEqual(json.loads(config_map["data"]["sluice.json"]), shipped)
        self.assertEqual(config_map["metadata"]["labels"]["grafana_dashboard"], "1")


class Configuration(unittest.TestCase):
    def test_an_edit_of_config_changes_the_config_map_alone(self):
        edited = copy.deepcopy(cases()["example-edge"])
        edited["config"]["server"]["rules"][0]["path"] = "/v2"
        before, after = helm.render(CHART, cases()["example-edge"]), helm.render(CHART, edited)
        changed = [a["kind"] for b, a in zip(before, after, strict=True) if a != b]
        self.assertEqual(changed, ["ConfigMap"])

    def test_pods_are_replaced_by_an_edit_when_asked_for(self):
        values = {"restartOnConfigChange": True}
        edited = values | {"config": {"server": {"workers": 3}}}
        sums = [
            workload(helm.render(CHART, v))["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            for v in (values, edited)
        ]
        self.assertNotEqual(*sums)

    def test_the_config_map_is_a_directory_and_the_command_line_names_its_key(self):
        for name, values in cases().items():
            objects = helm.render(CHART, values)
            container = proxy(objects)
            [mount] = [m for m in container["volumeMounts"] if m["name"] == "config"]
            volumes = workload(objects)["spec"]["template"]["spec"]["volumes"]
            [volume] = [v for v in volumes if v["name"] == "config"]
            with self.subTest(name):
                self.assertNotIn("subPath", mount)
                key = container["args"][2].removeprefix(mount["mountPath"] + "/")
                if not values.get("existingConfigMap"):
                    config_map = one(objects, "ConfigMap", volume["configMap"]["name"])
                    self.assertIn(key, config_map["data"])

    def test_text_is_kept_as_written(self):
        values = cases()["nodeport"]
        data = one(helm.render(CHART, values), "ConfigMap")["data"]
        self.assertEqual(data["sluice.yaml"].strip(), values["config"].strip())

    def test_the_grace_period_holds_the_drain(self):
        for values, expected in (
            ({}, 40),
            ({"drain": {"minDelay": "1500ms", "timeout": "2m"}}, 127),
            ({"terminationGracePeriodSeconds": 35}, 35),
        ):
            spec = workload(helm.render(CHART, values))["spec"]["template"]["spec"]
            self.assertEqual(spec["terminationGracePeriodSeconds"], expected)


if __name__ == "__main__":
    unittest.main()
