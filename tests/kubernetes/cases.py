"""Where things are, and the matrix: values files times Kubernetes versions."""

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
