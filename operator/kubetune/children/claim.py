"""PersistentVolumeClaim ``<name>-output``: models, prepared data, checkpoints and artifacts.

With whenDeleted Retain it has no owner reference and outlives the job; a job of the same name adopts it.
"""

from __future__ import annotations

from ..api.v1alpha1 import FineTuneJob
from ..facts.views import Manifest
from ..spec.settings import JobSettings
from ..vocabulary.names import Names
from .common import Item, labels, metadata


def build_claim(job: FineTuneJob, settings: JobSettings) -> Manifest:
    """Build the claim; shared between nodes only where several pods need it at a time."""
    storage = job.spec.storage
    spec: Item = {
        "accessModes": ["ReadWriteMany" if needs_sharing(job) else "ReadWriteOnce"],
        "resources": {"requests": {"storage": (storage and storage.size) or settings.storage_size}},
    }
    storage_class = (storage and storage.storage_class_name) or settings.storage_class_name
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    owned = storage is not None and storage.when_deleted == "Delete"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(
            job, Names(job.metadata.name).output, labels(job, component="storage"), owned=owned
        ),
        "spec": spec,
    }


def needs_sharing(job: FineTuneJob) -> bool:
    """Whether pods on several nodes need the output volume at a time."""
    serving = job.spec.serving
    return job.spec.trains.nodes > 1 or (serving is not None and (serving.replicas or 1) > 1)
