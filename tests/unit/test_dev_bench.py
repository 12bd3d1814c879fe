"""The benchmark's figures and the page that lists them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dev.bench import training
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


def result(speed: float) -> training.Result:
    return training.Result(
        tokens_per_second=speed,
        tokens_per_cpu_second=speed / 2,
        loss=1,
        validation_loss=1,
        first_step_seconds=1,
    )


def test_trl_is_compared_with_its_fastest_batches() -> None:
    speeds = {training.Batches(rows_per_pass=rows): float(speed) for rows, speed in ((1, 5), (2, 9), (4, 7))}
    tried: list[tuple[training.Batches, int]] = []

    def run(batches: training.Batches, *, steps: int) -> training.Result:
        tried.append((batches, steps))
        return result(speeds[batches])

    assert training.fastest([*speeds], run) == training.Batches(rows_per_pass=2)
    assert [batches for batches, _ in tried] == [*speeds]
    assert all(steps > training.WARM_UP_STEPS for _, steps in tried)
    assert training.fastest([training.Batches(pack_tokens=256)], run) == training.Batches(pack_tokens=256)
    assert len(tried) == 3


def test_ratios_are_of_one_round() -> None:
    made = training.Round(ours=result(300), plain=result(120), packed=result(200))
    assert (made.ratio(made.plain), made.ratio_by_processor(made.packed)) == (2.5, 1.5)


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
