"""Every YAML that people read is taken by who it is for: the API of FineTuneJobs, Kubernetes, the chart."""

from __future__ import annotations

import ast
import copy
import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from dev.chart import CHART
from kubetune.api.crdgen import openapi_schema
from kubetune.api.v1alpha1 import validate_spec
from kubetune.vocabulary.errors import SpecError
from kubetune.vocabulary.names import API_VERSION, KIND
from tests.crd.offline import admit, admit_status
from tests.support import chart
from tests.support.pages import LANGUAGES, MANIFESTS, PAGES, Shown, name, shown

Json = dict[str, Any]

VALUES = frozenset(yaml.safe_load((CHART / "values.yaml").read_text()))
SCHEMA: Json = openapi_schema()["properties"]
SPEC = frozenset(SCHEMA["spec"]["properties"])
STATUS = frozenset(SCHEMA["status"]["properties"])

MINIMAL: Json = {
    "apiVersion": API_VERSION,
    "kind": KIND,
    "metadata": {"name": "shown"},
    "spec": {
        "model": {"uri": "hf://org/model"},
        "dataset": {"train": {"uri": "pvc://claim/train.jsonl"}, "validationFraction": "0.1"},
        "training": {"gpusPerNode": 8},
    },
}
"""What a part of a job that a page shows is put into."""

ELSEWHERE = {
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
    ("helm.toolkit.fluxcd.io/v2", "HelmRelease"),
    ("source.toolkit.fluxcd.io/v1", "GitRepository"),
    ("source.toolkit.fluxcd.io/v1", "OCIRepository"),
    ("argoproj.io/v1alpha1", "Application"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("kaito.sh/v1beta1", "Workspace"),
    ("snapshot.storage.k8s.io/v1", "VolumeSnapshot"),
    ("trainer.kubeflow.org/v1alpha1", "TrainJob"),
    ("trainer.kubeflow.org/v1alpha1", "TrainingRuntime"),
    ("trainer.kubeflow.org/v1alpha1", "ClusterTrainingRuntime"),
}
"""Kinds of others, whose schemas are not here: apiVersion and kind are the ones that exist."""

NEITHER = {
    ("docs/how-to/monitor.md", "job_name"): "a part of prometheus.yml",
    ("docs/how-to/alerts.md", "rule_files"): "a part of prometheus.yml",
    ("docs/how-to/alerts.md", "route"): "a part of alertmanager.yml",
    ("docs/how-to/flux.md", "chart"): "a part of a HelmRelease",
    ("docs/how-to/push-to-a-hub.md", "containers"): "a part of the Job of examples/push-to-hub.yaml",
    ("docs/migrate/", ""): "configurations of what people come from",
}
"""YAML of other programs, by how the page's path and its first key begin, and why it is not checked."""


def faults(document: Any) -> list[str] | None:
    """What is wrong with a document; None when it is nothing that is known here."""
    if not isinstance(document, dict):
        return None
    keys = document.keys()
    if "apiVersion" in keys:
        return _of_object(document)
    if keys <= VALUES:
        return _of_values(document)
    if keys <= {"metadata", "spec"} and document.get("spec", {}).keys() <= SPEC:
        return _of_job(_completed(document))
    if keys <= SPEC:
        return _of_job(_completed({"spec": document}))
    if keys <= STATUS:
        return admit_status(document)
    return None


def _of_object(document: Json) -> list[str] | None:
    kind = (document["apiVersion"], document["kind"])
    if kind == (API_VERSION, KIND):
        return _of_job(document)
    if kind in ELSEWHERE:
        return []
    try:
        kubernetes_validate.validate(document, "1.31", strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    except kubernetes_validate.utils.SchemaNotFoundError:
        return [f"{kind} is no kind of Kubernetes: see ELSEWHERE"]
    return []


def _of_values(document: Json) -> list[str]:
    try:
        chart.render(document)
    except Exception as error:  # of the Go program in the wheel
        return [str(error)]
    return []


def _of_job(job: Json) -> list[str]:
    if refused := admit(job):
        return refused
    try:
        validate_spec(job)
    except SpecError as error:
        return [str(error)]
    return []


def _completed(part: Json) -> Json:
    """A whole job of which this is a part."""
    job = copy.deepcopy(MINIMAL)
    given = part.get("spec", {})
    if "artifact" in given:
        del job["spec"]["dataset"], job["spec"]["training"]
    if "validation" in given.get("dataset", {}):
        del job["spec"]["dataset"]["validationFraction"]
    return _merged(job, part)


def _merged(under: Json, over: Json) -> Json:
    both = {key for key in under.keys() & over.keys() if isinstance(under[key], dict) and over[key]}
    return under | over | {key: _merged(under[key], over[key]) for key in both}


def written_out(text: str) -> str:
    """The text with digests in the place of what stands for them."""
    return text.replace("sha256:...", f"sha256:{'0' * 64}")


def is_of_another(page: str, document: Any) -> bool:
    first = next(iter(document[0] if isinstance(document, list) else document), "")
    return any(page.startswith(begins) and first.startswith(key) for begins, key in NEITHER)


@pytest.mark.parametrize("block", shown("yaml"), ids=str)
def test_yaml_that_a_page_shows_is_taken(block: Shown) -> None:
    documents = [each for each in yaml.safe_load_all(written_out(block.block.text)) if each is not None]
    assert documents
    for document in documents:
        found = faults(document)
        if found is None:
            assert is_of_another(block.page, document), (
                "no job, object or values, nor a part of one: see NEITHER"
            )
        else:
            assert found == []


@pytest.mark.parametrize("path", MANIFESTS, ids=name)
def test_manifests_that_are_shipped_for_people_are_taken(path: Path) -> None:
    documents = [each for each in yaml.safe_load_all(path.read_text()) if each is not None]
    assert {json.dumps(document): faults(document) for document in documents} == {
        json.dumps(document): [] for document in documents
    }


@pytest.mark.parametrize("block", shown("json"), ids=str)
def test_json_that_a_page_shows_is_read(block: Shown) -> None:
    for line in block.block.text.splitlines():
        json.loads(line)


@pytest.mark.parametrize("block", shown("python"), ids=str)
def test_python_that_a_page_shows_is_parsed(block: Shown) -> None:
    ast.parse(block.block.text)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_a_page_is_of_a_language_that_is_checked(page: Path) -> None:
    fences = re.findall(r"^ *(?:```+|~~~+)([^\n`]+)$", page.read_text(), flags=re.MULTILINE)
    assert {fence.split()[0] for fence in fences} <= LANGUAGES


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("training: {gpuPerNode: 1}", [".spec.training.gpuPerNode: unknown field"]),
        ("spec: {training: {nodes: 0}}", [".spec.training.nodes: 0 is less than the minimum of 1"]),
        ("usage: {costs: '1'}", [".usage.costs: unknown field"]),
        ("{apiVersion: v1, kind: Pod, metadata: {}, spec: {container: []}}", 1),
        ("settings: {gpuTyp: T4}", 1),
        ("{apiVersion: argoproj.io/v1, kind: Application}", 1),
        ("containers: []", None),
        ("- a", None),
    ],
)
def test_what_is_wrong_is_found(text: str, found: list[str] | int | None) -> None:
    told = faults(yaml.safe_load(text))
    assert (len(told) if isinstance(found, int) and told is not None else told) == found
