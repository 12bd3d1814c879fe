"""The room on the output volume is told, and looked at now and then."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from kubetune_trainer.loop.progress import Reports
from kubetune_trainer.loop.volume_room import VolumeRoom


def told(reports: Reports) -> dict[str, float]:
    names = ("kubetune_train_volume_free_bytes", "kubetune_train_volume_size_bytes")
    found = {name: reports.registry.get_sample_value(name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def test_the_room_is_told(tmp_path: Path) -> None:
    reports = Reports(10)
    assert told(reports) == {}
    VolumeRoom(root=tmp_path, reports=reports).look()
    seen = told(reports)
    assert seen["kubetune_train_volume_size_bytes"] == shutil.disk_usage(tmp_path).total
    assert 0 < seen["kubetune_train_volume_free_bytes"] < seen["kubetune_train_volume_size_bytes"]


@pytest.mark.parametrize(
    ("seconds", "changed", "looks"),
    [(59.0, False, False), (60.0, False, True), (0.0, True, True)],
    ids=["a moment ago", "a minute ago", "after a checkpoint"],
)
def test_it_is_not_looked_at_with_each_step(
    tmp_path: Path, seconds: float, changed: bool, looks: bool
) -> None:
    reports = Reports(10)
    times = itertools.chain([0.0], itertools.repeat(seconds))
    room = VolumeRoom(root=tmp_path, reports=reports, now=lambda: next(times))
    room.look()
    reports.measured_volume(free=-1, size=-1)
    room.look(changed=changed)
    assert (told(reports)["kubetune_train_volume_size_bytes"] != -1) == looks


def test_a_volume_that_does_not_answer_stops_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reports = Reports(10)
    VolumeRoom(root=tmp_path / "gone", reports=reports).look()
    assert told(reports) == {}
    assert "The room on the output volume is not known: No such file or directory" in caplog.text
