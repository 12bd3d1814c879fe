"""Owns the kubeconfig files, and the rule which cluster commands and tests talk to."""

import base64
import json
import os
from pathlib import Path

from dev import paths
from dev.cluster.files import ensure_file

OVERRIDE = "KUBETUNE_KUBECONFIG"
_NAME = "kubetune-dev"


def write_kubeconfig(path: Path, *, server: str, authority: Path, certificate: Path, key: Path) -> Path:
    """Write a kubeconfig that needs no other file."""
    cluster = {"server": server, "certificate-authority-data": _encoded(authority)}
    user = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": _NAME, "cluster": cluster}],
        "users": [{"name": _NAME, "user": user}],
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": _NAME}}],
        "current-context": _NAME,
    }
    return ensure_file(path, json.dumps(content, indent=2) + "\n", mode=0o600)  # JSON is YAML


def admin_kubeconfig() -> Path:
    """Return the kubeconfig to use: the one a person names in KUBETUNE_KUBECONFIG, else the local cluster's.

    Plain KUBECONFIG is never read: people have it exported, and it is production.
    """
    named = os.environ.get(OVERRIDE)
    return Path(named) if named else local_kubeconfig()


def local_kubeconfig() -> Path:
    """Return the administrator's kubeconfig of the local cluster, whatever the environment names."""
    return admin_of(paths.cluster_state())


def control_plane_kubeconfig() -> Path:
    """Return the administrator's kubeconfig of the control plane that runs beside the cluster."""
    return admin_of(paths.control_plane_state())


def admin_of(root: Path) -> Path:
    """Return the administrator's kubeconfig of an instance."""
    return root / "kubeconfig" / "admin.yaml"


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
