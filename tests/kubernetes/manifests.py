"""The plain manifests of deploy/: the base made from the chart, the overlays made by kustomize.

kustomize is not to be had everywhere. So what it makes of an overlay is committed together with a
digest of what it was made from: without kustomize a change of the overlay is still noticed.
"""

import hashlib
import shutil
import subprocess

import yaml

import helm
from cases import CHART, DEPLOY, GOLDEN

OVERLAYS = sorted(path.name for path in (DEPLOY / "overlays").iterdir())

# True of objects that Helm makes; kubectl applies these.
HELM_LABELS = ("helm.sh/chart", "app.kubernetes.io/managed-by")


def base():
    """deploy/base/sluice.yaml, as the chart's defaults give it."""
    objects = [o for o in helm.render(CHART) if not _is_hook(o)]
    for obj in objects:
        _strip(obj)
    header = "# Rendered from charts/sluice; not to be edited here.\n"
    return header + yaml.dump_all(objects, Dumper=_Readable, sort_keys=False)


def overlay_golden(name):
    return GOLDEN / f"overlay-{name}.yaml"


def kustomize(name):
    """What kubectl makes of the overlay, or None without kubectl."""
    if not shutil.which("kubectl"):
        return None
    command = ["kubectl", "kustomize", str(DEPLOY / "overlays" / name)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def overlay_header(name):
    return f"# Made by kustomize from files with the digest {digest(name)}.\n"


def digest(name):
    """Over every file that the overlay may take."""
    files = [p for d in ("base", f"overlays/{name}") for p in sorted((DEPLOY / d).iterdir())]
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(DEPLOY)}\n".encode() + path.read_bytes())
    return whole.hexdigest()


class _Readable(yaml.SafeDumper):
    """Text of several lines as a block."""


def _text(dumper, value):
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Readable.add_representer(str, _text)


def _is_hook(obj):
    return "helm.sh/hook" in obj["metadata"].get("annotations", {})


def _strip(obj):
    template = obj.get("spec", {}).get("template", {})
    for metadata in (obj["metadata"], template.get("metadata", {})):
        for label in HELM_LABELS:
            metadata.get("labels", {}).pop(label, None)
