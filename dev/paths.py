"""Where the development tools keep things: outside the checkout, so that clones share one cluster."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def cache() -> Path:
    """Return the folder of all state and caches: `$XDG_CACHE_HOME/kubetune`, or `~/.cache/kubetune`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kubetune"


def binaries() -> Path:
    """Return the folder of built programs, one sub-folder per version."""
    return cache() / "bin"


def cluster_state() -> Path:
    """Return the state of the local cluster: gone after `down`."""
    return cache() / "cluster"


def control_plane_state() -> Path:
    """Return the state of the control plane without a node that can run beside the cluster."""
    return cache() / "control-plane"


def image_store() -> Path:
    """Return containerd's content and snapshots: kept by `down`, so that images are unpacked once."""
    return cache() / "containerd"


def build_store() -> Path:
    """Return the layers of built images: kept by `down`, so that a build does only what is new."""
    return cache() / "buildah"


def registry_data() -> Path:
    """Return the pushed images' layers: kept by `down`."""
    return cache() / "registry"


def s3_data() -> Path:
    """Return the objects of the S3 endpoint, one folder per bucket: kept by `down`."""
    return cache() / "s3"
