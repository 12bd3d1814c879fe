"""A real API server takes install.yaml at once, and again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dev.cluster.binaries import ensure_binaries
from dev.cluster.control_plane import ControlPlane
from dev.kubectl import Kubectl
from dev.release.manifests import default_serving_image, install_manifest, values
from dev.release.published import Published
from dev.release.sbom import Outside
from tests.support import chart

pytestmark = pytest.mark.apiserver

IMAGES = [
    Published(
        name=name,
        source=f"127.0.0.1:5000/kubetune/{name}:t1",
        repository=f"kubetune/{name}",
        registry="",
        tag="t1",
        digest=f"sha256:{index:064x}",
    )
    for index, name in enumerate(("operator", "trainer", "serving-cpu", "gateway"))
]


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    programs = ensure_binaries()
    with ControlPlane.temporary() as plane:
        yield Kubectl(
            program=programs.program("kubectl"), helm=programs.program("helm"), kubeconfig=plane.kubeconfig
        )


def test_one_apply_installs_everything_and_a_second_changes_nothing(kubectl: Kubectl, tmp_path: Path) -> None:
    named = default_serving_image()
    serving = Outside(repository=named["repository"], tag=named["tag"], digest="")
    manifest = tmp_path / "install.yaml"
    manifest.write_text(install_manifest(values(IMAGES, serving)))

    kubectl("apply", "--server-side", "-f", manifest)

    applied = [(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(manifest.read_text())]
    there = kubectl("get", "-f", str(manifest), "-o", "name").splitlines()
    assert len(there) == len(applied) > 5
    assert kubectl("get", "finetunejobs", "-A", "-o", "name") == ""
    before = versions(kubectl, manifest)
    kubectl("apply", "--server-side", "-f", manifest)
    assert versions(kubectl, manifest) == before
    # The operator's account is the manifest's own, bound to its rights.
    account = f"system:serviceaccount:{chart.NAMESPACE}:kubetune"
    assert kubectl("auth", "can-i", "create", "jobs.batch", "-n", "default", "--as", account).strip() == "yes"


def versions(kubectl: Kubectl, manifest: Path) -> dict[str, str]:
    """The generation of each object, by name: it counts changes of what was asked for."""
    items = kubectl.get("-f", str(manifest))["items"]
    return {
        f"{item['kind']}/{item['metadata']['name']}": str(item["metadata"].get("generation"))
        for item in items
    }
