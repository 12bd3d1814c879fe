"""Each alert has its page, and pages name what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.paths import REPOSITORY
from dev.queries import RUNBOOKS
from kubetune.stages.table import STAGES
from kubetune.vocabulary import names
from tests.rules.test_rules import ALERTS, NAMES
from tests.support import chart

ALERTS_PAGE = REPOSITORY / "docs" / "how-to" / "alerts.md"
PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path.name != "README.md")
HEADINGS = ["How bad it is", "Look", "What to do", "Verify", "Escalate"]


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert [path.stem for path in PAGES] == NAMES


def test_the_list_of_pages_is_complete_and_says_how_bad_each_is() -> None:
    text = (RUNBOOKS / "README.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| ([\w, ]+) \|", text, flags=re.MULTILINE)
    severities = {
        name: {rule["labels"]["severity"] for rule in ALERTS if rule["alert"] == name} for name in NAMES
    }
    assert {name: set(said.split(", ")) for name, _, said in rows} == severities
    assert [name for name, _, _ in rows] == [page for _, page, _ in rows]


def test_the_list_of_alerts_is_complete_and_says_after_how_long() -> None:
    text = ALERTS_PAGE.read_text()
    rows = re.findall(r"^\| `(KubeTune\w+)` \| .+ \| ([\w, ]+) \|$", text, flags=re.MULTILINE)
    waits = {name: {rule["for"] for rule in ALERTS if rule["alert"] == name} for name in NAMES}
    assert {name: set(said.split(", ")) for name, said in rows} == waits


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_can_be_followed_at_night(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == HEADINGS
    assert 25 <= len(text.splitlines()) <= 60
    severities = {rule["labels"]["severity"] for rule in ALERTS if rule["alert"] == page.stem}
    assert {
        word for word in ("critical", "warning", "info") if re.search(rf"\b{word}\b", text, re.I)
    } == severities
    assert "kubectl " in text
    assert "```promql\n" in text or page.stem in (
        "KubeTuneJobStalled",
        "KubeTuneJobSuspended",
        "KubeTuneAttemptsFailing",
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_labels_by_which_a_page_selects_exist(page: Path) -> None:
    text = page.read_text()
    known = {names.LABEL_JOB, names.LABEL_STAGE, names.LABEL_ROLE}
    assert set(re.findall(r"kubetune\.dev/\w+(?==)", text)) <= known
    stages = {stage.name for stage in STAGES} | {"STAGE"}
    assert set(re.findall(rf"{names.LABEL_STAGE}=(\w+)", text)) <= stages
    assert set(re.findall(rf"{names.LABEL_ROLE}=(\w+)", text)) <= set(names.ROLES)


def test_values_that_the_page_shows_are_taken_by_the_chart() -> None:
    shown = [block for block in blocks() if "monitoring" in block]
    assert len(shown) == 2
    for values in shown:
        values["monitoring"]["rules"]["enabled"] = True
        assert chart.of_kind(chart.render(values), "PrometheusRule")


def test_alertmanagers_configuration_that_the_page_shows_names_its_receivers() -> None:
    [config] = [block for block in blocks() if "route" in block]
    used = set(re.findall(r"receiver: ([\w-]+)", yaml.safe_dump(config["route"])))
    assert used == {receiver["name"] for receiver in config["receivers"]}


def blocks() -> list[dict[str, Any]]:
    """All YAML of the page of alerts."""
    found = re.findall(r"```yaml\n(.*?)```", ALERTS_PAGE.read_text(), flags=re.DOTALL)
    return [yaml.safe_load(block) for block in found]
