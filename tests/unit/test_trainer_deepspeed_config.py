"""Buffers and thresholds follow from what is trained."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kubetune_trainer.data.sampler import Batching
from kubetune_trainer.loop.deepspeed_config import deepspeed_config
from tests.support.training_runs import training_config

LLAMA_8B = SimpleNamespace(hidden_size=4096, intermediate_size=14336, num_attention_heads=32, head_dim=128)


def zero(parameters: int, **training: Any) -> dict[str, Any]:
    config = training_config(**training).training
    batching = Batching(global_batch=8, world_size=2, most_tokens=1024)
    built = deepspeed_config(config, batching, LLAMA_8B, parameters=parameters, bf16=True)
    found: dict[str, Any] = built["zero_optimization"]
    return found


@pytest.mark.parametrize(
    ("adapter", "parameters", "bucket"),
    [
        ({"type": "Full"}, 8_000_000_001, 200_000_000),
        ({"type": "Full"}, 135_000_001, 135_000_002),
        ({"type": "LoRA"}, 8_000_000_001, 50_000_000),
        ({"type": "QLoRA"}, 8_000_000_001, 50_000_000),
    ],
)
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_buffers_are_no_larger_than_what_is_trained(
    adapter: dict[str, str], parameters: int, bucket: int, stage: int
) -> None:
    found = zero(parameters, adapter=adapter, zero_stage=stage)
    assert (found["reduce_bucket_size"], found["allgather_bucket_size"]) == (bucket, bucket)


def test_lora_matrices_are_never_split_and_layers_of_the_base_always() -> None:
    found = zero(8_000_000_000, adapter={"type": "LoRA", "rank": 64}, zero_stage=3)
    assert 64 * 14336 <= found["stage3_param_persistence_threshold"] < 4096 * 4096


def test_a_full_fine_tune_splits_every_matrix() -> None:
    found = zero(8_000_000_000, adapter={"type": "Full"}, zero_stage=3)
    assert found["stage3_param_persistence_threshold"] < 1024 * 4096, "keys of grouped heads"
    assert "zero_hpz_partition_size" not in found
