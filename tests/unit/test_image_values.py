"""The values file of `make images` installs exactly what was pushed."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from dev.image_values import Pushed, image_values, place
from dev.images.build import ImageRefs
from dev.images.values import command, write
from dev.paths import REPOSITORY
from tests.support import chart

NAMES = ("operator", "trainer", "serving-cpu", "gateway")


def pushed(registry: str) -> dict[str, str]:
    return ImageRefs(
        operator=f"{registry}/kubetune/operator:t1",
        trainer=f"{registry}/kubetune/trainer:t2",
        serving_cpu=f"{registry}/kubetune/serving-cpu:t3",
        gateway=f"{registry}/kubetune/gateway:t4",
    ).by_name


@pytest.mark.parametrize(
    "registry", ["registry.example.com/ml", "registry.example.com:5000/a/b", "127.0.0.1:5000", "quay.io"]
)
def test_the_chart_runs_what_was_pushed(tmp_path: Path, registry: str) -> None:
    references = pushed(registry)
    chosen = yaml.safe_load(write(references, path=tmp_path / "build" / "values.yaml").read_text())
    place(chosen, "gateway.enabled", True)
    place(chosen, "gateway.storage.bucket", "clients")
    objects = chart.render(chosen)
    [container], [gateway] = (
        chart.find(objects, "Deployment", f"kubetune{part}")["spec"]["template"]["spec"]["containers"]
        for part in ("", "-gateway")
    )
    variables = chart.variables(chosen)
    assert (
        container["image"],
        variables["KUBETUNE_TRAINER_IMAGE"],
        variables["KUBETUNE_SERVING_CPU_IMAGE"],
        gateway["image"],
    ) == tuple(references.values())
    assert container["imagePullPolicy"] == variables["KUBETUNE_IMAGE_PULL_POLICY"] == "IfNotPresent"


def test_the_file_is_for_people_and_editors(tmp_path: Path) -> None:
    path = write(pushed("registry.example.com/ml"), path=tmp_path / "values.yaml")
    first, *others = path.read_text().splitlines()
    schema = (tmp_path / first.removeprefix("# yaml-language-server: $schema=")).resolve()
    jsonschema.validate(yaml.safe_load(path.read_text()), yaml.safe_load(schema.read_text()))
    assert f"#   {command(path)}" in others
    assert "on this machine" not in path.read_text()


def test_the_command_names_the_file_as_seen_from_the_checkout() -> None:
    assert command(REPOSITORY / "build" / "values.yaml") == (
        "helm upgrade --install kubetune charts/kubetune -n kubetune-system --create-namespace "
        "-f build/values.yaml"
    )


def test_the_registry_of_this_machine_is_said_to_be_for_it_alone(tmp_path: Path) -> None:
    text = write(pushed("127.0.0.1:5000"), path=tmp_path / "values.yaml").read_text()
    assert "# 127.0.0.1:5000 is on this machine: only its local cluster pulls from it." in text


def test_images_that_were_not_asked_for_are_left_out_and_named(tmp_path: Path) -> None:
    path = write(pushed("quay.io"), only=["operator"], path=tmp_path / "values.yaml")
    assert yaml.safe_load(path.read_text()) == {
        "imageRegistry": "quay.io",
        "image": {"repository": "kubetune/operator", "tag": "t1"},
        "settings": {"imagePullPolicy": "IfNotPresent"},
    }
    assert "# Not asked for, and not here: gateway, serving-cpu, trainer. " in path.read_text()


def test_a_reference_is_read_from_its_end() -> None:
    assert Pushed.parse("host:5000/a/b/kubetune/operator:t1") == Pushed(
        registry="host:5000/a/b", repository="kubetune/operator", tag="t1"
    )


def test_every_image_has_a_place_among_the_values() -> None:
    assert image_values({name: {"tag": name} for name in NAMES}) == {
        "image": {"tag": "operator"},
        "settings": {"trainerImage": {"tag": "trainer"}, "servingCpuImage": {"tag": "serving-cpu"}},
        "gateway": {"image": {"tag": "gateway"}},
    }
    values = {"a": {"b": 1}}
    place(values, "a.c.d", 2)
    assert values == {"a": {"b": 1, "c": {"d": 2}}}
