"""The documentation names values, metrics and files that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from dev.chart import CHART, values
from dev.paths import REPOSITORY
from kubetune.api.v1alpha1 import validate_spec
from kubetune.process.metrics.own import Metrics
from kubetune.vocabulary.reasons import Reason
from tests.support import chart
from tests.support.reports import full_reports

HOW_TO = [
    REPOSITORY / "docs" / "how-to" / "install-on-a-gpu-cluster.md",
    REPOSITORY / "docs" / "how-to" / "monitor.md",
    REPOSITORY / "docs" / "how-to" / "restrict-what-is-trained.md",
]
PAGES = [
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    REPOSITORY / "README.md",
    CHART / "README.md",
    REPOSITORY / "SECURITY.md",
    REPOSITORY / "CONTRIBUTING.md",
]
# The reference and the contributors' page have other things of these names: fields of a job, and modules.
WITH_VALUES = [
    page for page in PAGES if page.parent.name not in ("reference", "adr") and page.name != "CONTRIBUTING.md"
]
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
GROUPS = "|".join(name for name, value in VALUES.items() if isinstance(value, dict))


@pytest.mark.parametrize("page", WITH_VALUES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_values_that_a_page_names_exist(page: Path) -> None:
    known = {value.path for value in values()}
    named = re.findall(rf"`((?:{GROUPS})(?:\.\w+)+)", page.read_text())
    for path in named:
        assert any(name == path or name.startswith(f"{path}.") for name in known), path


@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.name)
def test_values_that_a_page_shows_are_taken_by_the_chart(page: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL)
    shown = [block for text in blocks if isinstance(block := yaml.safe_load(text), dict)]
    assert shown
    for block in shown:
        if "apiVersion" in block:
            kubernetes_validate.validate(block, "1.31", strict=True)
        else:
            chart.render(block)


def test_the_autoscaler_that_a_page_shows_is_one() -> None:
    page = REPOSITORY / "docs" / "how-to" / "autoscale-a-server.md"
    [shown] = re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL)
    kubernetes_validate.validate(yaml.safe_load(shown), "1.31", strict=True)


def test_pods_that_a_page_shows_are_pods() -> None:
    page = REPOSITORY / "docs" / "how-to" / "copy-files.md"
    [shown] = re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL)
    kubernetes_validate.validate(yaml.safe_load(shown), "1.31", strict=True)


def test_the_evaluation_that_a_page_shows_is_one() -> None:
    page = REPOSITORY / "docs" / "how-to" / "evaluate.md"
    [shown] = re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL)
    job = yaml.safe_load((REPOSITORY / "examples" / "minimal.yaml").read_text())
    job["spec"]["dataset"]["validationFraction"] = "0.1"
    evaluation = validate_spec({**job, "spec": job["spec"] | yaml.safe_load(shown)}).spec.evaluation
    assert evaluation is not None
    assert evaluation.gate is not None


def test_the_reference_has_every_metric_of_the_trainer() -> None:
    text = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    families = full_reports().registry.collect()
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    assert set(re.findall(r"`(kubetune_train_\w+)`", text)) == names


def test_the_page_of_reasons_has_each_of_them_once() -> None:
    text = (REPOSITORY / "docs" / "reference" / "reasons.md").read_text()
    cells = re.findall(r"^\| (`.+?) \|", text, flags=re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(Reason)


def test_metrics_that_the_page_names_exist() -> None:
    metrics = Metrics()
    metrics.tell_jobs(list)
    families = [*metrics.registry.collect(), *full_reports().registry.collect()]
    known = {
        name
        for family in families
        for name in (family.name, f"{family.name}_total", *(sample.name for sample in family.samples))
    }
    text = (REPOSITORY / "docs" / "how-to" / "monitor.md").read_text()
    named = set(re.findall(r"\bkubetune_\w+[a-z]", text)) - {"kubetune_dev_finetunejob", "kubetune_dev_stage"}
    assert named - {"kubetune_train"} <= known


def test_the_page_asks_of_every_metric_of_the_operator() -> None:
    metrics = Metrics()
    metrics.tell_jobs(list)
    text = (REPOSITORY / "docs" / "how-to" / "monitor.md").read_text()
    named = {f.name if f.type != "counter" else f"{f.name}_total" for f in metrics.registry.collect()}
    assert {name for name in named if name not in text} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
