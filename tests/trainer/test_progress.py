"""/metrics and /progress say the same, and results survive a resume."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kubetune_trainer.contract.layout import RunDirectory
from kubetune_trainer.contract.messages import Progress
from kubetune_trainer.loop.measured import MeasuredSteps
from kubetune_trainer.loop.progress import Reports, serve
from kubetune_trainer.loop.records import Records
from kubetune_trainer.sizing.looks import ValidationPlan
from tests.support.training_runs import free_port

VALUES = {
    "step": 41,
    "epoch": 1.25,
    "loss": 0.75,
    "mean_token_accuracy": 0.5,
    "learning_rate": 1e-4,
    "grad_norm": 2.5,
    "memory_peak_bytes": 3e9,
}
NAMES = {
    "step",
    "planned_steps",
    "epoch",
    "loss",
    "validation_loss",
    "full_validation_loss",
    "learning_rate",
    "grad_norm",
    "mean_token_accuracy",
    "memory_peak_bytes",
    "tokens",
    "tokens_per_second",
    "step_duration_seconds",
    "checkpoint_duration_seconds",
    "last_checkpoint_timestamp_seconds",
    "volume_free_bytes",
    "volume_size_bytes",
}
FROM_THE_BEGINNING = {
    "step",
    "planned_steps",
    "epoch",
    "tokens",
    "step_duration_seconds",
    "checkpoint_duration_seconds",
}
SAVED = "last_checkpoint_timestamp_seconds"
NOT_BY_STEPS = {"validation_loss", "full_validation_loss", SAVED, "volume_free_bytes", "volume_size_bytes"}


@pytest.fixture
def reports() -> Reports:
    return Reports(100)


@pytest.fixture
def address(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> str:
    port = free_port()
    monkeypatch.setenv("METRICS_PORT", str(port))
    serve(reports)
    return f"http://127.0.0.1:{port}"


def fetch(url: str) -> str:
    with urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def samples(address: str, names: set[str]) -> dict[str, float]:
    families = list(text_string_to_metric_families(fetch(f"{address}/metrics")))
    assert {family.name for family in families} == {f"kubetune_train_{name}" for name in names}
    return {
        sample.name.removeprefix("kubetune_train_"): sample.value
        for family in families
        for sample in family.samples
        if not sample.labels
    }


def test_what_was_not_measured_has_no_value(reports: Reports, address: str) -> None:
    """A loss of 0 would be the best there is, and a last checkpoint in 1970 would raise alarms."""
    reports.stepped(tokens=200, seconds=0.5, values=VALUES)
    assert samples(address, NAMES - NOT_BY_STEPS)["loss"] == 0.75


def test_a_norm_of_the_gradient_that_nobody_tells_has_no_value(reports: Reports, address: str) -> None:
    """0 would look like a model that learns nothing."""
    values = {key: value for key, value in VALUES.items() if key != "grad_norm"}
    reports.stepped(tokens=200, seconds=0.5, values=values)
    assert samples(address, NAMES - NOT_BY_STEPS - {"grad_norm"})["loss"] == 0.75


def test_everything_can_be_scraped_before_the_first_step(address: str) -> None:
    seen = samples(address, FROM_THE_BEGINNING)
    assert (seen["planned_steps"], seen["step"], seen["epoch"], seen["tokens_total"]) == (100, 0, 0, 0)
    assert Progress.model_validate_json(fetch(f"{address}/progress")) == Progress(
        step=0, total_steps=100, epoch="0.00"
    )


def test_a_step_is_seen_in_both(reports: Reports, address: str) -> None:
    reports.resumed(step=40, epoch=1.2, tokens=5000, saved_at=1.6e9)
    assert samples(address, FROM_THE_BEGINNING | {SAVED})[SAVED] == 1.6e9
    assert reports.progress.last_checkpoint_time == 1_600_000_000
    reports.evaluated(loss=0.9, full_loss=0.875)
    reports.stepped(tokens=200, seconds=0.5, values=VALUES)
    reports.evaluated(loss=0.625, full_loss=None, seconds_per_row=0.5)
    reports.saved(step=41, seconds=0.2)
    reports.measured_volume(free=3_000_000, size=20_000_000)
    seen = samples(address, NAMES)
    expected = {
        "step": 41,
        "epoch": 1.25,
        "loss": 0.75,
        "validation_loss": 0.625,
        "full_validation_loss": 0.875,
        "mean_token_accuracy": 0.5,
        "learning_rate": 1e-4,
        "grad_norm": 2.5,
        "memory_peak_bytes": 3e9,
        "tokens_total": 5200,
        "tokens_per_second": 400,
        "step_duration_seconds_count": 1,
        "checkpoint_duration_seconds_sum": 0.2,
        "volume_free_bytes": 3_000_000,
        "volume_size_bytes": 20_000_000,
    }
    assert {name: seen[name] for name in expected} == expected
    assert seen[SAVED] > 1.7e9
    assert Progress.model_validate_json(fetch(f"{address}/progress")) == Progress(
        step=41,
        total_steps=100,
        epoch="1.25",
        loss="0.7500",
        validation_loss="0.6250",
        tokens_per_second=400,
        trained_tokens=5200,
        remaining_seconds=29,
        last_checkpoint_step=41,
        last_checkpoint_time=int(seen[SAVED]),
        memory_peak_bytes=3_000_000_000,
    )


def test_remaining_time_includes_the_scoring_of_validation_rows() -> None:
    # 8 steps of one epoch are left: a look at the sample (256 rows) after 96, and at all 1,000 after 100.
    looks = ValidationPlan(rows=1000, total_steps=100, steps_per_epoch=50, look_every=16)
    reports = Reports(100, looks)
    reports.evaluated(loss=1.0, full_loss=None, seconds_per_row=0.25)
    reports.stepped(tokens=200, seconds=0.5, values=VALUES | {"step": 92})
    assert reports.progress.remaining_seconds == 8 * 0.5 + 0.25 * (256 + 1000)


def test_other_paths_are_not_found(address: str) -> None:
    with pytest.raises(HTTPError, match="404") as caught:
        fetch(f"{address}/")
    caught.value.close()


def test_a_port_in_use_does_not_stop_training(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    serve(Reports(5))
    assert "No /metrics, /progress and /steps on port" in caplog.text


def test_lines_after_the_checkpoint_are_dropped_and_a_half_line_too(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    first = Records(run, MeasuredSteps(), from_step=0)
    for step in range(1, 6):
        first.add(step=step, loss=step / 10)
    first.save()
    first.close()
    with run.metrics_file.open("a") as file:
        file.write('{"step": 6, "lo')

    second = Records(run, MeasuredSteps(), from_step=3)
    second.add(step=4, loss=0.5)
    second.add(step=4, validation_loss=0.25, validation_mean_token_accuracy=1.0)
    second.save()
    assert [json.loads(line)["step"] for line in run.metrics_file.read_text().splitlines()] == [1, 2, 3, 4, 4]
    assert run.results_file.read_text().splitlines() == [
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy,"
        "full_valid_loss,full_valid_mean_token_accuracy",
        "1,0.1,,,,,",
        "2,0.2,,,,,",
        "3,0.3,,,,,",
        "4,0.5,,0.25,1.0,,",
    ]
    assert (second.first("loss"), second.last("loss"), second.last("validation_loss")) == (0.1, 0.5, 0.25)
    second.close()
