"""The page that says which GPUs hold which models."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from dev.choose_gpus import BATCH, smallest
from kubetune_trainer.base.architecture import Architecture
from kubetune_trainer.sizing import gpus
from kubetune_trainer.sizing.memory import SHARE

BILLION = 1_000_000_000


def model(billions: float) -> Architecture:
    text = SimpleNamespace(
        hidden_size=4096, num_hidden_layers=32, vocab_size=128_000, tie_word_embeddings=False
    )
    config = SimpleNamespace(get_text_config=lambda: text)
    return Architecture(name="m", config=config, parameters=math.ceil(billions * BILLION), context=None)


def test_a_model_that_fits_one_gpu_gets_one() -> None:
    found = smallest(model(8), 40_000_000, "LoRA", "H200")
    assert found is not None
    assert (found.nodes, found.gpus, found.tokens) == (1, 1, 16_384)


@pytest.mark.parametrize("gpu", ["L4", "L40S", "A100-80GB", "H200"])
def test_what_the_page_recommends_leaves_a_margin(gpu: str) -> None:
    found = smallest(model(8), 8 * BILLION, "Full", gpu)
    assert found is not None
    assert found.memory <= SHARE * gpus.known(gpu).memory_bytes
    assert BATCH % (found.nodes * found.gpus) == 0


def test_more_than_a_node_has_is_several_nodes() -> None:
    found = smallest(model(70), 70 * BILLION, "Full", "H200")
    assert found is not None
    assert (found.nodes, found.gpus, found.stage) == (2, 8, 3)


def test_4_bit_weights_are_not_divided_over_gpus() -> None:
    assert smallest(model(70), 100_000_000, "QLoRA", "L4") is None
    assert smallest(model(70), 100_000_000, "LoRA", "L4") is not None
