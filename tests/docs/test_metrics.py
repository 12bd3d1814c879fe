"""The documentation names metrics and reasons that exist, and the reference all of them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from dev.paths import REPOSITORY
from kubetune.process.metrics.own import Metrics
from kubetune.vocabulary.reasons import Reason
from tests.support.pages import PRESENT, name
from tests.support.reports import full_reports

REFERENCE = REPOSITORY / "docs" / "reference"
LABELS = {"kubetune_dev_finetunejob", "kubetune_dev_stage"}
"""What Prometheus calls labels of pods."""


def test_the_reference_has_every_metric_of_the_trainer() -> None:
    text = (REFERENCE / "metrics.md").read_text()
    families = full_reports().registry.collect()
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    assert set(re.findall(r"`(kubetune_train_\w+)`", text)) == names


def test_the_page_of_reasons_has_each_of_them_once() -> None:
    text = (REFERENCE / "reasons.md").read_text()
    cells = re.findall(r"^\| (`.+?) \|", text, flags=re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(Reason)


@pytest.mark.parametrize("page", PRESENT, ids=name)
def test_metrics_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(r"(?<![\w/])kubetune_\w+[a-z]", page.read_text()))
    packages = {"kubetune_trainer", "kubetune_guard"}
    assert named - LABELS - packages - {"kubetune_train"} - _metrics() == set()


@cache
def _metrics() -> set[str]:
    metrics = Metrics()
    metrics.tell_jobs(list)
    families = [*metrics.registry.collect(), *full_reports().registry.collect()]
    return {
        name
        for family in families
        for name in (family.name, f"{family.name}_total", *(sample.name for sample in family.samples))
    }
