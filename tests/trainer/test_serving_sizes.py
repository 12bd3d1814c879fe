"""GPUs of a server for configurations as transformers has them, whose fields differ by family."""

from __future__ import annotations

from typing import Any

import pytest

from kubetune_trainer.base.architecture import Architecture
from kubetune_trainer.sizing.serving import server_memory, serving_gpus
from tests.support.trainer_configs import trainer_config

pytestmark = pytest.mark.trainer


def described(kind: str, **fields: Any) -> Architecture:
    from transformers import AutoConfig

    config = AutoConfig.for_model(kind, **fields)
    return Architecture(name=kind, config=config, parameters=8_000_000_000, context=None)


@pytest.mark.parametrize(
    ("kind", "fields", "per_token"),
    [
        ("llama", {"num_key_value_heads": 8}, 32 * 2 * 8 * 128),
        ("gemma4_text", {"num_hidden_layers": 30, "num_key_value_heads": 4}, 30 * 2 * 4 * 512),
        ("deepseek_v3", {"num_hidden_layers": 61}, 61 * (512 + 64)),
        ("gpt2", {}, 12 * 2 * 768),
        ("falcon_mamba", {"num_hidden_layers": 64}, 64 * 2 * 768),  # a state instead, which is smaller
    ],
)
def test_families_name_their_heads_otherwise(kind: str, fields: dict[str, Any], per_token: int) -> None:
    assert server_memory(described(kind, **fields), tokens=100).cache == 2 * per_token * 100


@pytest.mark.parametrize("kind", ["llama", "qwen3", "qwen3_moe", "gemma3_text", "gemma4_text", "gpt_oss"])
def test_an_8b_needs_two_gpus_of_16_gb(kind: str) -> None:
    config = trainer_config(
        model="hf://acme/m", train="pvc://d/t.jsonl", gpu_memory_bytes=16_000_000_000, serving={}
    )
    assert serving_gpus(config, described(kind)) == 2
