"""A release is installed from its folder alone: no registry has its images, but archives do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import paths
from dev.cluster import binaries
from dev.cluster.containerd import Containerd
from dev.cluster.registry import ensure_registry
from dev.kubectl import Kubectl
from dev.release.run import Options, release
from tests.cluster.conftest import Cluster, until

pytestmark = pytest.mark.cluster

NAME = "without-registry"
"""Of the release and its namespace, beside the release that other tests use."""

BESIDE = {
    # What a further release of a cluster has to say: docs/how-to/install-on-a-gpu-cluster.md.
    "settings": {"watchNamespaces": [NAME]},
    "crds": {"enabled": False},
    "rbac": {"aggregate": False},
}


@pytest.fixture(scope="module")
def folder(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release whose images no registry offers under the names that it has."""
    out = tmp_path_factory.mktemp("release") / "dist"
    release(Options(out=out, pushed_to=ensure_registry(), registry="", archives=["operator"]))
    return out


@pytest.fixture
def kubectl(cluster: Cluster) -> Iterator[Kubectl]:
    yield cluster.kubectl
    cluster.kubectl.run_helm("uninstall", NAME, "--namespace", NAME, "--ignore-not-found")
    cluster.kubectl("delete", "namespace", NAME, "--ignore-not-found", "--wait=false")


def test_a_cluster_without_a_registry_runs_the_operator_from_the_archives(
    kubectl: Kubectl, folder: Path, tmp_path: Path
) -> None:
    node = Containerd(paths.cluster_state(), binaries=binaries.locate())
    digest = yaml.safe_load((folder / "values.yaml").read_text())["image"]["digest"]
    names = [name for name in node.image_names() if name.startswith("docker.io/kubetune/operator")]
    node.remove_images(names)  # of an earlier run
    mine = tmp_path / "mine.yaml"
    mine.write_text(json.dumps(BESIDE))
    [package] = folder.glob("kubetune-*.tgz")

    kubectl.run_helm(
        *("upgrade", "--install", NAME, package, "--namespace", NAME, "--create-namespace"),
        *("--values", folder / "values.yaml", "--values", mine),
    )
    until(lambda: waiting(kubectl) in ("ErrImagePull", "ImagePullBackOff"), "the pull to fail")

    node.import_archive(folder / "images" / "operator.tar")
    try:
        # Whatever the kubelet waits for by now: a new pod finds the image at once.
        kubectl("delete", "pods", "--all", "--namespace", NAME)
        until(lambda: ready(kubectl), "the operator to be ready")
        [pod] = pods(kubectl)
        [container] = pod["spec"]["containers"]
        assert container["image"] == f"kubetune/operator@{digest}"
    finally:
        kubectl.run_helm("uninstall", NAME, "--namespace", NAME, "--wait")
        node.remove_images([n for n in node.image_names() if n.startswith("docker.io/kubetune/operator")])


def pods(kubectl: Kubectl) -> list[dict[str, Any]]:
    return list(kubectl.get("pods", "--namespace", NAME)["items"])


def waiting(kubectl: Kubectl) -> str:
    """Why the operator's container waits; empty when it does not."""
    states = [status for pod in pods(kubectl) for status in pod["status"].get("containerStatuses", ())]
    return next((state["state"].get("waiting", {}).get("reason", "") for state in states), "")


def ready(kubectl: Kubectl) -> bool:
    [deployment] = kubectl.get("deployments", "--namespace", NAME)["items"]
    return bool(deployment["status"].get("readyReplicas"))
