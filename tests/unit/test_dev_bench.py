"""The benchmark's figures and the page that lists them."""

from __future__ import annotations

import re

import pytest

from dev.bench.figures import Figure
from dev.bench.run import PARTS
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
