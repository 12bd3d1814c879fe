"""The best weights of a run: kept, found again by a later attempt, and given back to the model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.contract.errors import VolumeUnusable
from kubetune_trainer.contract.layout import RunDirectory
from kubetune_trainer.loop.best import Best, BestWeights
from kubetune_trainer.sizing.looks import ValidationPlan
from tests.support.training_runs import training_config

pytestmark = pytest.mark.trainer


class Alone:
    """A rank without others."""

    rank = 0

    def told_by_first(self, action: Callable[[], Any]) -> Any:
        """Do it here."""
        return action()


def model(value: float) -> Any:
    """One trained parameter and one that is not."""
    import torch

    made = torch.nn.Linear(3, 2)
    made.bias.requires_grad_(False)
    with torch.no_grad():
        made.weight.fill_(value)
    return made


def best(root: Path, *, anew: bool = False, patience: int | None = None) -> BestWeights:
    """Of a run with a look every ten steps."""
    run = RunDirectory(root / "colours" / "key")
    run.root.mkdir(parents=True, exist_ok=True)
    training = training_config(select={"strategy": "Best", "patience": patience}).training
    plan = ValidationPlan(rows=9, total_steps=100, steps_per_epoch=1000, look_every=10)
    peers: Any = Alone()
    return BestWeights(run, training, plan, peers, confirm=lambda: None, anew=anew)


def offer(weights: BestWeights, step: int, loss: float) -> bool:
    return weights.offer(model(float(step)), Best(step=step, validation_loss=loss))


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "colours" / "key" / "best").glob("*"))


def test_only_a_lower_loss_replaces_them(tmp_path: Path) -> None:
    weights = best(tmp_path)
    assert [offer(weights, step, loss) for step, loss in ((10, 2.0), (20, 2.0), (30, 1.5), (40, 1.6))] == [
        True,
        False,
        True,
        False,
    ]
    assert names(tmp_path) == ["step-000030"]
    restored = model(99.0)
    assert weights.restore(restored).step == 30
    assert restored.weight.tolist() == [[30.0] * 3] * 2
    weights.discard()
    assert not (tmp_path / "colours" / "key" / "best").exists()


def test_no_number_is_never_the_best(tmp_path: Path) -> None:
    weights = best(tmp_path)
    assert not offer(weights, 10, float("nan"))
    with pytest.raises(VolumeUnusable, match="there are none"):
        weights.restore(model(0.0))


def test_a_later_attempt_finds_them(tmp_path: Path) -> None:
    offer(best(tmp_path), 10, 2.0)
    later = best(tmp_path)
    assert later.found == Best(step=10, validation_loss=2.0)
    assert not offer(later, 20, 2.5)
    restored = model(0.0)
    later.restore(restored)
    assert restored.weight[0, 0] == 10.0


def test_a_run_that_begins_anew_has_none(tmp_path: Path) -> None:
    offer(best(tmp_path), 10, 2.0)
    assert best(tmp_path, anew=True).found is None
    assert names(tmp_path) == []


def test_what_was_cut_off_or_copied_is_passed_over(tmp_path: Path) -> None:
    offer(best(tmp_path), 10, 2.0)
    directory = tmp_path / "colours" / "key" / "best"
    shutil.copytree(directory / "step-000010", directory / "step-000090")
    (directory / ".step-000020-0123abcd").mkdir()
    found = best(tmp_path)
    assert found.found is not None
    assert found.found.step == 10, "the ledger knows no step 90"
    assert offer(found, 30, 1.0)
    assert names(tmp_path) == ["step-000030"]


def test_weights_that_somebody_changed_are_refused(tmp_path: Path) -> None:
    weights = best(tmp_path)
    offer(weights, 10, 2.0)
    path = tmp_path / "colours" / "key" / "best" / "step-000010" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(VolumeUnusable, match=r"weights.safetensors is not what was written"):
        weights.restore(model(0.0))


def test_a_full_volume_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    weights = best(tmp_path)
    offer(weights, 10, 2.0)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    assert not offer(weights, 20, 1.0)
    assert "The best weights, of step 20, are not kept" in caplog.text
    assert names(tmp_path) == ["step-000010"]


def test_patience_counts_looks_without_a_lower_loss(tmp_path: Path) -> None:
    weights = best(tmp_path, patience=2)
    assert not weights.is_final(50), "nothing was scored"
    offer(weights, 10, 2.0)
    assert [weights.is_final(step) for step in (10, 20, 29, 30, 35)] == [False, False, False, True, True]
    offer(weights, 20, 1.0)
    assert not weights.is_final(30)
    assert not best(tmp_path).is_final(100), "without patience it goes on"
