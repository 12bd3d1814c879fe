"""Adapters of earlier epochs: kept beside the result, as servers load them, whatever happens to the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.artifact.epochs import EpochAdapters, kept
from kubetune_trainer.artifact.publish import verified_artifact
from kubetune_trainer.contract.config import TrainerConfig, epoch_adapter
from kubetune_trainer.contract.layout import RunDirectory
from kubetune_trainer.contract.messages import CheckpointSummary, ModelSummary, TrainSummary
from kubetune_trainer.store.manifest import verify_manifest
from tests.support.tiny_model import make_tiny_model
from tests.support.training_runs import Volume, fault, make_rows, train, training_config

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # of the libraries
]

FLOAT32 = {"KUBETUNE_DTYPE": "float32"}
WEIGHTS = "adapter_model.safetensors"
TWO = (CheckpointSummary(step=4, epoch=1), CheckpointSummary(step=8, epoch=2))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model."""
    return make_tiny_model(tmp_path_factory.mktemp("model"))


def volume(root: Path, model: Path, **training: object) -> Volume:
    """Three epochs of four steps, the last of which has fewer rows."""
    wanted = {"epochs": 3, "keep_epochs": 2, "checkpoint_every_steps": 5, **training}
    made = Volume(root / "output", training_config(**wanted))
    made.prepare(model, make_rows(30), make_rows(9, seed=2))
    made.environment = FLOAT32
    return made


def names(run: RunDirectory) -> list[str]:
    return sorted(path.name for path in run.epochs.glob("*"))


def content(made: Volume) -> dict[str, bytes]:
    """Weights by step; the last ones too."""
    paths = [*sorted(made.run.epochs.glob("step-*")), made.run.adapter]
    return {path.name: (path / WEIGHTS).read_bytes() for path in paths}


def finish(made: Volume, scratch: Path, *, ranks: int = 1) -> TrainSummary:
    """Run an attempt that must complete."""
    (pod,) = train(made, scratch, ranks=ranks)
    assert pod.process.returncode == 0, pod.log
    return TrainSummary.model_validate(pod.message.summary)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Volume:
    """On two ranks between which even the weights are divided."""
    made = volume(tmp_path_factory.mktemp("undisturbed"), model, zero_stage=3)
    summary = finish(made, made.root / "scratch", ranks=2)
    assert summary.artifact is not None
    assert summary.artifact.checkpoints == TWO
    assert summary.artifact == verified_artifact(made.run.root, keep_epochs=2)
    return made


def test_each_answers_as_training_measured_it(undisturbed: Volume, model: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    assert names(undisturbed.run) == ["step-000004", "step-000008"]
    scored = {
        line["step"]: line["full_validation_loss"]
        for line in undisturbed.records()
        if "full_validation_loss" in line
    }
    for step, path in {
        4: undisturbed.run.epochs / "step-000004",
        8: undisturbed.run.epochs / "step-000008",
        12: undisturbed.run.adapter,
    }.items():
        loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), path)
        assert mean_loss(loaded) == pytest.approx(scored[step], rel=1e-4)
    assert scored[4] > scored[8] > scored[12]


def test_servers_can_read_them_where_the_operator_looks(undisturbed: Volume) -> None:
    artifact = undisturbed.run.relative(undisturbed.run.adapter)
    for step in (4, 8):
        path = undisturbed.root / epoch_adapter(artifact, step)
        assert {file.name for file in path.iterdir()} == {WEIGHTS, "adapter_config.json", "MANIFEST.json"}
        assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o644}
        theirs = json.loads((path / "adapter_config.json").read_text())
        assert theirs == json.loads((undisturbed.run.adapter / "adapter_config.json").read_text())


def test_what_a_job_asks_for_is_told_of_a_finished_run(undisturbed: Volume) -> None:
    told = [verified_artifact(undisturbed.run.root, keep_epochs=most) for most in (0, 1, 5)]
    assert [found and found.checkpoints for found in told] == [(), TWO[1:], TWO]


def test_the_one_with_the_weights_of_the_result_is_not_told_twice(undisturbed: Volume) -> None:
    assert kept(undisturbed.run, most=2, result_step=8) == TWO[:1]


def test_one_that_somebody_changed_is_not_told(undisturbed: Volume, tmp_path: Path) -> None:
    copied = RunDirectory(tmp_path / "job" / "key")
    shutil.copytree(undisturbed.run.root, copied.root)
    path = copied.epochs / "step-000004" / WEIGHTS
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    shutil.copytree(copied.epochs / "step-000008", copied.epochs / "step-000010")
    assert kept(copied, most=5, result_step=None) == TWO[1:]


def test_a_run_that_is_killed_makes_anew_what_came_after_its_checkpoint(
    tmp_path: Path, model: Path, undisturbed: Volume
) -> None:
    made = volume(tmp_path, model, zero_stage=3)
    made.environment = FLOAT32 | fault(rank=1, function="step", call=10, signal="SIGKILL")
    train(made, tmp_path / "killed", ranks=2)
    assert (made.checkpoints(), names(made.run)) == (["step-000005"], ["step-000004", "step-000008"])

    made.environment = FLOAT32 | fault(rank=1, function="step", call=2, signal="SIGKILL")
    train(made, tmp_path / "killed-again", ranks=2)
    assert names(made.run) == ["step-000004"], "step 8 was another attempt's"

    made.environment = FLOAT32
    summary = finish(made, tmp_path / "last", ranks=2)
    assert (summary.from_step, summary.artifact and summary.artifact.checkpoints) == (5, TWO)
    assert content(made) == content(undisturbed)


def test_a_run_that_is_stopped_at_the_end_of_an_epoch_keeps_it_later(tmp_path: Path, model: Path) -> None:
    """A pod that is drained has no time to lose. Without validation rows to score it saves where it stops."""
    made = volume(tmp_path, model, keep_epochs=1)
    made.run.validation_rows.unlink()
    dataset = json.loads(made.run.dataset_file.read_text())
    made.run.dataset_file.write_text(json.dumps(dataset | {"validation_rows": 0, "validation_examples": 0}))
    made.environment = FLOAT32 | fault(rank=0, function="step", call=8, signal="SIGTERM")
    (stopped,) = train(made, tmp_path / "stopped")
    assert (stopped.process.returncode, stopped.message.step) == (44, 8)
    assert (made.checkpoints(), names(made.run)) == (["step-000005", "step-000008"], ["step-000004"])

    made.environment = FLOAT32
    summary = finish(made, tmp_path / "last")
    assert (summary.from_step, summary.artifact and summary.artifact.checkpoints) == (8, TWO[1:])
    assert names(made.run) == ["step-000008"], "the older one is not asked for"
    assert json.loads((made.run.root / "written.json").read_text()).keys() >= {"epochs/step-000008"}


def mean_loss(model: Any) -> float:
    """On the validation rows, as training scores them."""
    import torch

    total = learned = 0.0
    for row in make_rows(9, seed=2):
        labels = torch.tensor([row["labels"]])
        count = int((labels[:, 1:] != -100).sum())
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([row["input_ids"]]), labels=labels).loss
        total, learned = total + float(loss) * count, learned + count
    return total / learned


class Alone:
    """A rank without others."""

    rank = 0

    def told_by_first(self, action: Callable[[], Any]) -> Any:
        """Do it here."""
        return action()


@pytest.fixture(scope="module")
def adapted(model: Path) -> Any:
    """The base with an adapter that has learned something."""
    return with_adapter(model, training_config())


def with_adapter(path: Path, config: TrainerConfig, *, value: float = 0.5) -> Any:
    import torch

    from kubetune_trainer.base.load import load_base
    from kubetune_trainer.loop.attempt import adapted as beside

    four_bit = config.training.adapter.type == "QLoRA"
    base = load_base(path, torch.float32, four_bit=four_bit)
    made = beside(base, config.training.adapter, "float32")
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, value)
    return made


def adapters(root: Path, base: Path, model: Any, *, from_step: int = 0, **training: Any) -> EpochAdapters:
    """Of a run of five epochs of ten steps."""
    config = training_config(**{"keep_epochs": 2, **training})
    run = RunDirectory(root / "colours" / "key")
    run.root.mkdir(parents=True, exist_ok=True)
    peers: Any = Alone()
    return EpochAdapters(
        model,
        config,
        run,
        ModelSummary(revision="0123", path=str(base), architecture="LlamaForCausalLM", parameters=1),
        peers,
        confirm=lambda: None,
        from_step=from_step,
        steps_per_epoch=10,
        total_steps=50,
    )


def there(root: Path) -> list[int]:
    run = RunDirectory(root / "colours" / "key")
    assert len(names(run)) == len(list(run.epochs.glob("step-*"))), "nothing is left over"
    return [int(name.removeprefix("step-")) for name in names(run)]


def test_only_ends_of_epochs_before_the_last_are_kept_and_the_oldest_goes(
    tmp_path: Path, model: Path, adapted: Any
) -> None:
    epochs = adapters(tmp_path, model, adapted)
    seen = []
    for step in (0, 5, 10, 20, 25, 30, 40, 50):
        epochs.keep(adapted, step)
        seen.append(there(tmp_path))
    assert seen == [[], [], [10], [10, 20], [10, 20], [20, 30], [30, 40], [30, 40]]
    run = RunDirectory(tmp_path / "colours" / "key")
    assert json.loads((run.root / "written.json").read_text()).keys() == {
        "epochs/step-000030",
        "epochs/step-000040",
    }
    assert kept(run, most=2, result_step=None) == (
        CheckpointSummary(step=30, epoch=3),
        CheckpointSummary(step=40, epoch=4),
    )


def test_a_later_attempt_goes_on_with_those_of_before_its_checkpoint(
    tmp_path: Path, model: Path, adapted: Any
) -> None:
    first = adapters(tmp_path, model, adapted)
    for step in (10, 20):
        first.keep(adapted, step)
    directory = tmp_path / "colours" / "key" / "epochs"
    shutil.copytree(directory / "step-000010", directory / "step-000015")
    (directory / ".step-000020-0123abcd").mkdir()
    later = adapters(tmp_path, model, adapted, from_step=17)
    assert there(tmp_path) == [10], "the ledger knows no step 15"
    later.keep(adapted, 20)
    later.keep(adapted, 30)
    assert there(tmp_path) == [20, 30]
    assert adapters(tmp_path, model, adapted)._kept == set()
    assert there(tmp_path) == [], "it begins with the base model"


def test_a_job_that_asks_for_none_leaves_none_that_it_would_have_made_otherwise(
    tmp_path: Path, model: Path, adapted: Any
) -> None:
    first = adapters(tmp_path, model, adapted)
    for step in (10, 20):
        first.keep(adapted, step)
    adapters(tmp_path, model, adapted, from_step=15, keep_epochs=0).keep(adapted, 20)
    assert there(tmp_path) == [10]


def test_a_full_volume_is_passed_over(
    tmp_path: Path,
    model: Path,
    adapted: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    epochs = adapters(tmp_path, model, adapted)
    epochs.keep(adapted, 10)
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
        epochs.keep(adapted, 20)
    assert "The adapter of step 20 is not kept: it needs" in caplog.text
    epochs.keep(adapted, 30)
    assert there(tmp_path) == [10, 30]


@pytest.mark.parametrize(
    ("value", "why"), [(float("nan"), "hold NaN or infinite numbers"), (0.0, "nothing was learned")]
)
def test_what_no_server_could_use_is_passed_over(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture, value: float, why: str
) -> None:
    wrong = with_adapter(model, training_config(), value=value)
    epochs = adapters(tmp_path, model, wrong)
    epochs.keep(wrong, 10)
    assert there(tmp_path) == []
    assert "The adapter of step 10 is not kept: " in caplog.text
    assert why in caplog.text


def test_beside_a_base_in_4_bits_it_is_named_after_the_files(tmp_path: Path, model: Path) -> None:
    from safetensors.torch import load_file

    adapter = {"type": "QLoRA", "rank": 4, "alpha": 8}
    quantised = with_adapter(model, training_config(adapter=adapter))
    epochs = adapters(tmp_path, model, quantised, adapter=adapter)
    epochs.keep(quantised, 10)
    path = tmp_path / "colours" / "key" / "epochs" / "step-000010"
    verify_manifest(path)
    plain = with_adapter(model, training_config())
    expected = {
        name.replace(".default", ""): tuple(parameter.shape)
        for name, parameter in plain.named_parameters()
        if parameter.requires_grad
    }
    assert {name: tuple(tensor.shape) for name, tensor in load_file(path / WEIGHTS).items()} == expected
