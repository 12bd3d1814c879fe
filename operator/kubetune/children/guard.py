"""ConfigMap ``<server>-guard-<digest>``: the guard's source, which a server's pods mount.

Mounted rather than built in, so that it stands in front of any serving image. Named by its content and
immutable: a pod that started with one guard starts again with the same.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from kubetune_trainer.contract.config import digest_of

from ..api.v1alpha1 import FineTuneJob
from ..facts.views import Manifest
from ..vocabulary.names import SERVE, Names
from .common import labels, metadata

PACKAGE: Final = "kubetune_guard"
MIDDLEWARE: Final = f"{PACKAGE}.middleware.Guard"
MOUNT: Final = "/etc/kubetune/guard"
"""On PYTHONPATH; the package is in it."""

SOURCES: Final = {
    file.name: file.read_text(encoding="utf-8")
    for file in sorted(files(PACKAGE).iterdir(), key=lambda file: file.name)
    if file.name.endswith(".py")
}
DIGEST: Final = digest_of(SOURCES)


def build_guard(job: FineTuneJob, *, role: str) -> Manifest:
    """Build the ConfigMap."""
    name = Names(job.metadata.name).guard(role, DIGEST)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(job, name, labels(job, component=SERVE, stage=SERVE, role=role)),
        "immutable": True,
        "data": SOURCES,
    }
