"""The `restricted` Pod Security Standard, as far as it concerns what is rendered here."""


def pod_specs(objects):
    """The pod spec of every object that has one, with the object's name."""
    for obj in objects:
        spec = obj.get("spec", {})
        name = f"{obj['kind']}/{obj['metadata']['name']}"
        if obj["kind"] == "Pod":
            yield name, spec
        elif isinstance(spec, dict) and "template" in spec:
            yield name, spec["template"]["spec"]


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


ALLOWED_VOLUMES = {"configMap", "secret", "emptyDir", "projected", "downwardAPI"}


def violations(spec):
    """What the standard would refuse."""
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    for volume in spec.get("volumes", []):
        found += [f"volume {kind}" for kind in set(volume) - {"name"} - ALLOWED_VOLUMES]
    for container in containers(spec):
        found += [f"{container['name']}: {v}" for v in _container_violations(spec, container)]
    return found


def _container_violations(spec, container):
    own = container.get("securityContext", {})
    both = spec.get("securityContext", {}) | own
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if own.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "capabilities not dropped"
    if own.get("capabilities", {}).get("add", []) not in ([], ["NET_BIND_SERVICE"]):
        yield "capabilities added"
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield "may run as root"
    if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp profile"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort"
