"""Where things are, the matrix of values files and Kubernetes versions, and what a test needs."""

import os
import unittest
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "kubernetes"
CHART = ROOT / "charts" / "sluice"
DEPLOY = ROOT / "deploy"
GOLDEN = HERE / "golden"

OLDEST, NEWEST = "1.28", "1.36"
KUBERNETES = [f"1.{minor}" for minor in range(28, 37)]


def cases():
    """Name -> values. `default` has none of its own."""
    found = {"default": {}}
    for path in sorted(CHART.glob("ci/*-values.yaml")):
        found[path.name.removesuffix("-values.yaml")] = yaml.safe_load(path.read_text())
    for path in sorted(CHART.glob("examples/*.yaml")):
        found[f"example-{path.stem}"] = yaml.safe_load(path.read_text())
    return found


def needs(reason):
    """Skips a test for this reason, if there is one; in CI that is a failure."""
    if reason and os.environ.get("CI"):
        raise AssertionError(f"CI cannot run this: {reason}")
    return unittest.skipIf(reason, reason)
