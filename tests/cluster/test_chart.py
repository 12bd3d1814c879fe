"""The installed chart as a person meets it: the command that the documentation gives proves that it works."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dev.deploy import NAMESPACE, RELEASE
from dev.kubectl import Kubectl
from tests.cluster.conftest import Cluster, until

pytestmark = pytest.mark.cluster


def hooks(kubectl: Kubectl) -> list[dict[str, Any]]:
    return list(json.loads(kubectl.run_helm("status", RELEASE, "-n", NAMESPACE, "-o", "json"))["hooks"])


def test_helm_test_succeeds_and_leaves_no_pod(cluster: Cluster) -> None:
    kubectl = cluster.kubectl
    [hook] = hooks(kubectl)
    try:
        kubectl.run_helm("test", RELEASE, "-n", NAMESPACE)
        [ran] = hooks(kubectl)
        assert ran["last_run"]["phase"] == "Succeeded"
        assert ran["last_run"]["started_at"] != hook["last_run"]["started_at"]
        until(
            lambda: kubectl.find("pod", hook["name"], "-n", NAMESPACE) is None, "the hook's pod to be deleted"
        )
    finally:  # a hook that failed keeps its pod, for its log
        kubectl("delete", "pod", hook["name"], "-n", NAMESPACE, "--ignore-not-found")
