"""What the page on Flux has it ask of a FineTuneJob, evaluated over the golden statuses as Flux does."""

from __future__ import annotations

import re
from typing import Any

import celpy
import pytest
import yaml
from celpy.adapter import json_to_cel

from dev.paths import REPOSITORY
from tests.support import chart
from tests.support.kstatus import kstatus

PAGE = REPOSITORY / "docs" / "how-to" / "flux.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
OBJECTS = [item for block in BLOCKS for item in yaml.safe_load_all(block) if "kind" in item]
STATUSES = sorted((REPOSITORY / "tests" / "data").glob("*/status.yaml"))


def verdict(job: dict[str, Any], expressions: dict[str, str]) -> str:
    """Flux' RFC 0009: an edit that was not seen is in progress, else the first true expression tells.

    What cannot be evaluated, as of an object without a status, is waited for.
    """
    status = job.get("status") or {}
    if status.get("observedGeneration", job["metadata"]["generation"]) != job["metadata"]["generation"]:
        return "InProgress"
    environment = celpy.Environment()
    for name, told in (("inProgress", "InProgress"), ("failed", "Failed"), ("current", "Current")):
        if name not in expressions:
            continue
        program = environment.program(environment.compile(expressions[name]))
        try:
            if program.evaluate({key: json_to_cel(value) for key, value in job.items()}):
                return told
        except celpy.CELEvalError:
            return "Unknown"
    return "InProgress"


@pytest.fixture(scope="module")
def expressions() -> dict[str, str]:
    [found] = [e for item in OBJECTS for e in item.get("spec", {}).get("healthCheckExprs", [])]
    assert (found["apiVersion"], found["kind"]) == ("kubetune.dev/v1alpha1", "FineTuneJob")
    return {str(name): str(text) for name, text in found.items()}


@pytest.mark.parametrize("path", STATUSES, ids=lambda path: path.parent.name)
def test_flux_reads_a_golden_status_as_kstatus_does(path: Any, expressions: dict[str, str]) -> None:
    status = yaml.safe_load(path.read_text()) or {}
    job = {"metadata": {"generation": 1}, "status": {**status, "observedGeneration": 1}}
    assert verdict(job, expressions) == (kstatus(job) if "conditions" in status else "Unknown")


def test_a_job_that_nobody_has_seen_is_waited_for(expressions: dict[str, str]) -> None:
    job = {"metadata": {"generation": 1}}
    assert (kstatus(job), verdict(job, expressions)) == ("Current", "Unknown")
    seen = {"type": "Ready", "status": "True"}
    edited = {"metadata": {"generation": 2}, "status": {"observedGeneration": 1, "conditions": [seen]}}
    assert verdict(edited, expressions) == "InProgress"


def test_the_chart_takes_the_values_of_the_page() -> None:
    [release] = [item for item in OBJECTS if item["kind"] == "HelmRelease"]
    assert chart.render(release["spec"]["values"])
