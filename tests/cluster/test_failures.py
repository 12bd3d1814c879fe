"""What a person sees when something is wrong: a condition that says it, and healing where possible."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from dev.demo.data import MODEL_PREFIX
from dev.kubectl import condition
from tests.cluster.conftest import Cluster, tiny_job, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


KILL_RANK_1 = """
import os, pathlib, signal
for process in pathlib.Path("/proc").iterdir():
    if process.name.isdigit() and b"RANK=1" in (process / "environ").read_bytes().split(b"\\0"):
        os.kill(int(process.name), signal.SIGKILL)
"""


def _job(namespace: str, name: str, uri: str, *, train: str | None = None, **training: Any) -> dict[str, Any]:
    job = tiny_job(namespace, name, uri, **training)
    if train is not None:
        job["spec"]["dataset"]["train"] = {"uri": train}
    return job


def _claim(namespace: str, name: str) -> dict[str, Any]:
    """A claim for one node at a time."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def test_a_job_whose_rank_is_killed_finishes_in_two_attempts_from_a_checkpoint(
    cluster: Cluster, namespace: str, tiny_uri: str
) -> None:
    job = _job(
        *(namespace, "killed", tiny_uri),
        nodes=2,
        epochs=50,
        maxSteps=600,
        checkpoint={"everySteps": 50, "keep": 2},
    )
    cluster.kubectl.apply(job)
    selector = "batch.kubernetes.io/job-name=killed-train-1"

    def past_a_checkpoint() -> bool:
        pods = cluster.kubectl.get("pods", "-n", namespace, "-l", selector)["items"]
        rank0 = next((p for p in pods if p["metadata"]["name"].startswith("killed-train-1-0")), {})
        address = rank0.get("status", {}).get("podIP")
        try:
            progress = httpx.get(f"http://{address}:9400/progress", timeout=2).json() if address else {}
        except httpx.HTTPError:
            return False
        return bool(progress.get("last_checkpoint_step"))

    until(past_a_checkpoint, "the first checkpoint")
    pods = cluster.kubectl.get("pods", "-n", namespace, "-l", selector)["items"]
    victim = next(p["metadata"]["name"] for p in pods if "-1-1-" in p["metadata"]["name"])
    cluster.kubectl("exec", "-n", namespace, victim, "--", "python", "-c", KILL_RANK_1)

    job = cluster.wait(namespace, "killed", "Trained")
    first, second = job["status"]["attempts"]
    assert first["outcome"] == "Failed"
    assert victim in first["message"]
    assert second["outcome"] == "Succeeded"
    assert second["fromStep"] >= 50
    assert second["toStep"] == 600


def test_a_rank_that_the_kernel_kills_for_its_memory_stalls_with_what_to_change(
    cluster: Cluster, namespace: str, tiny_uri: str
) -> None:
    # Prepare needs less than this, training of the demo's model more.
    resources = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "800Mi"}}
    job = _job(namespace, "small", tiny_uri, resources=resources)
    job["spec"]["model"]["uri"] = f"s3://{MODEL_PREFIX}"
    cluster.kubectl.apply(job)
    stalled = condition(cluster.wait(namespace, "small", "Stalled"), "Stalled")
    assert stalled["reason"] == "OutOfMemory"
    assert "Raise the memory in training.resources" in stalled["message"]
    (attempt,) = cluster.job(namespace, "small")["status"]["attempts"]
    assert attempt["outcome"] == "Failed"


def test_a_prepare_that_the_kernel_kills_for_its_memory_stalls_with_what_to_change(
    cluster: Cluster, namespace: str, tiny_uri: str
) -> None:
    resources = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "150Mi"}}
    cluster.kubectl.apply(_job(namespace, "tiny", tiny_uri, resources=resources))
    stalled = condition(cluster.wait(namespace, "tiny", "Stalled"), "Stalled")
    assert stalled["reason"] == "OutOfMemory"
    assert "Raise limits.memory in training.resources" in stalled["message"]


def test_bad_rows_are_named_by_line_before_training_pods_exist(
    cluster: Cluster, namespace: str, tiny_uri: str
) -> None:
    rows = [
        json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    ] * 12
    rows[4] = '{"messages": [{"role": "user", "content": "no answer"}]}'
    rows[9] = "{broken"
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "bad", "namespace": namespace},
        "data": {"train.jsonl": "\n".join(rows)},
    }
    cluster.kubectl.apply(config, _job(namespace, "bad-data", tiny_uri, train="configMap://bad/train.jsonl"))
    stalled = condition(cluster.wait(namespace, "bad-data", "Stalled"), "Stalled")
    assert stalled["reason"] == "DataInvalid"
    for fact in ("Line 5", "Line 10", "apply it again"):
        assert fact in stalled["message"]
    assert not cluster.kubectl.get(
        "jobs", "-n", namespace, "-l", "kubetune.dev/stage=train,kubetune.dev/finetunejob=bad-data"
    )["items"]


def test_a_missing_claim_is_named_and_the_job_goes_on_when_it_appears(
    cluster: Cluster, namespace: str, tiny_uri: str
) -> None:
    job = _job(namespace, "no-claim", tiny_uri, maxSteps=2)
    job["spec"]["storage"] = {"claimName": "forgotten"}
    cluster.kubectl.apply(job)
    seen = condition(cluster.wait(namespace, "no-claim", "Prepared", reason="ClaimNotFound"), "Reconciling")
    assert "forgotten" in seen["message"]
    cluster.kubectl.apply(_claim(namespace, "forgotten"))
    cluster.wait(namespace, "no-claim", "Trained")


def test_a_claim_that_two_nodes_cannot_share_is_told(cluster: Cluster, namespace: str, tiny_uri: str) -> None:
    job = _job(namespace, "not-shared", tiny_uri, nodes=2)
    job["spec"]["storage"] = {"storageClassName": "local-rwo"}
    cluster.kubectl.apply(job)
    stalled = condition(cluster.wait(namespace, "not-shared", "Stalled"), "Stalled")
    assert stalled["reason"] == "StorageNotShared"
    assert "ReadWriteMany" in stalled["message"]


def test_an_existing_claim_for_one_node_is_told_before_pods_of_two_exist(
    cluster: Cluster, namespace: str, tiny_uri: str
) -> None:
    job = _job(namespace, "existing-claim", tiny_uri, nodes=2)
    job["spec"]["storage"] = {"claimName": "for-one"}
    cluster.kubectl.apply(_claim(namespace, "for-one"), job)
    stalled = condition(cluster.wait(namespace, "existing-claim", "Stalled"), "Stalled")
    assert stalled["reason"] == "StorageNotShared"
    assert "for-one" in stalled["message"]
    selector = "kubetune.dev/finetunejob=existing-claim"
    assert cluster.kubectl.get("pods", "-n", namespace, "-l", selector)["items"] == []


def test_a_missing_secret_is_named_and_the_job_goes_on_when_it_appears(
    cluster: Cluster, namespace: str, tiny_uri: str
) -> None:
    job = _job(namespace, "no-secret", tiny_uri, maxSteps=2)
    job["spec"]["model"]["credentials"] = {"secretName": "forgotten-keys"}
    cluster.kubectl.apply(job)
    seen = condition(cluster.wait(namespace, "no-secret", "Prepared", reason="SecretNotFound"), "Reconciling")
    assert "forgotten-keys" in seen["message"]
    secret = cluster.kubectl.get("secret", "s3-credentials", "-n", namespace)
    secret["metadata"] = {"name": "forgotten-keys", "namespace": namespace}
    cluster.kubectl.apply(secret)
    cluster.wait(namespace, "no-secret", "Trained")


def test_more_gpus_than_any_node_has_is_told_from_the_schedulers_message(
    cluster: Cluster, namespace: str, tiny_uri: str
) -> None:
    job = _job(namespace, "too-many-gpus", tiny_uri)
    job["spec"]["training"] = {"gpusPerNode": 8, "batchSize": 8}
    cluster.kubectl.apply(job)
    seen = condition(
        cluster.wait(namespace, "too-many-gpus", "Trained", reason="Unschedulable"), "Reconciling"
    )
    for fact in ("nvidia.com/gpu", "training.gpusPerNode"):
        assert fact in seen["message"]


def test_an_image_that_cannot_be_pulled_is_named(cluster: Cluster, namespace: str, tiny_uri: str) -> None:
    job = _job(namespace, "no-image", tiny_uri, image="127.0.0.1:5000/kubetune/trainer:no-such-tag")
    cluster.kubectl.apply(job)
    seen = condition(cluster.wait(namespace, "no-image", "Prepared", reason="ImagePullFailed"), "Reconciling")
    assert "no-such-tag" in seen["message"]


def test_a_foreign_object_with_a_childs_name_is_reported_and_not_touched(
    cluster: Cluster, namespace: str, tiny_uri: str
) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "taken-config", "namespace": namespace},
        "data": {"mine": "yes"},
    }
    cluster.kubectl.apply(config)
    cluster.kubectl.apply(_job(namespace, "taken", tiny_uri))
    stalled = condition(cluster.wait(namespace, "taken", "Stalled"), "Stalled")
    assert stalled["reason"] == "NameConflict"
    assert "taken-config" in stalled["message"]
    assert cluster.kubectl.get("configmap", "taken-config", "-n", namespace)["data"] == {"mine": "yes"}
