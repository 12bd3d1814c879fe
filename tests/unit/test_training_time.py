"""The page that says how long training takes."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from dev.training_time import gpu_minutes
from kubetune_trainer.base.architecture import Architecture
from kubetune_trainer.sizing import gpus

BILLION = 1_000_000_000


def model(billions: float) -> Architecture:
    text = SimpleNamespace(
        hidden_size=4096, num_hidden_layers=32, vocab_size=128_000, tie_word_embeddings=False
    )
    config = SimpleNamespace(get_text_config=lambda: text)
    return Architecture(name="m", config=config, parameters=math.ceil(billions * BILLION), context=None)


@pytest.mark.parametrize(("method", "operations"), [("LoRA", 4), ("Full", 6)])
@pytest.mark.parametrize("gpu", ["L4", "H100-80GB"])
def test_gpu_minutes_are_operations_by_speed_on_however_many_gpus(
    method: str, operations: int, gpu: str
) -> None:
    trained = 8 * BILLION if method == "Full" else 40_000_000
    expected = operations * 8 * BILLION * 1e6 / gpus.known(gpu).speed / 60
    assert gpu_minutes(model(8), trained, method, gpu) == pytest.approx(expected, rel=1e-3)


def test_a_model_that_no_number_of_gpus_holds_has_no_time() -> None:
    with pytest.raises(ValueError, match="no number of L4 holds m with QLoRA"):
        gpu_minutes(model(70), 100_000_000, "QLoRA", "L4")
