"""Services to a job's servers, port 80 of their port 8000.

``<name>`` is the public OpenAI-compatible endpoint. ``<name>-candidate`` leads to the same pods while they
are evaluated, so that nothing restarts when they become public; ``<name>-baseline`` to the base model's.
"""

from __future__ import annotations

from ..api.v1alpha1 import FineTuneJob
from ..facts.views import Manifest
from ..vocabulary.names import LABEL_JOB, LABEL_ROLE, PORT_HTTP, ROLE_CANDIDATE, ROLE_SERVING, SERVE, Names
from .common import labels, metadata


def build_service(job: FineTuneJob, *, role: str = ROLE_SERVING) -> Manifest:
    """Build the Service of a role; by default the public one."""
    own = labels(job, component=SERVE, stage=SERVE, role=role)
    server = ROLE_SERVING if role == ROLE_CANDIDATE else role
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(job, Names(job.metadata.name).server(role), own),
        "spec": {
            "type": "ClusterIP",
            "selector": {LABEL_JOB: job.metadata.name, LABEL_ROLE: server},
            "ports": [{"name": PORT_HTTP, "port": 80, "protocol": "TCP", "targetPort": PORT_HTTP}],
        },
    }
