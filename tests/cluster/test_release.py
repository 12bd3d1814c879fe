"""A release is installed from its folder alone, and trains, while no registry answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from dev import deploy, paths, shell
from dev.cluster import binaries, processes
from dev.cluster.containerd import Containerd
from dev.cluster.registry import ensure_registry
from dev.kubectl import Kubectl
from dev.release.run import Options, release
from tests.cluster.conftest import Cluster, tiny_job, until

# Alone: meanwhile the other operator is asleep, which would act on this job too, and so is the registry.
pytestmark = [pytest.mark.cluster, pytest.mark.disruptive, pytest.mark.timeout(1800)]

RELEASE = "released"
BESIDE = {
    # What a further release of a cluster has to say: docs/how-to/install-on-a-gpu-cluster.md.
    "crds": {"enabled": False},
    "rbac": {"aggregate": False},
}
OURS = "docker.io/kubetune/"
"""How the node names the images of this release, and no other: the cluster's own come from its registry."""


@pytest.fixture(scope="module")
def folder(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release whose images no registry offers under the names that it has."""
    out = tmp_path_factory.mktemp("release") / "dist"
    release(Options(out=out, pushed_to=ensure_registry(), registry="", archives=["operator", "trainer"]))
    return out


def test_its_checksums_hold_and_its_bills_are_valid(folder: Path) -> None:
    shell.output(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder)
    bills = sorted((folder / "sbom").iterdir())
    assert [bill.name for bill in bills] == [
        f"{name}.cdx.json" for name in ("chart", "operator", "serving-cpu", "trainer")
    ]
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert [validator.validate_str(bill.read_text()) for bill in bills] == [None] * len(bills)


def test_a_cluster_that_reaches_no_registry_trains_from_the_archives(
    cluster: Cluster, namespace: str, tiny_uri: str, folder: Path, tmp_path: Path
) -> None:
    kubectl = cluster.kubectl
    node = Containerd(paths.cluster_state(), binaries=binaries.locate())
    chosen = yaml.safe_load((folder / "values.yaml").read_text())
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({**BESIDE, "settings": {"watchNamespaces": [namespace]}}))
    [package] = folder.glob("kubetune-*.tgz")

    with without_registry(), without_the_other_operator(kubectl), images_forgotten(node):
        kubectl.run_helm(
            *("upgrade", "--install", RELEASE, package, "--namespace", namespace),
            *("--values", folder / "values.yaml", "--values", mine),
        )
        try:
            until(lambda: waiting(kubectl, namespace).endswith(("ErrImagePull", "BackOff")), "a failed pull")
            for archive in sorted((folder / "images").iterdir()):
                node.import_archive(archive)
            # However long the kubelet waits until it looks again: a new pod looks at once.
            kubectl("delete", "pods", "--all", "--namespace", namespace)
            until(lambda: ready(kubectl, namespace), "the operator to be ready")

            kubectl.apply(tiny_job(namespace, "inside", tiny_uri, maxSteps=3))
            cluster.wait(namespace, "inside", "Trained")

            assert images(kubectl, namespace) == {
                f"kubetune/operator@{chosen['image']['digest']}",
                f"kubetune/trainer@{chosen['settings']['trainerImage']['digest']}",
            }
        finally:
            kubectl("delete", "finetunejobs", "--all", "--namespace", namespace)
            kubectl.run_helm("uninstall", RELEASE, "--namespace", namespace, "--wait")


@contextmanager
def without_registry() -> Iterator[None]:
    """Stop the local registry in the block."""
    processes.stop(paths.cluster_state(), "registry")
    try:
        yield
    finally:
        ensure_registry()


@contextmanager
def without_the_other_operator(kubectl: Kubectl) -> Iterator[None]:
    """Scale the release that other tests use to nothing in the block."""
    other = ("deployment", deploy.RELEASE, "--namespace", deploy.NAMESPACE)
    kubectl("scale", *other, "--replicas=0")
    until(lambda: not kubectl.get("pods", "--namespace", deploy.NAMESPACE)["items"], "the operator to end")
    try:
        yield
    finally:
        kubectl("scale", *other, "--replicas=1")
        until(lambda: ready(kubectl, deploy.NAMESPACE), "the other operator to be ready")


@contextmanager
def images_forgotten(node: Containerd) -> Iterator[None]:
    """Begin and end without images under this release's names."""

    def forget() -> None:
        node.remove_images([name for name in node.image_names() if name.startswith(OURS)])

    forget()
    try:
        yield
    finally:
        forget()


def pods(kubectl: Kubectl, namespace: str) -> list[dict[str, Any]]:
    return list(kubectl.get("pods", "--namespace", namespace)["items"])


def images(kubectl: Kubectl, namespace: str) -> set[str]:
    found = pods(kubectl, namespace)
    return {container["image"] for pod in found for container in pod["spec"]["containers"]}


def waiting(kubectl: Kubectl, namespace: str) -> str:
    """Why a container waits; empty when none does."""
    statuses = [
        each for pod in pods(kubectl, namespace) for each in pod["status"].get("containerStatuses", ())
    ]
    reasons = [status["state"].get("waiting", {}).get("reason", "") for status in statuses]
    return next(filter(None, reasons), "")


def ready(kubectl: Kubectl, namespace: str) -> bool:
    """Tell whether an operator is ready."""
    selector = ("--selector", "app.kubernetes.io/component=operator", "--namespace", namespace)
    found = kubectl.get("deployments", *selector)["items"]
    return bool(found) and all(each["status"].get("readyReplicas") for each in found)
