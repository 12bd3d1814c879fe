"""A model from the hub, on the real cluster: the real client against a server that speaks the hub's API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.network import NODE_ADDRESS
from dev.kubectl import condition
from tests.cluster.conftest import Cluster, tiny_job
from tests.support.hub_server import TOKEN, HubServer, files_of, hub_server
from tests.support.tiny_model import make_tiny_model

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """The hub, where pods reach it."""
    with hub_server(NODE_ADDRESS) as hub:
        yield hub


@pytest.fixture
def model(tmp_path: Path) -> dict[str, bytes]:
    """The files of a repository."""
    return files_of(make_tiny_model(tmp_path / "model"))


def _job(namespace: str, name: str, hub: HubServer) -> dict[str, Any]:
    job = tiny_job(namespace, name, "hf://acme/tiny", maxSteps=2)
    job["spec"]["model"] = {"uri": "hf://acme/tiny", "credentials": {"secretName": "hf-token"}}
    job["spec"]["podTemplate"] = {"env": [{"name": "HF_ENDPOINT", "value": hub.endpoint}]}
    return job


def _secret(namespace: str) -> dict[str, Any]:
    metadata = {"name": "hf-token", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"HF_TOKEN": TOKEN}}


def test_a_gated_model_is_named_and_trains_when_its_terms_are_accepted(
    cluster: Cluster, namespace: str, hub: HubServer, model: dict[str, bytes]
) -> None:
    commit = hub.add("model", "acme/tiny", model, gated=True)
    job = _job(namespace, "gated", hub)
    cluster.kubectl.apply(_secret(namespace), job)
    stalled = condition(cluster.wait(namespace, "gated", "Stalled"), "Stalled")
    assert stalled["reason"] == "ModelUnavailable"
    assert "accept its terms" in stalled["message"]
    assert TOKEN not in cluster.kubectl("describe", "ftj", "gated", "-n", namespace)

    hub.repos["model", "acme/tiny"].gated = False
    cluster.kubectl("delete", "ftj", "gated", "-n", namespace, "--wait")
    cluster.kubectl.apply(job)
    status = cluster.wait(namespace, "gated", "Trained")["status"]
    assert status["model"]["revision"] == commit


def test_a_branch_that_moved_is_pinned_anew_and_trained_again(
    cluster: Cluster, namespace: str, hub: HubServer, model: dict[str, bytes]
) -> None:
    before = hub.add("model", "acme/tiny", model, private=True)
    job = _job(namespace, "moved", hub)
    cluster.kubectl.apply(_secret(namespace), job)
    status = cluster.wait(namespace, "moved", "Trained")["status"]
    assert status["model"]["revision"] == before

    after = hub.add("model", "acme/tiny", {**model, "README.md": b"a new version"})
    cluster.kubectl("delete", "ftj", "moved", "-n", namespace, "--wait")
    cluster.kubectl.apply(job)
    status = cluster.wait(namespace, "moved", "Trained")["status"]
    assert status["model"]["revision"] == after != before
    assert condition({"status": status}, "Trained")["reason"] == "Completed"
    assert [attempt["outcome"] for attempt in status["attempts"]] == ["Succeeded"]
