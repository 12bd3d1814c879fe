"""Service ``<name>``: the public OpenAI-compatible endpoint, port 80 of the servers' port 8000."""

from __future__ import annotations

from ..api.v1alpha1 import FineTuneJob
from ..facts.views import Manifest
from ..vocabulary.names import LABEL_JOB, LABEL_ROLE, PORT_HTTP, ROLE_SERVING, SERVE, Names
from .common import labels, metadata


def build_service(job: FineTuneJob) -> Manifest:
    """Build the Service."""
    own = labels(job, component=SERVE, stage=SERVE, role=ROLE_SERVING)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(job, Names(job.metadata.name).server(ROLE_SERVING), own),
        "spec": {
            "type": "ClusterIP",
            "selector": {LABEL_JOB: job.metadata.name, LABEL_ROLE: ROLE_SERVING},
            "ports": [{"name": PORT_HTTP, "port": 80, "protocol": "TCP", "targetPort": PORT_HTTP}],
        },
    }
