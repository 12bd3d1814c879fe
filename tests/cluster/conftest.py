"""One cluster for the whole session, with the chart installed, and what the tests ask of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev import paths
from dev.cluster.lock import locked
from dev.cluster.prometheus import prometheus_url
from dev.kubectl import Kubectl, condition

GENEROUS = 1200.0
"""Seconds: a bound on a wait, not a claim; other tests keep the cores busy meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The cluster under test."""

    kubectl: Kubectl
    prometheus: str
    audit_log: Path

    def job(self, namespace: str, name: str) -> dict[str, Any]:
        """Read a FineTuneJob."""
        return dict(self.kubectl.get("finetunejob", name, "-n", namespace))

    def wait(self, namespace: str, name: str, type_: str, *, reason: str | None = None) -> dict[str, Any]:
        """Wait until a condition is True, or has the given reason; returns the job."""

        def reached() -> dict[str, Any] | None:
            job = self.kubectl.find("finetunejob", name, "-n", namespace) or {}
            found = condition(job, type_)
            if (found.get("reason") == reason) if reason else (found.get("status") == "True"):
                return dict(job)
            stalled = condition(job, "Stalled")
            if stalled.get("status") == "True":
                pytest.fail(f"{namespace}/{name} stalled: {stalled}")
            return None

        return until(reached, f"{type_} {reason or 'True'} of {namespace}/{name}")

    def series(self, query: str) -> list[dict[str, Any]]:
        """Ask Prometheus."""
        reply = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": query})
        reply.raise_for_status()
        return list(reply.json()["data"]["result"])

    def operator_writes(self, namespace: str, *, since: int = 0) -> list[dict[str, Any]]:
        """Writes of the operator in a namespace, Events aside, from line ``since`` of the audit log."""
        user = "system:serviceaccount:kubetune-system:kubetune"
        return [
            entry
            for entry in map(json.loads, self.audit_log.read_text().splitlines()[since:])
            if entry["user"]["username"] == user
            and entry["verb"] in ("create", "update", "patch", "delete")
            and entry.get("objectRef", {}).get("namespace") == namespace
            and entry["objectRef"]["resource"] != "events"
        ]

    def audit_position(self) -> int:
        """Where the audit log ends now."""
        return len(self.audit_log.read_text().splitlines())


def until(look: Callable[[], Any], what: str, *, seconds: float = GENEROUS) -> Any:
    """Look until there is something; fails after a generous time."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:.0f} s for: {what}")
        time.sleep(0.5)
    return found


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of the test's timeout
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let tests that kill parts of the cluster have it for themselves; all others use it together."""
    with ExitStack() as stack:
        if item.get_closest_marker("cluster"):
            alone = item.get_closest_marker("disruptive") is not None
            with locked("turns of the tests"):  # where one waits to be alone, no other goes ahead of it
                stack.enter_context(locked("use by the tests", shared=not alone))
        return (yield)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The local cluster, whatever the environment names, with this checkout's chart; started if need be."""
    from dev.session import ensure_local_cluster

    with locked("start by the tests"):  # each of their processes comes by
        kubectl = ensure_local_cluster()
    root = paths.cluster_state()
    return Cluster(kubectl=kubectl, prometheus=prometheus_url(root), audit_log=root / "logs" / "audit.jsonl")


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of its own for a module, held to restricted pod security, with the S3 endpoint's keys."""
    from dev.demo.run import local_surroundings

    name = str(request.module.__name__).rpartition(".")[2].replace("_", "-")
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait")
    cluster.kubectl.apply(*local_surroundings(name))
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def tiny_uri(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny random model in the bucket ``models``: for tests that are not about what is learned."""
    from dev.cluster.s3 import S3Endpoint
    from dev.demo.data import upload
    from tests.support.tiny_model import make_tiny_model

    upload(S3Endpoint(), make_tiny_model(tmp_path_factory.mktemp("tiny") / "model"), "models/tiny")
    return "s3://models/tiny"


def tiny_job(namespace: str, name: str, uri: str, **training: Any) -> dict[str, Any]:
    """A FineTuneJob on the tiny model and the demo's rows, on CPU, without serving."""
    credentials = {"secretName": "s3-credentials"}
    return {
        "apiVersion": "kubetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"uri": uri, "credentials": credentials},
            "dataset": {
                "train": {"uri": "s3://datasets/triage/train.jsonl", "credentials": credentials},
                "maxLength": 512,  # one byte is one token to the tiny model
            },
            "training": {
                "gpusPerNode": 0,
                "batchSize": 8,
                "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}},
                **training,
            },
            "storage": {"size": "1Gi"},
        },
    }
