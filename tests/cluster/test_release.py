"""A release is installed from its folder alone, and trains, while no registry answers."""

from __future__ import annotations

import shutil
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
from dev.images.build import ensure_images
from dev.kubectl import Kubectl
from dev.release.run import Options, release
from dev.session import install_locally
from tests.cluster.conftest import Cluster, tiny_job, until

# Alone: meanwhile there is no registry, and the operator is the release's.
pytestmark = [pytest.mark.cluster, pytest.mark.disruptive, pytest.mark.timeout(1800)]

OURS = "docker.io/kubetune/"
"""How the node names the images of this release, and no other: the cluster's own come from its registry."""


@pytest.fixture(scope="module")
def folder(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A release whose images no registry offers under the names that it has."""
    out = tmp_path_factory.mktemp("release") / "dist"
    release(Options(out=out, pushed_to=ensure_registry(), registry="", archives=["operator", "trainer"]))
    yield out
    shutil.rmtree(out)  # gigabytes, which pytest would keep for three runs


def test_its_checksums_hold_and_its_bills_are_valid(folder: Path) -> None:
    shell.output(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder)
    bills = sorted((folder / "sbom").iterdir())
    assert [bill.name for bill in bills] == [
        f"{name}.cdx.json" for name in ("chart", "gateway", "operator", "serving-cpu", "trainer")
    ]
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert [validator.validate_str(bill.read_text()) for bill in bills] == [None] * len(bills)


def test_a_cluster_that_reaches_no_registry_trains_from_the_archives(
    cluster: Cluster, namespace: str, tiny_uri: str, folder: Path, tmp_path: Path
) -> None:
    kubectl = cluster.kubectl
    node = Containerd(paths.cluster_state(), binaries=binaries.locate())
    chosen = yaml.safe_load((folder / "values.yaml").read_text())
    [package] = folder.glob("kubetune-*.tgz")

    with the_operator_restored(kubectl), without_registry(), images_forgotten(node):
        kubectl.run_helm(
            *("upgrade", "--install", deploy.RELEASE, package, "--namespace", deploy.NAMESPACE),
            *("--values", folder / "values.yaml", "--reset-values"),
        )
        until(lambda: waiting(kubectl).endswith(("ErrImagePull", "BackOff")), "a failed pull")
        for archive in sorted((folder / "images").iterdir()):
            node.import_archive(archive)
        # However long the kubelet waits until it looks again: a new pod looks at once.
        kubectl("delete", "pods", "--all", "--namespace", deploy.NAMESPACE)
        operator = f"kubetune/operator@{chosen['image']['digest']}"
        until(lambda: ready(kubectl) and images(kubectl, deploy.NAMESPACE) == {operator}, "the operator")

        kubectl.apply(tiny_job(namespace, "inside", tiny_uri, maxSteps=3))
        cluster.wait(namespace, "inside", "Trained")
        trainer = f"kubetune/trainer@{chosen['settings']['trainerImage']['digest']}"
        assert images(kubectl, namespace) == {trainer}
        kubectl("delete", "finetunejobs", "--all", "--namespace", namespace)


@contextmanager
def without_registry() -> Iterator[None]:
    """Stop the local registry in the block."""
    processes.stop(paths.cluster_state(), "registry")
    try:
        yield
    finally:
        ensure_registry()


@contextmanager
def the_operator_restored(kubectl: Kubectl) -> Iterator[None]:
    """Have the checkout's operator and gateway back at the end, from the registry."""
    try:
        yield
    finally:
        install_locally(kubectl, ensure_images(registry=ensure_registry()))


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


def waiting(kubectl: Kubectl) -> str:
    """Why a container of an operator waits; empty when none does."""
    found = pods(kubectl, deploy.NAMESPACE)
    statuses = [each for pod in found for each in pod["status"].get("containerStatuses", ())]
    reasons = [status["state"].get("waiting", {}).get("reason", "") for status in statuses]
    return next(filter(None, reasons), "")


def ready(kubectl: Kubectl) -> bool:
    """Tell whether the operator of the newest make is there, and no other."""
    status = kubectl.get("deployment", deploy.RELEASE, "--namespace", deploy.NAMESPACE)["status"]
    return bool(status.get("readyReplicas") == status.get("updatedReplicas") == status.get("replicas") == 1)
