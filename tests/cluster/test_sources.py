"""Models and data from claims and ConfigMaps, on the real cluster (s3:// is the demo's)."""

from __future__ import annotations

from typing import Any

import pytest

from dev.demo.run import TRIAGE
from tests.cluster.conftest import Cluster, tiny_job

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def rows(cluster: Cluster, namespace: str) -> str:
    """A ConfigMap with the demo's rows."""
    kubectl = cluster.kubectl
    kubectl("create", "configmap", "rows", "-n", namespace, f"--from-file={TRIAGE / 'train.jsonl'}")
    return "configMap://rows/train.jsonl"


def test_a_config_map_gives_the_rows(cluster: Cluster, namespace: str, tiny_uri: str, rows: str) -> None:
    job = tiny_job(namespace, "from-config-map", tiny_uri, maxSteps=3)
    job["spec"]["dataset"] = {"train": {"uri": rows}, "validationFraction": "0.1", "maxLength": 512}
    cluster.kubectl.apply(job)
    dataset = cluster.wait(namespace, "from-config-map", "Trained")["status"]["dataset"]
    assert (dataset["trainRows"], dataset["validationRows"]) == (360, 40)


def test_a_claim_gives_model_and_rows_and_is_not_written_to(
    cluster: Cluster, namespace: str, tiny_uri: str, rows: str
) -> None:
    # An adapter's base model lies on the output volume of this job: it becomes the input claim of the next.
    first = tiny_job(namespace, "seed", tiny_uri, adapter={"type": "Full"}, maxSteps=3)
    cluster.kubectl.apply(first)
    artifact = cluster.wait(namespace, "seed", "Trained")["status"]["artifact"]
    assert artifact["type"] == "Full"

    second: dict[str, Any] = tiny_job(namespace, "from-claim", artifact["uri"], maxSteps=3)
    second["spec"]["model"] = {"uri": artifact["uri"]}
    second["spec"]["dataset"] = {"train": {"uri": rows}, "maxLength": 512}
    cluster.kubectl.apply(second)
    status = cluster.wait(namespace, "from-claim", "Trained")["status"]
    assert status["model"]["uri"] == artifact["uri"]
    assert status["artifact"]["type"] == "LoRA"
