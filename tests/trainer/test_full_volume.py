"""An output volume without room: what the ranks say of it, and what goes on without."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.contract.layout import OUTPUT_VARIABLE, RunDirectory
from kubetune_trainer.contract.messages import ExitCode, Reason
from kubetune_trainer.loop.measured import MeasuredSteps
from kubetune_trainer.loop.records import Records
from kubetune_trainer.process.rank import explain
from tests.support.small_volume import fill, small_volume
from tests.support.tiny_model import make_tiny_model, tiny_tokenizer
from tests.support.training_runs import Volume, make_rows, train, training_config

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the libraries that make the tiny model
]

FULL = "The output volume is full: "


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small output volume."""
    with small_volume(tmp_path / "output", megabytes=4) as root:
        monkeypatch.setenv(OUTPUT_VARIABLE, str(root))
        yield root


def torch_save(path: Path) -> None:
    import torch

    torch.save({"weights": torch.zeros(3_000_000)}, path)


def safetensors_save(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"weights": torch.zeros(3_000_000)}, path)


def tokenizer_save(path: Path) -> None:
    fill(path.parent)
    tiny_tokenizer().backend_tokenizer.save(str(path))


def copied(path: Path) -> None:
    """As DeepSpeed puts its own script beside the weights."""
    import torch

    fill(path.parent)
    shutil.copyfile(str(torch.__file__), path)


def written(path: Path) -> None:
    path.write_bytes(bytes(8_000_000))


@pytest.mark.parametrize("write", [torch_save, safetensors_save, tokenizer_save, copied, written])
def test_a_full_volume_is_told_as_one_whoever_writes(output: Path, write: Callable[[Path], None]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each library has its own
        write(output / "file")
    told = explain(caught.value, training_config())
    assert (told.code, told.reason) == (ExitCode.INVALID_INPUT, Reason.VOLUME_UNUSABLE)
    assert told.message.startswith(FULL)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
        OSError(errno.ENOSPC, "No space left on device", "/tmp/compiled"),
        OSError(errno.EIO, "Input/output error"),
    ],
)
def test_what_fails_beside_a_volume_with_room_is_no_full_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setenv(OUTPUT_VARIABLE, str(tmp_path))
    assert explain(error, None).code == 1


def test_lines_wait_until_the_volume_has_room_again(output: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = RunDirectory(output / "job" / "run")
    run.root.mkdir(parents=True)
    records = Records(run, MeasuredSteps(), from_step=0)
    records.add(step=1, loss=1.0)
    filler = fill(output)
    lines: list[dict[str, Any]] = [{"step": step, "said": "x" * 1000} for step in range(2, 20)]
    for line in lines:
        records.add(**line)
    records.save()
    with pytest.raises(OSError, match="No space left on device"):
        records.finish()
    assert len(caplog.messages) == 2, "not one for each line"
    filler.unlink()
    records.add(step=20, loss=0.5)
    records.finish()
    records.close()
    found = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    assert all(line.pop("time") > 1.7e9 for line in found)
    assert found == [{"step": 1, "loss": 1.0}, *lines, {"step": 20, "loss": 0.5}]
    assert len(run.results_file.read_text().splitlines()) == 21


def test_a_run_that_cannot_be_published_says_so_on_every_rank(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    with small_volume(tmp_path / "output", megabytes=4) as root:
        made = Volume(root, training_config(max_steps=2))
        made.prepare(model, make_rows(16), [])
        filler = fill(root, leave=20 * 1024)  # enough for the steps, and too little for the weights
        ended = train(made, tmp_path / "full", nodes=2)
        assert [pod.process.returncode for pod in ended] == [ExitCode.INVALID_INPUT] * 2, ended[0].log
        for pod in ended:
            assert pod.message.message.startswith(FULL)
            assert (pod.message.reason, pod.message.step) == (Reason.VOLUME_UNUSABLE, 2)

        filler.unlink()
        (ended_well,) = train(made, tmp_path / "with-room")
        assert ended_well.process.returncode == 0, ended_well.log
        assert [line["step"] for line in made.records()] == [1, 2]
