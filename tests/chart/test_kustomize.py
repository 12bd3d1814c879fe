"""kustomize/ built by the real kubectl is the chart, whatever namespace and images an overlay says."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import kustomize, shell
from dev.cluster.binaries import ensure_binaries
from dev.cluster.control_plane import ControlPlane
from dev.kubectl import Kubectl
from dev.paths import REPOSITORY
from tests.support import chart

pytestmark = pytest.mark.apiserver

DIGEST = "sha256:" + "7" * 64
TEAM = "team-ml"
OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by")
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
MIRROR = "registry.example.com/ml/kubetune"
IMAGES: list[dict[str, str]] = [
    {"name": "kubetune/operator", "newName": f"{MIRROR}/operator", "newTag": "t1"},
    {"name": "kubetune/trainer", "newName": f"{MIRROR}/trainer", "digest": DIGEST},
    {"name": "kubetune/serving-cpu", "newName": f"{MIRROR}/serving-cpu", "newTag": "t3"},
    {"name": "docker.io/vllm/vllm-openai", "newName": "registry.example.com/vllm", "newTag": "v1"},
]
VALUES: dict[str, Any] = {
    "imageRegistry": "registry.example.com/ml",
    "image": {"tag": "t1"},
    "settings": {
        "trainerImage": {"digest": DIGEST},
        "servingCpuImage": {"tag": "t3"},
        "servingImage": {"repository": "registry.example.com/vllm", "tag": "v1"},
    },
}
"""The same for the chart."""


@pytest.fixture(scope="module")
def program() -> Path:
    return ensure_binaries().program("kubectl")


def build(program: Path, folder: Path) -> list[dict[str, Any]]:
    return [*yaml.load_all(shell.output([program, "kustomize", folder]), yaml.CSafeLoader)]


def overlay(folder: Path, **fields: Any) -> Path:
    folder.mkdir(exist_ok=True)
    base = os.path.relpath(kustomize.BASE, folder.resolve())
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [base], **fields}))
    return folder


def of_chart(values: dict[str, Any], *, namespace: str) -> list[dict[str, Any]]:
    """The chart's objects as kustomize has them: nothing of Helm's, the settings' name left to kustomize."""
    objects = [
        item
        for item in chart.render({**values, "crds": {"keep": False}}, namespace=namespace)
        if "helm.sh/hook" not in item["metadata"].get("annotations", {})
    ]
    for item in objects:
        without_helms_labels(item["metadata"])
        if item["kind"] == "Deployment":
            without_helms_labels(item["spec"]["template"]["metadata"])
            del item["spec"]["template"]["metadata"]["annotations"]
    return sorted(objects, key=identity)


def of_kustomize(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    objects = copy.deepcopy(objects)
    [settings] = (item for item in objects if item["kind"] == "ConfigMap")
    named = settings["metadata"]["name"]
    settings["metadata"]["name"] = "kubetune-settings"
    for item in objects:
        if item["kind"] in POLICIES:
            # kustomize does not know that they are the cluster's; the API server passes over it.
            del item["metadata"]["namespace"]
        if item["kind"] == "Deployment":
            reference = item["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]
            assert reference["name"] == named
            reference["name"] = "kubetune-settings"
    return sorted(objects, key=identity)


def without_helms_labels(metadata: dict[str, Any]) -> None:
    for label in OF_HELM:
        metadata.get("labels", {}).pop(label, None)


def identity(item: dict[str, Any]) -> tuple[str, str]:
    return item["kind"], item["metadata"]["name"]


def test_it_is_the_chart_in_its_usual_namespace(program: Path) -> None:
    built = build(program, REPOSITORY / "kustomize")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": chart.NAMESPACE}}
    assert namespace in built
    built.remove(namespace)
    assert of_kustomize(built) == of_chart({}, namespace=chart.NAMESPACE)


def test_an_overlay_changes_namespace_and_images_everywhere(program: Path, tmp_path: Path) -> None:
    built = build(program, overlay(tmp_path / "mine", namespace=TEAM, images=IMAGES))
    assert of_kustomize(built) == of_chart(VALUES, namespace=TEAM)


def test_an_overlay_of_an_overlay_has_the_last_word(program: Path, tmp_path: Path) -> None:
    overlay(tmp_path / "one", namespace="another", images=[{**IMAGES[1], "digest": "sha256:" + "0" * 64}])
    two = tmp_path / "two"
    two.mkdir()
    images = [{**IMAGES[1], "name": IMAGES[1]["newName"]}, *IMAGES[:1], *IMAGES[2:]]
    fields = {"resources": ["../one"], "namespace": TEAM, "images": images}
    (two / "kustomization.yaml").write_text(yaml.safe_dump(fields))
    assert of_kustomize(build(program, two)) == of_chart(VALUES, namespace=TEAM)


def test_a_setting_is_merged_and_restarts_the_operator(program: Path, tmp_path: Path) -> None:
    plain = build(program, overlay(tmp_path / "plain", namespace=TEAM))
    merged = {"name": "kubetune-settings", "behavior": "merge", "literals": ["KUBETUNE_LOG_LEVEL=DEBUG"]}
    changed = build(program, overlay(tmp_path / "mine", namespace=TEAM, configMapGenerator=[merged]))
    assert of_kustomize(changed) == of_chart({"settings": {"logLevel": "DEBUG"}}, namespace=TEAM)
    names = [
        {item["metadata"]["name"] for item in made if item["kind"] == "ConfigMap"}
        for made in (plain, changed)
    ]
    assert names[0] != names[1]


def test_a_prefix_is_in_the_name_that_policies_know_the_operator_by(program: Path, tmp_path: Path) -> None:
    built = build(program, overlay(tmp_path / "mine", namespace=TEAM, namePrefix="nlp-"))
    [policy] = (item for item in built if identity(item) == (POLICIES[0], "nlp-kubetune-operator"))
    assert policy["spec"]["matchConditions"] == [
        {
            "name": "the-operator",
            "expression": f"request.userInfo.username == 'system:serviceaccount:{TEAM}:nlp-kubetune'",
        }
    ]
    bindings = {item["spec"]["policyName"] for item in built if item["kind"] == POLICIES[1]}
    assert bindings == {item["metadata"]["name"] for item in built if item["kind"] == POLICIES[0]}


def test_without_a_namespace_nothing_is_built(program: Path) -> None:
    with pytest.raises(shell.CommandError, match=r"KUBETUNE_NAMESPACE.*metadata\.namespace.*not found"):
        build(program, kustomize.BASE)


def test_the_overlay_that_the_page_shows_builds(program: Path, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "how-to" / "install-with-kustomize.md").read_text()
    [shown] = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    fields = yaml.safe_load(shown)
    assert fields.pop("resources")[0].partition("//kustomize/")[2].startswith("base?ref=")
    built = build(program, overlay(tmp_path / "mine", **fields))
    [settings] = (item["data"] for item in built if item["kind"] == "ConfigMap")
    named = {image["newName"] for image in fields["images"] if "newName" in image}
    found = [
        item["spec"]["template"]["spec"]["containers"][0]["image"]
        for item in built
        if item["kind"] == "Deployment"
    ]
    found += [settings["KUBETUNE_TRAINER_IMAGE"], settings["KUBETUNE_SERVING_CPU_IMAGE"]]
    assert {image.rpartition(":")[0] for image in found} == named
    assert settings["KUBETUNE_LEASE_NAMESPACE"] == fields["namespace"]
    assert settings.keys() == chart.variables().keys()


@pytest.fixture
def kubectl() -> Iterator[Kubectl]:
    programs = ensure_binaries()
    with ControlPlane.temporary() as plane:
        yield Kubectl(
            program=programs.program("kubectl"), helm=programs.program("helm"), kubeconfig=plane.kubeconfig
        )


@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=["client", "server"])
def test_an_api_server_takes_it_at_once_and_again(kubectl: Kubectl, how: tuple[str, ...]) -> None:
    folder = REPOSITORY / "kustomize"
    kubectl("apply", *how, "-k", folder)
    before = generations(kubectl, folder)
    kubectl("apply", *how, "-k", folder)
    assert generations(kubectl, folder) == before
    assert len(before) > 10
    policies = kubectl.get("validatingadmissionpolicies,validatingadmissionpolicybindings")["items"]
    assert {identity(item): item["metadata"].get("namespace") for item in policies} == {
        (kind, f"kubetune-{name}"): None for kind in POLICIES for name in ("operator", "labels")
    }
    account = f"system:serviceaccount:{chart.NAMESPACE}:kubetune"
    assert kubectl("auth", "can-i", "create", "jobs.batch", "-n", "default", "--as", account).strip() == "yes"


def generations(kubectl: Kubectl, folder: Path) -> dict[tuple[str, str], Any]:
    """They count changes of what was asked for."""
    items = kubectl.get("-k", str(folder))["items"]
    return {identity(item): item["metadata"].get("generation") for item in items}
