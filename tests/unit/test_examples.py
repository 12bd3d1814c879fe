"""The rows of the examples are rows that the trainer takes, and enough of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from dev.demo.run import TRIAGE, hub_surroundings
from dev.paths import REPOSITORY
from kubetune.api.v1alpha1 import validate_spec
from kubetune_trainer.contract.config import DatasetConfig, FileSource
from kubetune_trainer.contract.errors import BadRow
from kubetune_trainer.data.formats import RowReader
from kubetune_trainer.data.rows import read_rows
from kubetune_trainer.prepare.dataset import MIN_ROWS
from tests.support.first_steps import commands

EXAMPLES = REPOSITORY / "examples"
MANIFESTS = sorted(EXAMPLES.rglob("*.yaml"))
UPLOADED = sorted([*(EXAMPLES / "openai").glob("*.jsonl"), *(EXAMPLES / "azure").glob("*.jsonl")])
"""Rows that reach a job by OpenAI's API."""

_CREATED = re.compile(r"kubectl create configmap (?P<name>\S+) --from-file=(?P<file>\S+) ")


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def config_maps(path: Path) -> dict[str, dict[str, str]]:
    """What is in a file, or what the demo makes beside its job, or who takes the first steps."""
    objects = documents(path) + (hub_surroundings() if path.parent == TRIAGE else [])
    found = {item["metadata"]["name"]: item["data"] for item in objects if item["kind"] == "ConfigMap"}
    [made] = [made for block in commands() if (made := _CREATED.match(block.text))]
    return {made["name"]: {Path(made["file"]).name: (REPOSITORY / made["file"]).read_text()}} | found


def splits() -> Iterator[Any]:
    """Each split whose rows are in a ConfigMap."""
    for path in MANIFESTS:
        for job in documents(path):
            for split in ("train", "validation"):
                uri = job.get("spec", {}).get("dataset", {}).get(split, {}).get("uri", "")
                if uri.startswith("configMap://"):
                    yield pytest.param(path, job, split, id=f"{path.stem}-{split}")


@pytest.mark.parametrize(("path", "job", "split"), [*splits()])
def test_rows_in_a_config_map_are_good_and_enough(
    path: Path, job: dict[str, Any], split: str, tmp_path: Path
) -> None:
    dataset = job["spec"]["dataset"]
    name, _, key = dataset[split]["uri"].removeprefix("configMap://").partition("/")
    file = tmp_path / key
    file.write_text(config_maps(path)[name][key])
    config = DatasetConfig(
        train=FileSource(uri=dataset["train"]["uri"]),
        columns=dataset.get("columns", {}),
        system_prompt=dataset.get("systemPrompt"),
    )
    reader = RowReader(config, name=key, has_template=True)
    rows = list(read_rows(file, name=key))
    assert [row for row in rows if isinstance(row, BadRow)] == []
    for row in rows:
        assert not isinstance(row, BadRow)
        reader.read(row)
    assert len(rows) >= (MIN_ROWS if split == "train" else 1)


@pytest.mark.parametrize("path", UPLOADED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_rows_that_a_program_uploads_are_good_and_enough(path: Path) -> None:
    reader = RowReader(
        DatasetConfig(train=FileSource(uri="s3://bucket/rows")), name="rows", has_template=True
    )
    rows = list(read_rows(path, name=path.name))
    for row in rows:
        assert not isinstance(row, BadRow)
        reader.read(row)
    assert len(rows) >= MIN_ROWS
    assert len({str(row) for row in rows}) == len(rows)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_examples_are_valid(path: Path) -> None:
    assert documents(path)
    for document in documents(path):
        if document["kind"] == "FineTuneJob":
            assert validate_spec(document).metadata.name == document["metadata"]["name"]
        else:
            kubernetes_validate.validate(document, "1.31", strict=True)


def test_examples_have_their_rows_in_a_config_map_and_so_has_the_demo_elsewhere() -> None:
    assert [parameter.id for parameter in splits()] == [
        "config-map-train",
        "config-map-validation",
        "minimal-train",
        "job-any-cluster-train",
        "job-any-cluster-validation",
    ]
