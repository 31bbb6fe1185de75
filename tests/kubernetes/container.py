"""The image, built by buildah from a binary that is there, and run much as a kubelet would run it.

The chroot isolation of buildah knows neither a read-only root nor a PID 1 of its own; both matter
here, so the process is started in namespaces of its own over the image's mounted layers: the
image's user, entry point and environment, no capability to be had, the root read-only, the
configuration mounted. Not here: a network of its own (ports are 0 and read from the log).
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from cases import ROOT

IMAGE = "localhost/sluice-under-test"
CA_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
ENVIRONMENT = os.environ | {"BUILDAH_ISOLATION": "chroot"}

# In order: nothing escapes to the host's mounts, the layers become a mount that can be made
# read-only, what a runtime mounts is mounted, and the privileges go with the user.
START = """
set -e
mount --make-rprivate /
mount --bind "$ROOTFS" "$ROOTFS"
mount --bind "$CONFIG" "$ROOTFS/etc/sluice"
mount -o remount,bind,ro "$ROOTFS/etc/sluice"
mount -t proc proc "$ROOTFS/proc"
mount -o remount,bind,ro "$ROOTFS"
cd /
exec setpriv --no-new-privs --inh-caps=-all chroot --userspec="$USERSPEC" --groups= "$ROOTFS" "$@"
"""


def buildah(*arguments):
    command = ["buildah", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def build(binary):
    """Builds the runtime stage alone, out of a context that has the binary and nothing else."""
    with tempfile.TemporaryDirectory() as context:
        for name in ("Dockerfile", ".dockerignore"):
            shutil.copy(ROOT / name, context)
        dist = Path(context, "dist")
        dist.mkdir()
        shutil.copy(binary, dist / "sluice")
        shutil.copy(CA_CERTIFICATES, dist / "ca-certificates.crt")
        arguments = ["--pull-never", "--format", "docker", "--target", "prebuilt"]
        buildah("build", *arguments, "-t", IMAGE, context)
    return json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]


@contextlib.contextmanager
def mounted():
    """The image's file system, at a path."""
    working = buildah("from", "--pull-never", IMAGE)
    try:
        yield Path(buildah("mount", working))
    finally:
        buildah("umount", working)
        buildah("rm", working)


def command(image, rootfs, config, arguments, environment=None):
    """What to start, and with which environment, for the image's entry point with arguments."""
    for mountpoint in ("proc", "etc/sluice"):
        Path(rootfs, mountpoint).mkdir(parents=True, exist_ok=True)
    settings = image["config"]
    inside = settings["Entrypoint"] + (arguments or settings["Cmd"])
    assignments = dict(e.split("=", 1) for e in settings["Env"]) | (environment or {})
    # `env` of the host cannot run after chroot: the variables are set before it.
    outer = {"ROOTFS": str(rootfs), "CONFIG": str(config), "USERSPEC": settings["User"]}
    tools = {"PATH": f"{os.environ['PATH']}:{assignments['PATH']}"}
    isolate = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    return isolate + ["sh", "-c", START, "sh", *inside], assignments | outer | tools
