"""Writes every file that is made from another: run it, look at the difference, commit it.

    .venv/bin/python tests/kubernetes/regenerate.py
"""

import helm
import manifests
import values_table
from cases import CHART, DEPLOY, GOLDEN, ROOT, cases

COPIES = {"rules.yaml": "prometheus/rules.yaml", "dashboard.json": "grafana/sluice.json"}
DOCUMENTS = [CHART / "README.md", ROOT / "docs" / "kubernetes.md"]


def generated():
    """(path, contents) of every made file; contents are None where the tool is missing."""
    # A chart cannot reach beyond its own directory.
    for copy, original in COPIES.items():
        yield CHART / "files" / copy, (DEPLOY / original).read_text()
    for name, values in cases().items():
        yield GOLDEN / f"{name}.yaml", golden(values)
    for document in DOCUMENTS:
        yield document, values_table.filled(document.read_text())
    yield DEPLOY / "base" / "sluice.yaml", manifests.base()
    for name in manifests.OVERLAYS:
        made = manifests.kustomize(name)
        yield manifests.overlay_golden(name), made and manifests.overlay_header(name) + made


def golden(values):
    """All that the chart renders, the notes too."""
    texts = sorted(helm.render_text(CHART, values).items())
    return "".join(f"=== {name}\n{text.strip()}\n" for name, text in texts if text.strip())


if __name__ == "__main__":
    for path, contents in generated():
        if contents is None:
            print(f"no kubectl: {path.relative_to(ROOT)} stays as it is")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(contents)
