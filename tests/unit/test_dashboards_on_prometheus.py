"""Every query of every dashboard on a real Prometheus: without any series, and with all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.bench import own_prometheus
from dev.bench.series import Fleet, write
from dev.dashboards.write import FOLDER
from dev.viewer.dashboard import Dashboard, read
from dev.viewer.page import Answers
from dev.viewer.prometheus import Prometheus
from dev.viewer.run import ask
from dev.viewer.variables import Shown, choose

pytestmark = pytest.mark.skipif(
    not own_prometheus.is_here(), reason="no prometheus on this machine: `make cluster` installs it"
)

BOARDS = {path.stem: read(path) for path in sorted(FOLDER.glob("*.json"))}
FLEET = Fleet(jobs=8, start=1_800_000_000, end=1_800_001_800)
SHOWN = Shown(FLEET.start, FLEET.end, scrape=FLEET.every)
JOBS = {"job": "job-0002", "serving": "job-0000"}
"""One that trains, and one that has a server."""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with (
        own_prometheus.prometheus_over(tmp_path_factory.mktemp("empty")) as running,
        Prometheus(running.url) as prometheus,
    ):
        yield prometheus


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("full")
    write(FLEET, folder / "series.txt", FLEET.scrapes)
    yield from over(folder)


@pytest.fixture(scope="module")
def told_twice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """The same while one operator takes over from another, and both tell of the jobs."""
    folder = tmp_path_factory.mktemp("twice")
    path = folder / "series.txt"
    write(FLEET, path, FLEET.scrapes)
    lines = path.read_text().splitlines()
    of_jobs = [line for line in lines if line.startswith(("kubetune_job", "kubetune_evaluation"))]
    again = [
        line.replace("kubetune-6b7f-a", "kubetune-6b7f-c").replace("10.0.0.1", "10.0.0.9") for line in of_jobs
    ]
    assert set(again).isdisjoint(of_jobs)
    path.write_text("\n".join([*lines[:-1], *again, lines[-1], ""]))
    yield from over(folder)


def over(folder: Path) -> Iterator[Prometheus]:
    own_prometheus.make_blocks(folder / "series.txt", folder)
    with own_prometheus.prometheus_over(folder) as running, Prometheus(running.url) as prometheus:
        yield prometheus


def answers(prometheus: Prometheus, name: str) -> list[Answers]:
    board = BOARDS[name]
    wanted = {"finetunejob": JOBS[name]} if name in JOBS else {}
    return ask(board, prometheus, choose(board, prometheus, SHOWN, wanted), SHOWN)


def rounded(found: list[Answers]) -> list[dict[str, Any]]:
    """Return them without the last digits, which depend on the order in which numbers are added."""
    return [
        {
            letter: [(s.labels, [(time, f"{value:.9g}") for time, value in s.points]) for s in series]
            for letter, series in answer.items()
        }
        for answer in found
    ]


def by_query(board: Dashboard, found: list[Answers]) -> dict[str, int]:
    return {
        f"{panel.title}: {target.expr}": len(answer[target.letter])
        for panel, answer in zip(board.panels, found, strict=True)
        for target in panel.targets
    }


@pytest.mark.parametrize("name", BOARDS)
def test_without_any_series_nothing_is_shown_and_nothing_fails(empty: Prometheus, name: str) -> None:
    found = by_query(BOARDS[name], answers(empty, name))
    assert found
    assert {query: count for query, count in found.items() if count} == {}


@pytest.mark.parametrize("name", BOARDS)
def test_with_all_series_every_query_finds_some(full: Prometheus, name: str) -> None:
    found = by_query(BOARDS[name], answers(full, name))
    assert found
    assert [query for query, count in found.items() if not count] == []


@pytest.mark.parametrize("name", BOARDS)
def test_a_second_operator_that_tells_of_the_same_jobs_changes_no_number(
    full: Prometheus, told_twice: Prometheus, name: str
) -> None:
    assert rounded(answers(told_twice, name)) == rounded(answers(full, name))


def test_the_fleet_is_counted(full: Prometheus) -> None:
    board = BOARDS["fleet"]
    numbers = {
        panel.title: answer["A"][0].last
        for panel, answer in zip(board.panels, answers(full, "fleet"), strict=True)
        if panel.kind == "stat"
    }
    assert numbers == {
        "Jobs": 8,
        "Stalled": 1,
        "GPUs in use": 13,
        "GPUs waited for": 0,
        "Warnings": pytest.approx(2, abs=0.2),
        "Operators that act": 1,
        "Versions": 2,
    }


def test_variables_are_what_prometheus_knows(full: Prometheus) -> None:
    chosen = choose(BOARDS["job"], full, SHOWN, {"namespace": "team-support"})
    assert chosen == {"namespace": "team-support", "finetunejob": "job-0002"}
