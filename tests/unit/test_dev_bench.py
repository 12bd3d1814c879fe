"""The benchmark's figures and the page that lists them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dev.bench.figures import Figure
from dev.bench.run import PARTS
from dev.cluster import containerd
from dev.paths import REPOSITORY


@pytest.mark.parametrize(
    ("value", "bar", "at_least", "verdict"),
    [
        (1.0, None, False, ""),
        (9.9, 10, False, "yes"),
        (10.1, 10, False, "NO"),
        (2.4, 1.5, True, "yes"),
        (1.4, 1.5, True, "NO"),
    ],
)
def test_a_figure_keeps_its_bar_or_not(value: float, bar: float | None, at_least: bool, verdict: str) -> None:
    figure = Figure(part="demo", name="a", value=value, unit="s", bar=bar, at_least=at_least)
    assert figure.verdict == verdict


def test_the_page_names_every_part_and_no_other() -> None:
    page = (REPOSITORY / "docs" / "benchmarks.md").read_text()
    assert set(re.findall(r"dev bench --only (\S+?)[` ]", page)) == set(PARTS)


def test_the_start_of_a_container_is_read_to_the_millisecond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clusters of others keep no record here: what the API says has to do then."""
    record = tmp_path / "io.containerd.grpc.v1.cri" / "containers" / "1ab67c" / "status"
    record.parent.mkdir(parents=True)
    record.write_text('{"Version":"v1","CreatedAt":1795886003805102453,"StartedAt":1795886003882365995}')
    monkeypatch.setattr("dev.paths.image_store", lambda: tmp_path)
    assert containerd.started("1ab67c") == pytest.approx(1795886003.882, abs=0.0005)
    assert containerd.started("90a84a") is None
    assert containerd.started("") is None
