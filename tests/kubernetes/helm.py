"""Helm itself, as a library: lints, renders and checks values.

The package has no way to say which Kubernetes the templates are rendered for; the call under it
does, which is why its version is pinned and why this file reaches below its surface.
Not here: what the rendered objects must be.
"""

import json

import yaml
from helm_python import Chart, HelmError, _native, chart as _chart

__all__ = ["HelmError", "lint", "render", "render_text", "values_error"]

RELEASE = "sluice"
NAMESPACE = "sluice"

# Newer schemas take them all; the templates ask for none of them by API version.
MONITORING = ["monitoring.coreos.com/v1"]


def lint(path, values=None, kube="1.36"):
    """The findings of `helm lint --strict`: warnings and errors, as text."""
    report = _chart.lint(path, values, strict=True, kube_version=f"v{kube}.0", namespace=NAMESPACE)
    worse_than_info = [m for m in report["messages"] if m["severity"] > 1]
    return [f"{m['path']}: {m['error']}" for m in worse_than_info] + report["errors"]


def render_text(path, values=None, kube="1.36", release=RELEASE):
    """Template path -> rendered text; the notes are among them."""
    options = {
        "name": release,
        "namespace": NAMESPACE,
        "kube_version": f"v{kube}.0",
        "api_versions": MONITORING,
        "strict": True,
    }
    with Chart.load(path) as chart:
        # The schema is checked by install and upgrade, not by rendering.
        chart.validate_schema(values)
        rendered = _native.call_string(
            "helm_render", chart._raw(), json.dumps(values or {}), json.dumps(options)
        )
    return {name.split("/", 1)[1]: text for name, text in json.loads(rendered).items()}


def render(path, values=None, kube="1.36", release=RELEASE):
    """The rendered objects, in the order of their template's names."""
    objects = []
    for name, text in sorted(render_text(path, values, kube, release).items()):
        if name.endswith(".yaml"):
            objects += [o for o in yaml.load_all(text, Loader=yaml.CSafeLoader) if o]
    return objects


def values_error(path, values):
    """What is wrong with the values, or None."""
    try:
        render_text(path, values)
    except HelmError as error:
        return str(error)
    return None
