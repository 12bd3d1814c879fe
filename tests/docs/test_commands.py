"""Every command that people read is one: the shell parses it, and what it names exists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from dev.__main__ import app
from dev.docs import commonmark
from dev.paths import REPOSITORY
from kubetune.vocabulary.reasons import ConditionType
from tests.docs import known
from tests.docs.fields import VALUES, leads_to_a_field
from tests.support import chart
from tests.support.pages import COMMANDS, MANIFESTS, PAGES, Shown, name, prompted, shown
from tests.support.shell_commands import commands, option, positional

BLOCKS = shown(*COMMANDS, "console")

TARGETS = frozenset(
    re.findall(r"^([a-z-]+):(?!=)", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
)
VARIABLES = frozenset(re.findall(r"^([A-Z]+) :=", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
DEV = typer.main.get_command(app)
PLACEHOLDER = re.compile(r"[A-Z]{3}|\.\.\.|[*$]")
MADE = frozenset({"build", "dist"})
FOLDERS = frozenset(path.name for path in REPOSITORY.iterdir() if path.is_dir()) - MADE


def faults(words: list[str]) -> Iterator[str]:
    """Yield what a command names that does not exist."""
    match words:
        case ["kubectl", *rest]:
            yield from _of_kubectl(rest)
        case ["helm", *rest]:
            yield from _of_helm(rest)
        case ["make", *rest]:
            yield from _of_make(rest)
        case [python, "-m", "dev", *rest] if "python" in python:
            yield from _of_dev(rest)
    paths = [word for word in words if word.removeprefix("./").partition("/")[0] in FOLDERS and "/" in word]
    for path in paths:
        if not PLACEHOLDER.search(path) and not (REPOSITORY / path).exists():
            yield f"{path} is not in the repository"


def _of_kubectl(words: list[str]) -> Iterator[str]:
    verb, *rest = positional(words, taking=known.TAKING) or [""]
    if verb not in known.KUBECTL:
        yield f"kubectl has no {verb!r}"
    kinds = _kinds(verb, rest)
    if verb in known.NAMING:
        yield from (f"{kind!r} is no kind" for kind in kinds if kind.partition(".")[0] not in known.KINDS)
    for condition in re.findall(r"condition=(\w+)", " ".join(option(words, "--for"))):
        conditions = frozenset(ConditionType) if kinds & known.FINE_TUNE_JOB else known.OTHER_CONDITIONS
        if condition not in conditions:
            yield f"no condition is called {condition}"
    if kinds & known.FINE_TUNE_JOB:
        for wanted in option(words, "-o", "--output", "--sort-by"):
            paths = re.findall(r"\.((?:spec|status)(?:\[[^\]]*\]|[\w.-])*)", wanted)
            yield from (f"there is no field {path}" for path in paths if not leads_to_a_field(path))


def _kinds(verb: str, rest: list[str]) -> frozenset[str]:
    if not rest or (verb in known.BY_POD and "/" not in rest[0]):
        return frozenset()
    return frozenset(rest[0].partition("/")[0].split(","))


def _of_helm(words: list[str]) -> Iterator[str]:
    verb = (positional(words, taking=known.TAKING) or [""])[0]
    if verb not in known.HELM:
        yield f"helm has no {verb!r}"
    for given in option(words, "--set", "--set-string"):
        for path in re.findall(r"(?:^|,)([\w.]+)=", given):
            if not any(path == value or path.startswith(f"{value}.") for value in VALUES):
                yield f"the chart has no value {path}"


def _of_make(words: list[str]) -> Iterator[str]:
    for word in positional(words, taking=frozenset()):
        variable, is_assigned, _ = word.partition("=")
        if is_assigned and not (variable in VARIABLES or variable.startswith("KUBETUNE_")):
            yield f"the Makefile has no variable {variable}"
        if not is_assigned and word not in TARGETS:
            yield f"the Makefile has no target {word}"


def _of_dev(words: list[str]) -> Iterator[str]:
    commands_of_dev = getattr(DEV, "commands", {})
    command = commands_of_dev.get(words[0] if words else "")
    if command is None:
        yield f"python -m dev has no {' '.join(words[:1])!r}"
        return
    options = {each for parameter in command.params for each in parameter.opts}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    yield from (f"python -m dev {words[0]} has no {word}" for word in sorted(given - options))


def text_of(block: Shown) -> str:
    return prompted(block.block.text) if block.block.language == "console" else block.block.text


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_shell_parses_what_a_page_shows(block: Shown) -> None:
    text = text_of(block)
    assert text.strip(), "a console's commands begin with `$ `"
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_what_a_command_names_exists(block: Shown) -> None:
    assert [fault for words in commands(text_of(block)) for fault in faults(words)] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_command_within_a_sentence_names_exists(page: Path) -> None:
    spans = [
        span
        for span in commonmark.code(page.read_text())
        if re.match(r"(kubectl|helm|make) |\S*python -m dev ", span)
    ]
    assert [fault for span in spans for words in commands(span) for fault in faults(words)] == []


@pytest.mark.parametrize("path", MANIFESTS, ids=name)
def test_commands_in_the_comments_of_a_manifest_exist(path: Path) -> None:
    lines = re.findall(r"^ *#   (.*)$", path.read_text(), flags=re.MULTILINE)
    assert [fault for words in commands("\n".join(lines)) for fault in faults(words)] == []


def test_commands_that_the_chart_prints_exist() -> None:
    lines = re.findall(r"^  (.*)$", chart.notes(), flags=re.MULTILINE)
    found = commands("\n".join(lines))
    assert ["helm", "-n", "kubetune-system", "test", "kubetune"] in found
    assert [fault for words in found for fault in faults(words)] == []


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("kubectl aply -f x.yaml", ["kubectl has no 'aply'"]),
        ("kubectl get ftjs", ["'ftjs' is no kind"]),
        ("x=$(kubectl -n a get fjt/b)", ["'fjt' is no kind"]),
        ("echo | kubectl wait --for=condition=Reday ftj/a", ["no condition is called Reday"]),
        ("kubectl wait --for=condition=Trained pod/a", ["no condition is called Trained"]),
        ("kubectl get ftj a -o jsonpath='{.status.plans}'", ["there is no field status.plans"]),
        ("kubectl apply -f examples/minimum.yaml", ["examples/minimum.yaml is not in the repository"]),
        ("helm instal x", ["helm has no 'instal'"]),
        ("helm install x charts/kubetune --set image.tags=a", ["the chart has no value image.tags"]),
        (
            "A=b make demos ARCHIVE=",
            ["the Makefile has no target demos", "the Makefile has no variable ARCHIVE"],
        ),
        ("python -m dev bensh", ["python -m dev has no 'bensh'"]),
        (".venv/bin/python -m dev bench --onyl x", ["python -m dev bench has no --onyl"]),
        ("kubectl get ftj -w && make check # make it", []),
        ("kubectl logs pod-1 > charts/x.txt; kubectl port-forward svc/a 8000:80 &", []),
    ],
)
def test_a_command_that_is_none_is_found(command: str, found: list[str]) -> None:
    assert [fault for words in commands(command) for fault in faults(words)] == found
