"""Service ``<name>``: the public OpenAI-compatible endpoint, port 80 of the servers' port 8000."""

from __future__ import annotations

from ..api.v1alpha1 import FineTuneJob
from ..facts.views import Manifest
from ..vocabulary.names import LABEL_JOB, LABEL_STAGE, PORT_HTTP, Names
from .common import labels, metadata


def build_service(job: FineTuneJob) -> Manifest:
    """Build the Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(
            job, Names(job.metadata.name).serving, labels(job, component="serve", stage="serve")
        ),
        "spec": {
            "type": "ClusterIP",
            "selector": {LABEL_JOB: job.metadata.name, LABEL_STAGE: "serve"},
            "ports": [{"name": PORT_HTTP, "port": 80, "protocol": "TCP", "targetPort": PORT_HTTP}],
        },
    }
