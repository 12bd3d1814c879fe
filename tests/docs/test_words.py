"""What pages name exists: fields, what these take, values of the chart, reasons, labels, files, variables."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from dev.chart import CHART
from dev.docs import commonmark
from dev.paths import REPOSITORY
from kubetune.vocabulary import names
from kubetune.vocabulary.reasons import ConditionType, Reason
from tests.docs import fields
from tests.docs.test_commands import FOLDERS
from tests.support.pages import PRESENT, name

OURS = [page for page in PRESENT if page.name != "CONTRIBUTING.md"]
"""Pages in whose text a field is one of a FineTuneJob: contributors read of modules as well."""

FILE = re.compile(
    r"\.(jsonl?|ya?ml|csv|html|lock|md|py|tgz|parquet|safetensors|arrow|txt|gz|zst|tar|bin|lua)$"
)
NOT_OURS = {
    **dict.fromkeys(
        ("podMonitorSelector", "podMonitorNamespaceSelector", "ruleSelector"), "the Prometheus Operator"
    ),
    "spec.suspend": "a Job of Kubernetes",
    **dict.fromkeys(("chartRef", "healthCheckExprs", "retryInterval"), "Flux"),
    "containerLogMaxSize": "the kubelet",
    "trainingType": "Azure OpenAI",
}
"""Fields of others, and whose."""


def spans(page: Path) -> list[str]:
    """What stands in backticks in a page. Of pages about moving here, it is what they say of FineTuneJobs."""
    text = page.read_text()
    if page.parent.name == "migrate":
        return [span for cell in _new_column(text) for span in commonmark.code(cell)]
    return commonmark.code(text)


def _new_column(text: str) -> list[str]:
    """Cells of the last column of tables whose head calls it FineTuneJob."""
    tables = re.findall(r"^\|.*\| FineTuneJob \|\n\|[-| ]+\|\n((?:\|.*\|\n)+)", text, flags=re.MULTILINE)
    return [re.split(r"(?<!\\)\|", row)[-2] for table in tables for row in table.splitlines()]


@pytest.mark.parametrize("page", OURS, ids=name)
def test_fields_that_a_page_names_exist(page: Path) -> None:
    unknown = []
    for span in spans(page):
        found = re.fullmatch(r"\.?([a-z][\w-]*(?:\[\w*\])?(?:\.[\w-]+(?:\[\w*\])?)+)(?:[:=].*)?", span)
        if found is None or FILE.search(span) or found[1] in NOT_OURS or fields.is_a_value(found[1]):
            continue
        first = re.split(r"[.\[]", found[1])[0]
        if fields.BY_NAME[first] and not fields.leads_on(found[1]):
            unknown.append(span)
    assert unknown == []


@pytest.mark.parametrize("page", OURS, ids=name)
def test_names_in_the_style_of_fields_are_fields(page: Path) -> None:
    found = {span for span in spans(page) if re.fullmatch(r"[a-z]+(?:[A-Z][a-z]*)+", span)}
    values = {part for value in fields.VALUES for part in value.split(".")}
    of_kubernetes = fields.names_of_kubernetes()
    assert {
        span for span in found if not fields.BY_NAME[span]
    } - values - of_kubernetes - NOT_OURS.keys() == set()


@pytest.mark.parametrize("page", OURS, ids=name)
def test_fields_take_what_a_page_gives_them(page: Path) -> None:
    refused = []
    for span in spans(page):
        found = re.fullmatch(r"([a-zA-Z][\w.-]*): (.+)", span)
        if found is None or "..." in span or found[1] in NOT_OURS or fields.is_a_value(found[1]):
            continue
        is_field = fields.BY_NAME[found[1].partition(".")[0]]
        if is_field and not fields.takes(found[1], yaml.safe_load(found[2])):
            refused.append(span)
    assert refused == []


@pytest.mark.parametrize("page", OURS, ids=name)
def test_defaults_in_brackets_behind_a_field_are_its_own(page: Path) -> None:
    """As in "`training.epochs` (3)"."""
    text = "\n".join(_new_column(page.read_text())) if page.parent.name == "migrate" else page.read_text()
    named = re.findall(r"`\.?([a-z][\w.-]*)`\s\(`?(\"?[\w.\[\]-]+\"?)`?\)", text)
    wrong = [
        (path, value)
        for path, value in named
        if (defaults := fields.defaults(path)) and str(yaml.safe_load(value)) not in map(str, defaults)
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PRESENT, ids=name)
def test_values_that_a_page_names_exist(page: Path) -> None:
    if page.parent.name == "reference" or page.name == "CONTRIBUTING.md":
        return  # these have other things of such names: fields of a job, and modules
    named = [
        path
        for span in commonmark.code(page.read_text())
        for path in re.findall(rf"^((?:{'|'.join(fields.GROUPS)})(?:\.\w+)+)", span)
        if not FILE.search(span)
    ]
    assert [path for path in named if not fields.is_a_value(path)] == []


@pytest.mark.parametrize("page", PRESENT, ids=name)
def test_reasons_that_a_page_names_exist(page: Path) -> None:
    """In this repository a reason stands alone in brackets, or behind the word."""
    found = re.findall(r"\(`([A-Z][a-z]+[A-Z]\w+)`\)|\breasons? `([A-Z]\w+)`", page.read_text())
    known = {*Reason, *ConditionType, *NOT_OURS}
    assert {first or second for first, second in found} - known == set()


@pytest.mark.parametrize("page", PRESENT, ids=name)
def test_labels_of_ours_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(rf"(?<![\w.]){re.escape(names.GROUP)}/([\w-]*\w)", page.read_text()))
    values = (CHART / "values.yaml").read_text()
    ours = {value for value in vars(names).values() if isinstance(value, str)}
    assert {key for key in named if f"{names.GROUP}/{key}" not in ours | set(values.split())} == set()


@pytest.mark.parametrize("page", PRESENT, ids=name)
def test_stages_that_labels_select_exist(page: Path) -> None:
    named = re.findall(rf"{re.escape(names.LABEL_STAGE)}(?:=|: |=~\")([a-z]+)", page.read_text())
    stages = {names.PREPARE, names.TRAIN, names.BASELINE, names.EVALUATE, names.PROMOTE, names.SERVE}
    assert set(named) <= stages


@pytest.mark.parametrize("page", PRESENT, ids=name)
def test_files_of_the_repository_that_a_page_names_exist(page: Path) -> None:
    named = [
        span
        for span in commonmark.code(page.read_text())
        if re.fullmatch(r"[\w./-]+", span) and span.partition("/")[0] in FOLDERS and "/" in span
    ]
    assert [span for span in named if not (REPOSITORY / span).exists()] == []


@pytest.mark.parametrize("page", PRESENT, ids=name)
def test_variables_of_ours_that_a_page_names_are_read(page: Path) -> None:
    assert set(re.findall(r"\bKUBETUNE_[A-Z_]+\b", page.read_text())) <= _variables()


@cache
def _variables() -> set[str]:
    folders = ("dev", "operator", "trainer_image")
    sources = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    sources += [REPOSITORY / "Makefile", *(CHART / "templates").rglob("*.yaml")]
    text = "\n".join(path.read_text() for path in sources)
    return set(re.findall(r"\bKUBETUNE_[A-Z_]+\b", text))


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("spec.training.nodes", True),
        ("status.attempts[].reason", True),
        ("status.conditions[0].type", True),
        ("deepspeed.zeroStage", True),
        ("serving.engineArgs.max-model-len", True),
        ("podTemplate.nodeSelector.zone", True),
        ("spec.training.node", False),
        ("spec.nodes", False),
        ("deepspeed.stage", False),
        ("status.attempts.reasons", False),
    ],
)
def test_a_path_leads_to_a_field_or_not(path: str, leads: bool) -> None:
    assert fields.leads_on(path) is leads


@pytest.mark.parametrize(
    ("path", "value", "taken"),
    [("select", {"strategy": "Best"}, True), ("select", "Best", False), ("training.nodes", "two", False)],
)
def test_a_field_takes_a_value_or_not(path: str, value: object, taken: bool) -> None:
    assert fields.takes(path, value) is taken
