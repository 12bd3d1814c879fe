"""/steps tells what was measured at each step, of all attempts, and a reader is waited for at the end."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from kubetune_trainer.contract.layout import RunDirectory
from kubetune_trainer.loop.measured import MOST_LINES, MeasuredSteps
from kubetune_trainer.loop.progress import Reports, serve
from kubetune_trainer.loop.records import Records
from tests.support.training_runs import free_port


@pytest.fixture
def reports() -> Reports:
    return Reports(100)


@pytest.fixture
def address(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> str:
    port = free_port()
    monkeypatch.setenv("METRICS_PORT", str(port))
    serve(reports)
    return f"http://127.0.0.1:{port}/steps"


def fetch(url: str) -> list[dict[str, Any]]:
    with urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/jsonl"
        return [json.loads(line) for line in answer.read().splitlines()]


def test_only_what_was_measured_is_told_and_the_base_comes_first(reports: Reports, address: str) -> None:
    assert fetch(address) == []
    reports.steps.add({"step": 1, "time": 1000, "loss": 0.5, "mean_token_accuracy": 0.25, "grad_norm": 2.0})
    reports.steps.add({"step": 0, "time": 1001, "validation_loss": 3.0, "full_validation_loss": 3.5})
    reports.steps.add({"step": 2, "time": 1002, "loss": float("nan")})
    assert fetch(address) == [
        {"step": 0, "time": 1001, "valid_loss": 3.0, "full_valid_loss": 3.5},
        {"step": 1, "time": 1000, "train_loss": 0.5, "train_mean_token_accuracy": 0.25},
        {"step": 2, "time": 1002},
    ]


def test_a_step_that_is_scored_later_is_one_step_of_its_first_time(reports: Reports, address: str) -> None:
    reports.steps.add({"step": 4, "time": 1000, "loss": 0.5})
    reports.steps.add({"step": 5, "time": 1002, "loss": 0.25})
    scored = {
        "validation_loss": 1.5,
        "validation_mean_token_accuracy": 0.5,
        "full_validation_loss": 1.75,
        "full_validation_mean_token_accuracy": 0.75,
    }
    reports.steps.add({"step": 4, "time": 1001, **scored})
    assert fetch(f"{address}?after=3") == [
        {
            "step": 4,
            "time": 1000,
            "train_loss": 0.5,
            "valid_loss": 1.5,
            "valid_mean_token_accuracy": 0.5,
            "full_valid_loss": 1.75,
            "full_valid_mean_token_accuracy": 0.75,
        },
        {"step": 5, "time": 1002, "train_loss": 0.25},
    ]
    assert [line["step"] for line in fetch(f"{address}?after=4")] == [5]
    assert fetch(f"{address}?after=5") == []


def test_an_answer_has_a_bounded_number_of_steps(reports: Reports, address: str) -> None:
    for step in range(1, MOST_LINES + 3):
        reports.steps.add({"step": step, "time": step, "loss": 0.5})
    first = fetch(f"{address}?after=-5")
    assert [line["step"] for line in first] == list(range(1, MOST_LINES + 1))
    assert [line["step"] for line in fetch(f"{address}?after={first[-1]['step']}")] == [1001, 1002]


@pytest.mark.parametrize("query", ["after=", "after=one", "after=1.5", "after=1&after=2", f"after={10**30}"])
def test_no_number_is_a_bad_request(address: str, query: str) -> None:
    with pytest.raises(HTTPError, match="400") as caught:
        fetch(f"{address}?{query}")
    assert "after has to be a whole number" in caught.value.read().decode()
    caught.value.close()


def test_a_later_attempt_tells_the_steps_before_its_checkpoint_too(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    first = Records(run, MeasuredSteps(), from_step=0)
    for step in (1, 2, 3):
        first.add(step=step, loss=step / 10)
    first.close()
    written = map(json.loads, run.metrics_file.read_text().splitlines())
    times = {line["step"]: line["time"] for line in written}

    measured = MeasuredSteps()
    second = Records(run, measured, from_step=2)
    second.add(step=3, loss=0.5)
    second.close()
    told = [json.loads(line) for line in measured.after(-1).body.splitlines()]
    assert told == [
        {"step": 1, "time": times[1], "train_loss": 0.1},
        {"step": 2, "time": times[2], "train_loss": 0.2},
        {"step": 3, "time": told[2]["time"], "train_loss": 0.5},
    ]
    assert times[1] > 1.7e9


def test_lines_of_an_earlier_version_are_as_old_as_their_file(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.metrics_file.write_text('{"step": 1, "loss": 0.5}\n')
    os.utime(run.metrics_file, (1000, 1000))
    measured = MeasuredSteps()
    Records(run, measured, from_step=1).close()
    assert json.loads(measured.after(0).body) == {"step": 1, "time": 1000, "train_loss": 0.5}


def test_who_has_not_asked_for_a_while_is_not_waited_for() -> None:
    now = [1000.0]
    steps = MeasuredSteps(now=lambda: now[0])
    steps.add({"step": 1, "time": 1, "loss": 0.5})
    assert not steps.wait_for_reader(300), "nobody has asked"
    steps.after(0)
    now[0] += 61
    assert not steps.wait_for_reader(300)


def test_a_reader_that_has_been_told_all_is_not_waited_for() -> None:
    steps = MeasuredSteps()
    steps.add({"step": 1, "time": 1, "loss": 0.5})
    steps.told(steps.after(0))
    assert steps.wait_for_reader(300)


def test_a_reader_that_never_comes_back_is_waited_for_no_longer_than_that() -> None:
    steps = MeasuredSteps()
    steps.add({"step": 1, "time": 1, "loss": 0.5})
    steps.told(steps.after(0))
    steps.add({"step": 1, "time": 2, "full_validation_loss": 0.5})
    assert not steps.wait_for_reader(0.01)


def test_a_reader_is_waited_for_until_it_has_the_last_step(reports: Reports, address: str) -> None:
    """An answer that ends before, or that was made before the last step was scored, does not count."""
    for step in range(1, MOST_LINES + 3):
        reports.steps.add({"step": step, "time": step, "loss": 0.5})
    earlier = reports.steps.after(MOST_LINES)
    reports.steps.add({"step": MOST_LINES + 2, "time": 2, "full_validation_loss": 0.5})
    fetch(f"{address}?after=0")
    reports.steps.told(earlier)
    assert not reports.steps.wait_for_reader(0.01)

    waited: list[bool] = []
    waiting = threading.Thread(target=lambda: waited.append(reports.steps.wait_for_reader(300)))
    waiting.start()
    fetch(f"{address}?after={MOST_LINES}")
    waiting.join(300)
    assert waited == [True]
