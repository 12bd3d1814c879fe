"""Sizes of models that are counted from two layers are those of the whole model."""

from __future__ import annotations

import pytest

from dev.shapes import SHAPES, architecture_of, trained_by_lora
from kubetune_trainer.base.architecture import trainable
from kubetune_trainer.contract.config import AdapterConfig

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
]


def test_parameters_are_those_of_the_model() -> None:
    counted = {name: round(architecture_of(shape).parameters / 1e9, 1) for name, shape in SHAPES.items()}
    assert counted == {
        "Qwen3-0.6B": 0.6,
        "Qwen3-1.7B": 1.7,
        "Qwen3-4B": 4.0,
        "Qwen3-8B": 8.2,
        "Llama-3.1-8B": 8.0,
        "Qwen3-14B": 14.8,
        "Qwen3-32B": 32.8,
        "Llama-3.3-70B": 70.6,
    }


def test_adapters_are_those_of_all_layers() -> None:
    shape = SHAPES["Qwen3-0.6B"]
    whole = trainable(architecture_of(shape), AdapterConfig(rank=16), "hf://q/q")
    assert trained_by_lora(shape) == whole.parameters
