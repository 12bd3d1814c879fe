"""The gateway of the local cluster: the chart's values for it, and what it needs there."""

from __future__ import annotations

from typing import Any

from dev.cluster.s3 import OPENAI_BUCKET, S3Endpoint
from dev.demo.data import MODEL_PREFIX
from dev.demo.run import FILES_SECRET, s3_credentials

MODEL = "gpt-4o-mini-2024-07-18"
"""What clients call the demo's model."""

_SECRET = "gateway-s3"
_RESOURCES = {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "6Gi"}}


def surroundings(namespace: str) -> list[dict[str, Any]]:
    """Return the namespace of the release, and in it the Secret with the keys of the bucket."""
    metadata = {"name": _SECRET, "namespace": namespace}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": s3_credentials()},
    ]


def values() -> dict[str, Any]:
    """Return the values below ``gateway``: two small pods, and jobs on CPU."""
    endpoint = S3Endpoint()
    return {
        "enabled": True,
        "models": {MODEL: f"s3://{MODEL_PREFIX}"},
        "spec": {
            "model": {"credentials": {"secretName": FILES_SECRET}},
            "training": {"gpusPerNode": 0, "resources": _RESOURCES},
            "serving": {
                "resources": _RESOURCES,
                "engineArgs": {"max-model-len": "1024", "max-num-seqs": "16"},
            },
            "storage": {"size": "5Gi"},
        },
        "storage": {
            "bucket": OPENAI_BUCKET,
            "endpoint": endpoint.url,
            "region": endpoint.region,
            "credentialsSecret": _SECRET,
        },
        "jobCredentialsSecret": FILES_SECRET,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    }
