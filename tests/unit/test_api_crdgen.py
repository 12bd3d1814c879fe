"""The generated CustomResourceDefinition is up to date, small, structural, bounded and documented."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from kubetune.api import crdgen
from kubetune.api.base import DECIMAL_PATTERN, DecimalString, api_name, decimal_text
from kubetune.api.v1alpha1 import FineTuneJob, validate_spec
from kubetune_trainer.contract.config import DecimalString as TrainerDecimal
from tests.crd.offline import admit

REPOSITORY = Path(__file__).parents[2]
CRD = REPOSITORY / "crds" / "kubetune.dev_finetunejobs.yaml"
SCHEMA = crdgen.openapi_schema()
ANNOTATIONS = 262_144
"""Bytes that all annotations of an object may have together."""
EXAMPLES = sorted((REPOSITORY / "examples").rglob("*.yaml"))


def fields(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field, its path and its schema."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field.get("items", field), f"{path}.{name}")


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every schema, those of items and map values too."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from nodes(schema[keyword], f"{path}.{keyword}")


def test_generated_files_are_up_to_date() -> None:
    assert crdgen.main(["--check"]) == 0


@pytest.mark.slow
def test_check_fails_on_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(tmp_path)]
    assert crdgen.main([*root, "--check"]) == 1
    assert "run make generate" in capsys.readouterr().err
    assert crdgen.main(root) == 0
    assert crdgen.main([*root, "--check"]) == 0
    written = tmp_path / "crds" / CRD.name
    written.write_text(written.read_text() + "x")
    assert crdgen.main([*root, "--check"]) == 1


def test_it_is_small() -> None:
    assert CRD.stat().st_size < 200 * 1024


@pytest.mark.slow
def test_client_side_apply_has_room_for_it_in_an_annotation() -> None:
    """kubectl keeps what it applied as JSON in an annotation, escaped as Go does."""
    text = json.dumps(yaml.safe_load(CRD.read_text()), separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    assert len(text.encode()) < ANNOTATIONS


def test_its_head() -> None:
    assert CRD.read_text().startswith(crdgen.HEADER)
    assert "DO NOT EDIT; run make generate" in crdgen.HEADER
    spec = crdgen.custom_resource_definition()["spec"]
    assert spec["names"]["shortNames"] == ["ftj"]
    assert spec["names"]["categories"] == ["kubetune"]
    assert spec["versions"][0]["subresources"] == {"status": {}}


def test_every_field_is_documented() -> None:
    assert [
        path for path, field in fields(SCHEMA) if not field.get("description") and path != ".metadata"
    ] == []


def test_everything_is_bounded() -> None:
    unbounded = [
        path
        for path, schema in nodes(SCHEMA)
        if path not in (".apiVersion", ".kind")
        and not schema.keys()
        & {
            "string": {"maxLength", "enum", "format"},
            "integer": {"maximum", "format", "enum"},
            "array": {"maxItems"},
            "object": {"maxProperties", "properties"},
        }.get(schema.get("type", ""), {"maximum", "type"})
    ]
    assert unbounded == [".metadata"]


def test_it_is_structural() -> None:
    refused = {"$ref", "$defs", "const", "title", "oneOf", "uniqueItems", "prefixItems", "exclusiveMinimum"}
    for path, schema in nodes(SCHEMA):
        assert not schema.keys() & refused, path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert "type" in schema or schema.get("x-kubernetes-int-or-string") is True, path
        assert schema.get("type") in (None, "object", "array", "string", "integer", "boolean"), path
        assert "x-kubernetes-preserve-unknown-fields" not in schema, path


def test_no_reference_leaves_the_namespace() -> None:
    assert [path for path, _ in fields(SCHEMA) if path.lower().endswith(("namespace", "namespaces"))] == []


def test_operator_resolved_defaults_are_not_in_the_schema() -> None:
    spec = SCHEMA["properties"]["spec"]["properties"]
    for block, field in (
        ("model", "revision"),
        ("training", "learningRate"),
        ("training", "resources"),
        ("serving", "mode"),
        ("serving", "gpus"),
        ("serving", "resources"),
        ("storage", "size"),
    ):
        assert "default" not in spec[block]["properties"][field]


def test_blocks_of_the_spec_are_atomic() -> None:
    spec = SCHEMA["properties"]["spec"]["properties"]
    blocks = {name for name, field in spec.items() if field.get("x-kubernetes-map-type") == "atomic"}
    assert blocks == {
        "model",
        "dataset",
        "training",
        "artifact",
        "evaluation",
        "serving",
        "storage",
        "podTemplate",
    }


JOBS = {
    f"{path.stem}-{one['metadata']['name']}": one
    for path in EXAMPLES
    for one in yaml.safe_load_all(path.read_text())
    if one["kind"] == "FineTuneJob"
}


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_examples_are_admitted(job: dict[str, Any]) -> None:
    assert admit(job) == []
    assert validate_spec(job).metadata.name == job["metadata"]["name"]


def test_names_with_initialisms() -> None:
    assert [api_name(name) for name in ("memory_per_gpu", "downward_api", "gpus_per_node")] == [
        *["memoryPerGPU", "downwardAPI", "gpusPerNode"]
    ]


@given(st.from_regex(DECIMAL_PATTERN, fullmatch=True).filter(lambda text: text.isascii() and len(text) <= 16))
def test_decimals_keep_their_value_and_suit_the_trainer(text: str) -> None:
    value = TypeAdapter(DecimalString).validate_python(text)
    assert value == Decimal(text)
    assert Decimal(TypeAdapter(TrainerDecimal).validate_python(decimal_text(value))) == value


def test_models_are_frozen() -> None:
    job = validate_spec(
        {
            "metadata": {"name": "a"},
            "spec": {
                "model": {"uri": "hf://org/base"},
                "dataset": {"train": {"uri": "hf://org/rows"}},
                "training": {"gpusPerNode": 0},
            },
        }
    )
    assert isinstance(job, FineTuneJob)
    with pytest.raises(ValueError, match="frozen"):
        job.spec.training.epochs = 5  # type: ignore[misc]


def test_no_reference_has_a_namespace() -> None:
    """Names of objects are looked up in the job's own namespace."""
    spec = SCHEMA["properties"]["spec"]
    named = [path for path, _ in fields(spec) if path.lower().endswith("namespace")]
    assert named == []
    names = {
        path.rpartition(".")[2]: schema for path, schema in nodes(spec) if path.endswith(("Name", ".name"))
    }
    references = {"secretName", "claimName", "serviceAccountName", "priorityClassName", "name"}
    assert references <= names.keys()
    assert not any("/" in schema.get("pattern", "/") for name, schema in names.items() if name in references)
