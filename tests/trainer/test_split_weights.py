"""ZeRO-3 on a model whose matrices are large enough to be split, which those of other tests are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubetune_trainer.contract.messages import TrainSummary
from tests.support.tiny_model import make_tiny_model
from tests.support.training_runs import Volume, fault, make_rows, train, training_config

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the libraries that make the tiny model
]

HIDDEN = 512
NEVER_SPLIT = 100_000
"""Elements of the largest tensor that DeepSpeed leaves whole here."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model with two layers of matrices that are split."""
    return make_tiny_model(tmp_path_factory.mktemp("model"), hidden_size=HIDDEN, intermediate_size=HIDDEN)


def prepared(root: Path, model: Path, *, adapter: str, stage: int) -> Volume:
    config = training_config(
        adapter={"type": adapter, "rank": 4, "alpha": 8},
        learning_rate="1e-3",
        max_steps=5,
        zero_stage=stage,
        checkpoint_every_steps=2,
    )
    made = Volume(root / "output", config)
    made.prepare(model, make_rows(24), make_rows(8, seed=2))
    made.environment = {"KUBETUNE_DTYPE": "float32"}
    return made


@pytest.mark.parametrize("adapter", ["LoRA", "Full"])
def test_split_weights_learn_resume_and_are_published_as_whole_ones(
    tmp_path: Path, model: Path, adapter: str
) -> None:
    from safetensors.torch import load_file

    base = load_file(model / "model.safetensors")
    layers = [tensor.numel() for name, tensor in base.items() if "_proj" in name]
    assert (len(layers), min(layers) > NEVER_SPLIT) == (14, True)

    whole = prepared(tmp_path / "whole", model, adapter=adapter, stage=0)
    (one,) = train(whole, tmp_path / "one")
    assert one.process.returncode == 0, one.log

    split = prepared(tmp_path / "split", model, adapter=adapter, stage=3)
    split.environment |= fault(rank=1, function="step", call=5, signal="SIGKILL")
    train(split, tmp_path / "killed", ranks=2)
    assert split.checkpoints() == ["step-000002"]
    del split.environment["KUBETUNE_FAULT"]
    (last,) = train(split, tmp_path / "last", ranks=2)
    assert last.process.returncode == 0, last.log
    assert TrainSummary.model_validate(last.message.summary).from_step == 2

    for key in ("loss", "validation_loss"):
        assert split.curve(key) == pytest.approx(whole.curve(key), rel=1e-5)
    name = "model/model.safetensors" if adapter == "Full" else "adapter/adapter_model.safetensors"
    published, expected = (load_file(made.run.root / name) for made in (split, whole))
    assert published.keys() == expected.keys()
    for tensor, weights in published.items():
        # Adam lets single weights whose gradient is next to nothing go either way.
        moved = expected[tensor] - base.get(tensor, 0)
        assert (weights - expected[tensor]).norm() < 0.01 * moved.norm(), tensor
