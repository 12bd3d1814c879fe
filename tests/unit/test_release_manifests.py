"""What a release is installed from: it names all images by digest, and one `kubectl apply` is enough."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from dev.image_values import place
from dev.release.manifests import chart_version, install_manifest, package_chart, values, values_text
from dev.release.published import Published
from dev.release.sbom import Outside
from tests.support import chart

REGISTRY = "registry.example.com/ml"
NAMES = ("operator", "trainer", "serving-cpu", "gateway")
DIGESTS = {name: f"sha256:{index:064x}" for index, name in enumerate(NAMES)}
VLLM = Outside(repository="docker.io/vllm/vllm-openai", tag="v0.32.0", digest=f"sha256:{9:064x}")


def images(registry: str) -> list[Published]:
    return [
        Published(
            name=name,
            source=f"{REGISTRY}/kubetune/{name}:t1",
            repository=f"kubetune/{name}",
            registry=registry,
            tag="t1",
            digest=digest,
        )
        for name, digest in DIGESTS.items()
    ]


@pytest.mark.parametrize("registry", [REGISTRY, ""])
def test_the_values_name_every_image_by_digest(registry: str) -> None:
    chosen = yaml.safe_load(values_text(images(registry), VLLM, version="1.0"))
    assert chosen == values(images(registry), VLLM)
    prefix = f"{registry}/" if registry else ""
    place(chosen, "gateway.enabled", True)
    place(chosen, "gateway.storage.bucket", "clients")
    objects = chart.render(chosen)
    operator, gateway = (
        [container["image"] for container in deployment["spec"]["template"]["spec"]["containers"]]
        for deployment in (chart.find(objects, "Deployment", f"kubetune{part}") for part in ("", "-gateway"))
    )
    variables = chart.variables(chosen)
    assert {
        "operator": operator,
        "gateway": gateway,
        **{key: variables[key] for key in variables if key.endswith("_IMAGE")},
    } == {
        "operator": [f"{prefix}kubetune/operator@{DIGESTS['operator']}"],
        "gateway": [f"{prefix}kubetune/gateway@{DIGESTS['gateway']}"],
        "KUBETUNE_TRAINER_IMAGE": f"{prefix}kubetune/trainer@{DIGESTS['trainer']}",
        "KUBETUNE_SERVING_CPU_IMAGE": f"{prefix}kubetune/serving-cpu@{DIGESTS['serving-cpu']}",
        "KUBETUNE_SERVING_IMAGE": f"docker.io/vllm/vllm-openai@{VLLM.digest}",
    }


def test_values_say_which_image_has_no_digest_and_how_to_pin_it() -> None:
    unknown = Outside(repository=VLLM.repository, tag=VLLM.tag, digest="")
    text = values_text(images(""), unknown, version="1.0")
    assert chart.variables(yaml.safe_load(text))["KUBETUNE_SERVING_IMAGE"] == f"{VLLM.repository}:v0.32.0"
    assert "skopeo inspect --format '{{.Digest}}' docker://docker.io/vllm/vllm-openai:v0.32.0\n" in text
    assert "no digest" not in values_text(images(""), VLLM, version="1.0")


@pytest.mark.slow
def test_the_manifest_has_all_objects_of_the_chart_but_its_tests() -> None:
    chosen = values(images(REGISTRY), VLLM)
    wanted = [item for item in chart.render(chosen) if not is_hook(item)]
    found = list(yaml.safe_load_all(install_manifest(chosen)))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": chart.NAMESPACE}}
    assert found[0] == namespace
    assert sorted(found[1:], key=identity) == sorted(wanted, key=identity)
    assert found[1]["kind"] == "CustomResourceDefinition"


@pytest.mark.slow
def test_every_object_of_the_manifest_says_its_namespace() -> None:
    """kubectl would put it into whatever namespace the person works in."""
    whole = ("Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding")
    whole += ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    found = list(yaml.safe_load_all(install_manifest(values(images(REGISTRY), VLLM))))
    assert {item["metadata"].get("namespace") for item in found if item["kind"] not in whole} == {
        chart.NAMESPACE
    }


def test_the_package_is_the_same_at_any_time_and_holds_the_chart(tmp_path: Path) -> None:
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made.append(package_chart(tmp_path / name, epoch=1_700_000_000))
    assert made[0].name == f"kubetune-{chart_version()}.tgz"
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in made}) == 1
    with tarfile.open(made[0]) as archive:
        assert {member.mtime for member in archive} == {1_700_000_000}
    with helm_python.Chart.load_archive(made[0].read_bytes()) as loaded:
        rendered = loaded.render({}, name=chart.RELEASE, namespace=chart.NAMESPACE)
    assert {path.removeprefix("kubetune/"): text for path, text in rendered.items()} == {
        **chart.render_files(),
        "templates/NOTES.txt": chart.notes(),
    }


def is_hook(item: dict[str, Any]) -> bool:
    return "helm.sh/hook" in item["metadata"].get("annotations", {})


def identity(item: dict[str, Any]) -> tuple[str, ...]:
    meta = item["metadata"]
    return item["kind"], meta.get("namespace", ""), meta["name"]
