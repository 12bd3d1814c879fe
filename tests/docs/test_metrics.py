"""The documentation names metrics and reasons that exist, and the reference all of them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from prometheus_client import Metric

from dev.paths import REPOSITORY
from kubetune.process.metrics.own import Metrics
from kubetune.vocabulary.reasons import Reason
from kubetune_gateway.telemetry import Telemetry
from tests.support.pages import PRESENT, name
from tests.support.reports import full_reports

REFERENCE = REPOSITORY / "docs" / "reference"
LABELS = {"kubetune_dev_finetunejob", "kubetune_dev_stage"}
"""What Prometheus calls labels of pods."""
_PARTS = {"counter": ("total",), "histogram": ("bucket", "sum", "count")}
"""Ends of the names of a metric's series, of which there are none before something was counted."""


def test_the_reference_has_every_metric_of_the_trainer() -> None:
    text = (REFERENCE / "metrics.md").read_text()
    families = full_reports().registry.collect()
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    assert set(re.findall(r"`(kubetune_train_\w+)`", text)) == names


def test_the_reference_has_every_metric_of_the_gateway() -> None:
    text = (REFERENCE / "metrics.md").read_text()
    families = Telemetry().registry.collect()
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    assert set(re.findall(r"^\| `(kubetune_gateway_\w+)`", text, flags=re.MULTILINE)) == names


def test_the_page_of_reasons_has_each_of_them_once() -> None:
    text = (REFERENCE / "reasons.md").read_text()
    cells = re.findall(r"^\| (`.+?) \|", text, flags=re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(Reason)


@pytest.mark.parametrize("page", PRESENT, ids=name)
def test_metrics_that_a_page_names_exist(page: Path) -> None:
    """Names of recorded series, which have a colon in front, are for the tests of rules."""
    named = set(re.findall(r"(?<![\w/:])kubetune_\w+[a-z]", page.read_text()))
    packages = {"kubetune_trainer", "kubetune_guard", "kubetune_gateway"}
    assert named - LABELS - packages - {"kubetune_train"} - _metrics() == set()


def test_a_page_asks_of_every_metric_of_the_operator() -> None:
    text = (REPOSITORY / "docs" / "how-to" / "monitor.md").read_text()
    named = {f.name if f.type != "counter" else f"{f.name}_total" for f in _of_the_operator()}
    assert {name for name in named if name not in text} == set()


def _of_the_operator() -> list[Metric]:
    metrics = Metrics()
    metrics.tell_jobs(list)
    return [*metrics.registry.collect()]


@cache
def _metrics() -> set[str]:
    families = [
        *_of_the_operator(),
        *full_reports().registry.collect(),
        *Telemetry().registry.collect(),
    ]
    return {
        name
        for family in families
        for name in (
            family.name,
            *(f"{family.name}_{part}" for part in _PARTS.get(family.type, ())),
            *(sample.name for sample in family.samples),
        )
    }
