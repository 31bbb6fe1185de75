"""Holds objects to Kubernetes' own schemas, strictly: an unknown key is an error, an unknown kind too.

Built-in kinds come from kubernetes-validate, the Prometheus Operator's from `crds/`. Not here:
what an object ought to say.
"""

import functools

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate import utils

from cases import HERE

# One file of definitions is several megabytes, and is wanted for every object.
utils.schema_contents = functools.cache(utils.schema_contents)


def problems(objects, kube):
    """Every fault of every object, as text."""
    return [fault for o in objects for fault in _problems_of(o, kube)]


def _problems_of(obj, kube):
    name = f"{obj.get('kind')}/{obj.get('metadata', {}).get('name')}"
    custom = _custom_schemas().get((obj.get("apiVersion"), obj.get("kind")))
    try:
        if custom:
            jsonschema.Draft202012Validator(custom).validate(obj)
        else:
            kubernetes_validate.validate(obj, kube, strict=True)
    except kubernetes_validate.SchemaNotFoundError as error:
        return [f"{name}: {error.message}"]
    except jsonschema.ValidationError as error:
        where = ".".join(str(step) for step in error.path)
        return [f"{name}: {where}: {error.message}"]
    return []


@functools.cache
def _custom_schemas():
    schemas = {}
    for path in sorted(HERE.glob("crds/*.yaml")):
        crd = yaml.safe_load(path.read_text())["spec"]
        for version in crd["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
            key = (f"{crd['group']}/{version['name']}", crd["names"]["kind"])
            schemas[key] = _closed(schema)
    assert schemas, "no custom resource definitions found"
    return schemas


def _closed(schema):
    """The schema with unknown keys refused, as the API server's strict field validation does."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
    return closed
